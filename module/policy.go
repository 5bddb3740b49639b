package module

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"google.golang.org/grpc/codes"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/routes"
)

// Policy is a list of HTTP handlers that run around the calls of some methods: authentication, rate
// limits, caches, headers. The same policy holds for every way to reach a method: REST routes,
// calls by name, Connect, gRPC-Web, gRPC and WebSocket.
//
// The handlers run after the method is found, before anything of the body is read, and before an
// instance is picked. What they call as the next handler is the call. They run for as long as a
// stream lasts. A request that they rewrite is not routed again.
//
// A handler refuses a call if it returns an error or writes a response instead of calling the next
// handler. A REST or WebSocket client gets the response as it was written, and an error as `errors`
// says. Connect, gRPC-Web and gRPC clients get an error of their protocol in either case.
type Policy struct {
	// The methods whose calls the handlers run around. A pattern is a `package.Service` or
	// `package.Service/Method`, in which `*` matches any text. The methods that the gateway itself
	// answers (`reflection`, `health`) can be named, too. A pattern that matches no method is an
	// error if all schemas are files. Otherwise it is reported. Required.
	Match []string `json:"match,omitempty"`

	// The handlers, as routes with matchers. A request that matches none of the routes goes on to
	// the call. A route that is `terminal` goes on to nothing. Default: none.
	Routes caddyhttp.RouteList `json:"routes,omitempty"`
}

// Validate says what is wrong with the policy, except for its routes.
func (p *Policy) Validate() error {
	if len(p.Match) == 0 {
		return errors.New("match: expected at least one pattern for package.Service or package.Service/Method")
	}
	for _, pattern := range p.Match {
		if err := ValidatePattern(pattern); err != nil {
			return fmt.Errorf("match: %w", err)
		}
	}
	return nil
}

// policies are the compiled policies of a handler. Immutable once provisioned.
type policies struct {
	log    *zap.Logger
	blocks []*policyBlock
	// pass leaves the answers to REST errors to Caddy's error routes.
	pass func(w http.ResponseWriter, r *http.Request, err error) error
}

// policyBlock is a compiled Policy.
type policyBlock struct {
	number int // in the order written
	match  []string
	folded []string // match in lower case
	chain  caddyhttp.Handler
}

// provision compiles the policies and tells the table's config about them. The routes are compiled
// only here: the table is compiled again with every schema.
func (p *policies) provision(ctx caddy.Context, h *Handler, table *routes.Config) error {
	p.log = h.log
	if h.Errors == errorsPass {
		p.pass = h.fail
	}
	for i := range h.Policies {
		config := &h.Policies[i]
		b := &policyBlock{number: i, match: config.Match}
		for _, pattern := range config.Match {
			b.folded = append(b.folded, strings.ToLower(pattern))
		}
		if err := config.Routes.Provision(ctx); err != nil {
			return fmt.Errorf("policy %d (with %s): %w", i+1, strings.Join(config.Match, " "), err)
		}
		b.chain = config.Routes.Compile(caddyhttp.HandlerFunc(b.proceed))
		p.blocks = append(p.blocks, b)
		table.PolicyPatterns = append(table.PolicyPatterns, config.Match...)
	}
	if len(p.blocks) > 0 {
		table.Policy, table.PolicySpelling = p.of, p.ofSpelling
	}
	return nil
}

// of is routes.Config.Policy.
func (p *policies) of(method string) frontend.Policy {
	return p.that(func(b *policyBlock) bool { return routes.Matches(b.match, method) })
}

// ofSpelling is routes.Config.PolicySpelling.
func (p *policies) ofSpelling(method string) frontend.Policy {
	folded := strings.ToLower(method)
	return p.that(func(b *policyBlock) bool {
		return routes.Matches(b.match, method) || routes.Matches(b.folded, folded)
	})
}

func (p *policies) that(matches func(*policyBlock) bool) frontend.Policy {
	var blocks []*policyBlock
	for _, b := range p.blocks {
		if matches(b) {
			blocks = append(blocks, b)
		}
	}
	if blocks == nil {
		return nil
	}
	return &methodPolicy{policies: p, blocks: blocks}
}

// methodPolicy is what runs around the calls of one method. It is immutable.
type methodPolicy struct {
	*policies

	blocks []*policyBlock // never empty; the first is the outermost
}

// policyKey is the key of a *policedCall in the context of a request.
type policyKey struct{}

// policedCall is one call on its way through the blocks. It is the context of the request inside
// them.
type policedCall struct {
	context.Context //nolint:containedctx // It is a context, with one more value.

	*frontend.Policed

	policy *methodPolicy
	out    *refusalWriter // between the outermost block and the client
	next   func(http.ResponseWriter, *http.Request) error

	mu      sync.Mutex
	reached bool // next has been called.
	over    bool // next must not be called any more.
	running sync.WaitGroup
}

// Value implements context.Context.
func (c *policedCall) Value(key any) any {
	if key == (policyKey{}) {
		return c
	}
	return c.Context.Value(key)
}

// Around implements frontend.Policy.
func (p *methodPolicy) Around(
	w http.ResponseWriter, r *http.Request, policed *frontend.Policed, next func(http.ResponseWriter, *http.Request) error,
) error {
	frontend.DropConnectionNames(r.Header)
	c := &policedCall{Context: r.Context(), Policed: policed, policy: p, out: newRefusalWriter(w, policed), next: next}
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		repl.Map(c.placeholder)
	}
	return c.conclude(w, r, c.run(r))
}

// run runs the blocks. A handler may call the next one in a goroutine and leave it behind when its
// client leaves. So run waits for the call: request and response belong to the server afterwards.
func (c *policedCall) run(r *http.Request) error {
	ended := false
	defer func() {
		c.mu.Lock()
		c.over = true
		c.mu.Unlock()
		c.running.Wait()
		if !ended && c.Info.Err == nil {
			// Caddy and net/http deal with the panic. The metrics and the log shall not show
			// success.
			c.Info.Fail(frontend.Errorf(codes.Unknown, "a handler of a with block has aborted the request"))
		}
	}()
	err := c.policy.blocks[0].chain.ServeHTTP(c.out, r.WithContext(c))
	ended = true
	return err
}

// conclude answers the client if the blocks have refused the call. err is what they have returned.
// The result is that of Around.
func (c *policedCall) conclude(w http.ResponseWriter, r *http.Request, err error) error {
	if err == nil || c.out.refused != nil { // An error after an answer is too late.
		if e := c.out.finish(); e != nil {
			c.Refuse(w, r, e)
		} else if !c.reached && c.out.status >= http.StatusBadRequest {
			c.Info.Fail(frontend.Refusal(c.out.status, "", nil))
		}
		return nil
	}
	if c.out.begun { // It is too late for another answer.
		if c.Info.Err == nil {
			c.Info.Err = err
		}
		if r.Context().Err() == nil {
			c.policy.log.Error("a handler of a with block has failed after the response had begun",
				zap.String("method", c.Method.Name), zap.Error(err))
		}
		return nil
	}
	if c.Protocol == frontend.REST && c.policy.pass != nil {
		if c.Info.Err == nil {
			c.Info.Fail(refusalOf(err, http.Header{}))
		}
		return err
	}
	c.Refuse(w, r, refusalOf(err, w.Header()))
	return nil
}

// proceed is the next handler of the last handler of a block: the next block, or the call.
func (b *policyBlock) proceed(w http.ResponseWriter, r *http.Request) error {
	c, ok := r.Context().Value(policyKey{}).(*policedCall)
	if !ok {
		return caddyhttp.Error(http.StatusInternalServerError, errors.New("a handler of a with block has replaced the context of the request"))
	}
	// The blocks are sorted. The block's number says where it is, whoever calls it how often.
	for _, next := range c.policy.blocks {
		if next.number > b.number {
			return next.chain.ServeHTTP(w, r)
		}
	}
	return c.call(w, r)
}

// call makes the call.
func (c *policedCall) call(w http.ResponseWriter, r *http.Request) error {
	if !c.enter() {
		return caddyhttp.Error(http.StatusInternalServerError, errors.New("a handler of a with block has called the next handler a second time, or too late"))
	}
	defer c.running.Done()
	err := c.next(w, r)
	if err == nil {
		yield(w, c.Info)
		return nil
	}
	e := frontend.AsError(err)
	if c.policy.pass != nil {
		return c.policy.pass(w, r, e)
	}
	// The blocks shall see the answer, too: their headers and encodings are for errors as well.
	c.Refuse(w, r, e)
	return nil
}

// enter reports whether the call may be made now.
func (c *policedCall) enter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reached || c.over {
		return false
	}
	if !c.out.enter() {
		return false
	}
	c.reached = true
	c.running.Add(1)
	return true
}

// placeholder returns the value of a placeholder that is known before the call.
func (c *policedCall) placeholder(key string) (any, bool) {
	name, ok := strings.CutPrefix(key, "http.grpc_gateway.")
	if !ok {
		return nil, false
	}
	switch name {
	case "protocol":
		return c.Protocol.String(), true
	case "upstream":
		return c.Method.Upstream, true
	case "method":
		return c.Method.Name, true
	case "service":
		service, _, _ := strings.Cut(c.Method.Name, "/")
		return service, true
	case "route":
		return c.Info.Route, true
	}
	if name, ok = strings.CutPrefix(name, "var."); !ok {
		return nil, false
	}
	if c.Binding != nil {
		if i := slices.Index(c.Binding.Template.Variables(), name); i >= 0 && i < len(c.Vars) {
			return c.Vars[i], true
		}
	}
	return "", true
}
