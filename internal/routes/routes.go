package routes

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"google.golang.org/grpc"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/httprule"
	"github.com/caddy-grpc/gateway/internal/schema"
	"github.com/caddy-grpc/gateway/internal/transcode"
)

// Config is what a table is compiled from, besides the members. Compile does not change it.
type Config struct {
	// Routes are those of the config. They win over annotations.
	Routes []Route
	// Exposure says which methods can be reached. Nil exposes all except gRPC's own services.
	Exposure *Exposure
	// RPC makes methods callable by their own path, `/package.Service/Method`.
	RPC bool
	// Annotations makes routes of the google.api.http rules of the schemas.
	Annotations bool
	// FullyDecode decodes %2F in path variables of several segments, too.
	FullyDecode bool
	// WholeBody binds the whole request message to the body of each annotation, and of each route
	// of the config without a body. The query sets fields beside it. The answer to an annotation is
	// the whole response.
	WholeBody bool
	// Timeout is the deadline of unary calls to members without their own. 0 is no deadline.
	Timeout time.Duration
	// HideFields are the full names of fields that no answer may have. If there are any, methods
	// that no schema describes cannot be called. Member.Answers must hide the same fields.
	HideFields []string
	// Local are methods that the gateway itself answers. Exposure does not apply to them.
	Local []*frontend.Method

	// Policy makes frontend.Method.Policy for a method `package.Service/Method`. PolicySpelling
	// does so for a method that no schema describes, whose name comes from a request. Some servers
	// find methods without regard to case, so a policy for a name is one for all its spellings
	// there.
	// Nil: there is no policy.
	Policy, PolicySpelling func(method string) frontend.Policy
	// Open says that members come and go. Then a pattern or a route of the config may be meant for
	// a method that is still to come.
	Open bool
	// PolicyPatterns are those of the policies. One that matches no method is a problem.
	PolicyPatterns []string
	// ToolPatterns are those of MCP's tools. One that matches no method is a problem.
	ToolPatterns []string
	// Owner makes frontend.Method.Owner for a method `package.Service/Method` of an upstream. The
	// name is "" for methods that no schema describes. If Owner is nil, methods have no owner.
	Owner func(upstream, method string) any
	// Timed becomes frontend.Method.Timed.
	Timed func(frontend.Direction, time.Duration)
	// Departed makes frontend.Method.Departed for a method of an upstream. It may be nil.
	Departed func(upstream, method string) func(note error)
}

// Member is one upstream of a handler with the schema that it has at the moment.
type Member struct {
	// Label is the name of the upstream in views, problems and metrics.
	Label string
	// Schema is nil while it is not known.
	Schema *schema.Schema
	// Pending says, in words for a client, why Schema is nil.
	Pending string
	// Undescribed says that Schema is nil because the service has answered and describes itself to
	// nobody. So it has methods, but its annotations will not become known.
	Undescribed bool
	// Listed says that a registry and not the config names this upstream. Whoever may write to the
	// registry must not take anything over. So it gets no calls whose method no schema has, and
	// none of the requests of a member before it. Listed members are after all others, oldest
	// first.
	Listed bool
	// FromFiles says that the schema does not depend on a running service.
	FromFiles bool
	// Codecs compiles the messages of Schema. It is nil while Schema is nil.
	Codecs *transcode.Compiler
	// Answers compiles the messages that are written to clients. Nil: Codecs does.
	Answers *transcode.Compiler
	// Check makes frontend.Method.Check for a method of Schema, and says what of the schema cannot
	// be used for it. Nil: there are no checks.
	Check func(m *frontend.Method) (check MessageCheck, problems []string)
	// Conn is where calls go.
	Conn grpc.ClientConnInterface
	// Timeout is the deadline of unary calls. 0 means that of Config. A negative one is no
	// deadline.
	Timeout time.Duration
}

// MessageCheck is frontend.Method.Check.
type MessageCheck = func(ctx context.Context, wire []byte) *frontend.Error

// Table is a frontend.Table with what operators want to know about it. It is immutable.
type Table struct {
	frontend.Table
	// Views are all routes: those of the config, then those of annotations, then methods by name.
	Views    []View
	Problems []Problem
	// Bindings are the routes that get requests, in the order of Views. Methods by name are not
	// among them.
	Bindings []*frontend.Binding

	cfg     *Config
	members []Member
}

// Compile makes the table of the members' schemas. It always returns a table. What does not work is
// left out and reported in Problems.
//
// Descriptors come from other processes, so a panic while they are compiled becomes an error. The
// table that comes with an error has no route, and says that routes are pending.
func Compile(cfg *Config, members []Member) (t *Table, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
			t = compile(cfg, nil)
			t.Pending = "the routes of the service could not be compiled"
		}
	}()
	return compile(cfg, members), nil
}

func compile(cfg *Config, members []Member) *Table {
	b := &builder{
		cfg:     cfg,
		out:     &Table{cfg: cfg, members: members},
		methods: make(map[string]*frontend.Method),
		views:   make(map[*frontend.Binding]int),
	}
	b.router.FullyDecodeReserved = cfg.FullyDecode
	b.guard = newGuard(members)
	for i := range members {
		m := &members[i]
		if m.Schema != nil {
			b.addMethods(m)
		} else {
			b.pending = true
		}
	}
	for i := range cfg.Routes {
		b.addRoute(&cfg.Routes[i])
	}
	if cfg.Annotations {
		for _, m := range b.rules {
			b.addRules(m)
		}
	}
	if cfg.RPC {
		b.addPaths()
		b.addLocal()
	}
	f := newFallback(cfg, members)
	// Nothing can be hidden in a message of an unknown type.
	if cfg.RPC && len(cfg.HideFields) == 0 {
		b.out.Fallback = f.find
	}
	b.addPending(f.services)
	b.checkPatterns()
	b.checkHidden()
	b.build()
	return b.out
}

// builder is the state of one compilation.
type builder struct {
	cfg     *Config
	out     *Table
	methods map[string]*frontend.Method // all exposed ones, by name
	rules   []*schema.Method            // the same methods, in order
	router  httprule.Builder[*frontend.Binding]
	views   map[*frontend.Binding]int // index in out.Views
	// bindings are those of views, in order.
	bindings []*frontend.Binding
	guard    *guard

	// checkProblems are those of Member.Check that were reported.
	checkProblems map[Problem]bool

	pending bool // a schema is missing
	// missing are the routes of the config whose method is in no known schema.
	missing httprule.Builder[struct{}]
}

func (b *builder) problem(p Problem) { b.out.Problems = append(b.out.Problems, p) }

func (cfg *Config) departed(upstream, method string) func(note error) {
	if cfg.Departed == nil {
		return nil
	}
	return cfg.Departed(upstream, method)
}

func (cfg *Config) policy(method string) frontend.Policy {
	if cfg.Policy == nil {
		return nil
	}
	return cfg.Policy(method)
}

func (cfg *Config) policySpelling(method string) frontend.Policy {
	if cfg.PolicySpelling == nil {
		return nil
	}
	return cfg.PolicySpelling(method)
}

func (cfg *Config) owner(upstream, method string) any {
	if cfg.Owner == nil {
		return nil
	}
	return cfg.Owner(upstream, method)
}
