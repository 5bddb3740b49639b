package routes

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"google.golang.org/grpc"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/schema"
)

// addMethods adds the exposed methods of one upstream. If a name is taken already, the first method
// keeps it.
func (b *builder) addMethods(m *Member) {
	taken := make(map[string][]string) // names by the upstream that has them
	for _, sm := range m.Schema.Methods() {
		if !b.cfg.Exposure.Allows(sm.Name) {
			continue
		}
		if other, ok := b.methods[sm.Name]; ok {
			taken[other.Upstream] = append(taken[other.Upstream], sm.Name)
			continue
		}
		fm, err := b.newMethod(m, sm)
		if err != nil {
			b.problem(Problem{RPC: sm.Name, Upstream: m.Label, Reason: err.Error()})
			continue
		}
		b.methods[sm.Name] = fm
		b.rules = append(b.rules, sm)
	}
	for _, other := range slices.Sorted(maps.Keys(taken)) {
		b.problem(conflict(m.Label, other, taken[other]))
	}
}

// conflict returns the problem of two upstreams that have the same methods. There is one for the
// pair, even if they share many methods.
func conflict(label, first string, methods []string) Problem {
	if len(methods) == 1 {
		return Problem{RPC: methods[0], Upstream: label, Fatal: true,
			Reason: fmt.Sprintf("upstream %q has this method, too; calls go to %q", label, first)}
	}
	return Problem{Upstream: label, Fatal: true,
		Reason: fmt.Sprintf("upstream %q has %d methods that %q has, too: %s; calls go to %q",
			label, len(methods), first, some(methods), first)}
}

// some names the first few and counts the rest.
func some(names []string) string {
	if len(names) <= maxNamed+1 {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:maxNamed], ", "), len(names)-maxNamed)
}

func (b *builder) newMethod(m *Member, sm *schema.Method) (*frontend.Method, error) {
	if _, _, ok := splitName(sm.Name); !ok {
		return nil, errors.New("that is not a name that protobuf can have")
	}
	request, err := m.Codecs.Codec(sm.Desc.Input())
	if err != nil {
		return nil, fmt.Errorf("compile request message %s: %w", sm.Desc.Input().FullName(), err)
	}
	answers := cmp.Or(m.Answers, m.Codecs)
	response, err := answers.Codec(sm.Desc.Output())
	if err != nil {
		return nil, fmt.Errorf("compile response message %s: %w", sm.Desc.Output().FullName(), err)
	}
	fm := &frontend.Method{
		Name:       sm.Name,
		Path:       "/" + sm.Name,
		Upstream:   m.Label,
		Desc:       sm.Desc,
		Conn:       m.Conn,
		Request:    request,
		Response:   response,
		Types:      answers,
		Hidden:     answers.Filter(sm.Desc.Output()),
		Files:      m.Schema.Types().Files(),
		Timeout:    max(0, cmp.Or(m.Timeout, b.cfg.Timeout)),
		Idempotent: sm.Idempotent,
		StreamDesc: grpc.StreamDesc{
			StreamName:    string(sm.Desc.Name()),
			ServerStreams: sm.Desc.IsStreamingServer(),
			ClientStreams: sm.Desc.IsStreamingClient(),
		},
		Policy: b.cfg.policy(sm.Name),
		Owner:  b.cfg.owner(m.Label, sm.Name),
		Timed:  b.cfg.Timed,

		Departed: b.cfg.departed(m.Label, sm.Name),
	}
	b.addCheck(m, fm)
	return fm, nil
}

// maxCheckProblems is how many problems with checks a table has. A schema may have a bad rule in
// each of its messages.
const maxCheckProblems = 100

// addCheck adds the check of request messages. Methods whose messages have parts in common have
// problems in common, so a problem is that of the upstream and is reported once.
func (b *builder) addCheck(m *Member, fm *frontend.Method) {
	if m.Check == nil {
		return
	}
	var problems []string
	fm.Check, problems = m.Check(fm)
	for _, reason := range problems {
		p := Problem{Upstream: m.Label, Reason: reason}
		switch n := len(b.checkProblems); {
		case b.checkProblems[p] || n > maxCheckProblems:
			continue
		case n == maxCheckProblems:
			p = Problem{Reason: "there are more problems with the checks of request messages, which are not shown"}
		case n == 0:
			b.checkProblems = make(map[Problem]bool)
		}
		b.checkProblems[p] = true
		b.problem(p)
	}
}

// wholeBody binds the whole request message to the body.
const wholeBody = "*"

// addRoute adds a route of the config.
func (b *builder) addRoute(r *Route) {
	m, ok := b.methods[r.RPC]
	if !ok {
		// While a schema is pending the method may be in it.
		if b.pending {
			b.noteMissing(r)
		} else {
			b.problem(Problem{Route: r.String(), RPC: r.RPC, Reason: "no upstream has this method", Fatal: !b.cfg.Open})
		}
		return
	}
	body := r.Body
	whole := b.cfg.WholeBody && body == ""
	if whole {
		body = wholeBody
	}
	bd, err := newBinding(m, r.Method, r.Template, body, r.ResponseBody)
	if err == nil && r.Status == http.StatusNoContent && m.StreamDesc.ServerStreams {
		err = errors.New("status 204: expected another, because the answer of this method is a stream and needs a body")
	}
	if err != nil {
		b.problem(Problem{Route: r.String(), RPC: r.RPC, Upstream: m.Upstream, Reason: err.Error(), Fatal: true})
		return
	}
	bd.Source = SourceConfig
	bd.BesideBody = whole
	bd.Idempotent = bd.Idempotent || r.Idempotent
	bd.Timeout = max(0, r.Timeout)
	bd.Status = r.Status
	if r.Timeout < 0 { // The route has no deadline, even if the method has one.
		unbounded := *m
		unbounded.Timeout = 0
		bd.Method = &unbounded
	}
	b.add(bd, body, r.ResponseBody)
}

// addRules adds the google.api.http rules of a method.
func (b *builder) addRules(sm *schema.Method) {
	m := b.methods[sm.Name]
	for _, rule := range sm.Rules {
		method, template := rulePattern(rule)
		body, responseBody := rule.GetBody(), rule.GetResponseBody()
		if b.cfg.WholeBody {
			body, responseBody = wholeBody, ""
		}
		bd, err := newBinding(m, method, template, body, responseBody)
		if err != nil {
			b.problem(Problem{Route: method + " " + template, RPC: sm.Name, Upstream: m.Upstream, Reason: err.Error()})
			continue
		}
		if reason := b.guard.refuses(bd); reason != "" {
			b.problem(Problem{Route: method + " " + template, RPC: sm.Name, Upstream: m.Upstream, Reason: reason})
			continue
		}
		bd.Source = SourceAnnotation
		bd.BesideBody = b.cfg.WholeBody
		b.add(bd, body, responseBody)
	}
}

func (b *builder) add(bd *frontend.Binding, body, responseBody string) {
	b.router.Add(bd.HTTPMethod, bd.Template, bd)
	b.guard.claim(bd)
	b.views[bd] = len(b.out.Views)
	b.bindings = append(b.bindings, bd)
	b.out.Views = append(b.out.Views, View{
		Method:       bd.HTTPMethod,
		Template:     bd.Template.String(),
		RPC:          bd.Method.Name,
		Upstream:     bd.Method.Upstream,
		Source:       bd.Source,
		Body:         body,
		ResponseBody: responseBody,
		Streams:      streams(bd.Method.Desc),
	})
}

// addPaths makes every exposed method callable by its own path.
func (b *builder) addPaths() {
	b.out.Methods = make(map[string]*frontend.Method, len(b.methods))
	for _, sm := range b.rules {
		m := b.methods[sm.Name]
		if reason := b.guard.refusesPath(m); reason != "" {
			b.problem(Problem{Route: "POST " + m.Path, RPC: m.Name, Upstream: m.Upstream, Reason: reason})
			continue
		}
		b.out.Methods[m.Path] = m
		b.out.Views = append(b.out.Views, View{
			Method: "POST", Template: m.Path, RPC: m.Name, Upstream: m.Upstream, Source: SourceRPC, Body: "*", Streams: streams(m.Desc),
		})
	}
}

// addLocal makes the services of the gateway itself callable. Operators enable them one by one, so
// expose and hide do not apply to them.
func (b *builder) addLocal() {
	for _, m := range b.cfg.Local {
		if p := b.cfg.policy(m.Name); p != nil {
			policed := *m
			policed.Policy = p
			m = &policed
		}
		b.out.Methods[m.Path] = m
		b.out.Views = slices.DeleteFunc(b.out.Views, func(r View) bool { return r.Source == SourceRPC && r.RPC == m.Name })
		b.out.Views = append(b.out.Views, View{
			Method: "POST", Template: m.Path, RPC: m.Name, Upstream: m.Upstream, Source: SourceGateway, Body: "*", Streams: streams(m.Desc),
		})
	}
}

func (b *builder) build() {
	router, ambiguities := b.router.Build()
	b.out.Router = router
	for _, a := range ambiguities {
		winner, loser := a.Winner, a.Loser
		view := &b.out.Views[b.views[loser]]
		view.ShadowedBy = fmt.Sprintf("%s %s -> %s", winner.HTTPMethod, winner.Template, winner.Method.Name)
		if winner.Source == SourceConfig && loser.Source == SourceAnnotation {
			continue // That is what routes in the config are for.
		}
		b.problem(Problem{
			Route: view.Method + " " + view.Template, RPC: view.RPC, Upstream: view.Upstream,
			Reason: fmt.Sprintf("ambiguous: %s; requests go to %s", a.Reason, view.ShadowedBy),
			Fatal:  loser.Source == SourceConfig,
		})
	}
	for _, bd := range b.bindings {
		if b.out.Views[b.views[bd]].ShadowedBy == "" {
			b.out.Bindings = append(b.out.Bindings, bd)
		}
	}
}
