package module

import (
	"cmp"
	"fmt"
	"time"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/httprule"
	"github.com/caddy-grpc/gateway/internal/schema"
	"github.com/caddy-grpc/gateway/internal/transcode"
)

// Where a route comes from, in the routes view.
const (
	sourceConfig     = "config"
	sourceAnnotation = "annotation"
	sourceRPC        = "rpc"
	sourceGateway    = "gateway"
)

// tableConfig is what a table is compiled by, besides the schemas. Immutable.
type tableConfig struct {
	routes      []Route
	exposure    *exposure
	rpc         bool
	annotations bool
	fullyDecode bool // of %2F in variables of several segments
	json        transcode.Options
	timeout     time.Duration      // of unary calls to upstreams that have none of their own; 0: none
	local       []*frontend.Method // what the gateway itself answers
}

// member is one upstream of a table with the schema it has at the moment.
type member struct {
	upstream *upstream
	label    string         // of the upstream
	schema   *schema.Schema // nil while it is not known
	pending  string         // then, why, in words for a client
}

// compiledTable is a table with what operators want to know about it. Immutable.
type compiledTable struct {
	frontend.Table
	members  []member
	routes   []RouteView
	problems []Problem
}

// RouteView is one way to reach a method, as the admin API shows it. Its JSON is public.
type RouteView struct {
	Method       string `json:"method"`   // HTTP method, "*" for any
	Template     string `json:"template"` // path template
	RPC          string `json:"rpc"`      // "package.Service/Method"
	Upstream     string `json:"upstream"`
	Source       string `json:"source"` // "config", "annotation", "rpc" or "gateway"
	Body         string `json:"body,omitempty"`
	ResponseBody string `json:"response_body,omitempty"`
	Streams      string `json:"streams,omitempty"`     // "client", "server" or "both"; absent for unary methods
	ShadowedBy   string `json:"shadowed_by,omitempty"` // the route that gets the requests of this one
}

// Problem is something in routes or schemas that does not work as it is written. It never keeps the rest from working.
type Problem struct {
	Route    string `json:"route,omitempty"` // method and template
	RPC      string `json:"rpc,omitempty"`
	Upstream string `json:"upstream,omitempty"`
	Reason   string `json:"reason"`

	// fatal problems are mistakes of the config, which is refused for them when they are known as it loads.
	fatal bool
}

func (p Problem) String() string {
	s := p.Reason
	if p.RPC != "" {
		s = p.RPC + ": " + s
	}
	if p.Route != "" {
		s = p.Route + ": " + s
	}
	return s
}

// tableBuilder is the state of one compilation.
type tableBuilder struct {
	cfg     *tableConfig
	out     *compiledTable
	methods map[string]*frontend.Method // all exposed ones, by name
	rules   []*schema.Method            // of those, in order
	router  httprule.Builder[*frontend.Binding]
	views   map[*frontend.Binding]int // index in out.routes
}

// compileTable makes the table of the members' schemas. It always returns a table: what does not work is left out and reported in problems.
func compileTable(cfg *tableConfig, members []member) *compiledTable {
	b := &tableBuilder{
		cfg:     cfg,
		out:     &compiledTable{members: members},
		methods: make(map[string]*frontend.Method),
		views:   make(map[*frontend.Binding]int),
	}
	b.router.FullyDecodeReserved = cfg.fullyDecode
	for _, m := range members {
		if m.schema == nil {
			if b.out.Pending == "" {
				b.out.Pending = m.pending
			}
			continue
		}
		b.addMethods(m, m.upstream.schema.compiler(m.schema, cfg.json))
	}
	for i := range cfg.routes {
		b.addRoute(&cfg.routes[i])
	}
	if cfg.annotations {
		for _, m := range b.rules {
			b.addRules(m)
		}
	}
	if cfg.rpc {
		b.addPaths()
		b.addLocal()
		b.out.Fallback = newFallback(cfg.exposure, members)
	}
	b.build()
	return b.out
}

func (b *tableBuilder) problem(p Problem) { b.out.problems = append(b.out.problems, p) }

// addMethods adds the exposed methods of one upstream. Of two with the same name the first stays.
func (b *tableBuilder) addMethods(m member, codecs *transcode.Compiler) {
	for _, sm := range m.schema.Methods() {
		if !b.cfg.exposure.allows(sm.Name) {
			continue
		}
		if other, ok := b.methods[sm.Name]; ok {
			b.problem(Problem{RPC: sm.Name, Upstream: m.label, fatal: true,
				Reason: fmt.Sprintf("upstream %q has this method, too; calls go to %q", m.label, other.Upstream)})
			continue
		}
		fm, err := b.newMethod(m, sm, codecs)
		if err != nil {
			b.problem(Problem{RPC: sm.Name, Upstream: m.label, Reason: err.Error()})
			continue
		}
		b.methods[sm.Name] = fm
		b.rules = append(b.rules, sm)
	}
}

func (b *tableBuilder) newMethod(m member, sm *schema.Method, codecs *transcode.Compiler) (*frontend.Method, error) {
	request, err := codecs.Codec(sm.Desc.Input())
	if err != nil {
		return nil, fmt.Errorf("compile request message %s: %w", sm.Desc.Input().FullName(), err)
	}
	response, err := codecs.Codec(sm.Desc.Output())
	if err != nil {
		return nil, fmt.Errorf("compile response message %s: %w", sm.Desc.Output().FullName(), err)
	}
	return &frontend.Method{
		Name:       sm.Name,
		Path:       "/" + sm.Name,
		Upstream:   m.label,
		Desc:       sm.Desc,
		Conn:       m.upstream.conn(),
		Request:    request,
		Response:   response,
		Types:      codecs,
		Timeout:    max(0, cmp.Or(m.upstream.timeout, b.cfg.timeout)),
		Idempotent: sm.Idempotent,
		StreamDesc: grpc.StreamDesc{
			StreamName:    string(sm.Desc.Name()),
			ServerStreams: sm.Desc.IsStreamingServer(),
			ClientStreams: sm.Desc.IsStreamingClient(),
		},
		Owner: newMethodMetrics(m.label, sm.Name),
		Timed: timed,

		Departed: departed(m.label, sm.Name),
	}, nil
}

// addRoute adds a route of the config.
func (b *tableBuilder) addRoute(r *Route) {
	m, ok := b.methods[r.RPC]
	if !ok {
		// While a schema is pending the method may be in it.
		if b.out.Pending == "" {
			b.problem(Problem{Route: r.String(), RPC: r.RPC, Reason: "no upstream has this method", fatal: true})
		}
		return
	}
	bd, err := newBinding(m, r.Method, r.Template, r.Body, r.ResponseBody)
	if err != nil {
		b.problem(Problem{Route: r.String(), RPC: r.RPC, Upstream: m.Upstream, Reason: err.Error(), fatal: true})
		return
	}
	bd.Source = sourceConfig
	bd.Idempotent = bd.Idempotent || r.Idempotent
	bd.Timeout = max(0, time.Duration(r.Timeout))
	if r.Timeout < 0 { // none, whatever the method's is
		unbounded := *m
		unbounded.Timeout = 0
		bd.Method = &unbounded
	}
	b.add(bd, r.Body, r.ResponseBody)
}

// addRules adds the google.api.http rules of a method.
func (b *tableBuilder) addRules(sm *schema.Method) {
	m := b.methods[sm.Name]
	for _, rule := range sm.Rules {
		method, template := rulePattern(rule)
		bd, err := newBinding(m, method, template, rule.GetBody(), rule.GetResponseBody())
		if err != nil {
			b.problem(Problem{Route: method + " " + template, RPC: sm.Name, Upstream: m.Upstream, Reason: err.Error()})
			continue
		}
		bd.Source = sourceAnnotation
		b.add(bd, rule.GetBody(), rule.GetResponseBody())
	}
}

func rulePattern(rule *annotations.HttpRule) (method, template string) {
	switch p := rule.GetPattern().(type) {
	case *annotations.HttpRule_Get:
		return "GET", p.Get
	case *annotations.HttpRule_Put:
		return "PUT", p.Put
	case *annotations.HttpRule_Post:
		return "POST", p.Post
	case *annotations.HttpRule_Delete:
		return "DELETE", p.Delete
	case *annotations.HttpRule_Patch:
		return "PATCH", p.Patch
	case *annotations.HttpRule_Custom:
		return p.Custom.GetKind(), p.Custom.GetPath()
	default:
		return "", ""
	}
}

func newBinding(m *frontend.Method, method, template, body, responseBody string) (*frontend.Binding, error) {
	if method == "" {
		return nil, fmt.Errorf("the rule has no HTTP method")
	}
	t, err := httprule.Parse(template)
	if err != nil {
		return nil, err
	}
	b := &frontend.Binding{Method: m, HTTPMethod: method, Template: t, Idempotent: m.Idempotent || isIdempotent(method)}
	for _, name := range t.Variables() {
		f, err := variable(m.Request, name)
		if err != nil {
			return nil, fmt.Errorf("path variable %q: %w", name, err)
		}
		b.Vars = append(b.Vars, f)
	}
	switch body {
	case "":
	case "*":
		b.BodyAll = true
	default:
		if b.Body, err = m.Request.Field(body); err != nil {
			return nil, fmt.Errorf("body %q: %w", body, err)
		}
	}
	if responseBody != "" {
		if b.ResponseBody, err = m.Response.Field(responseBody); err != nil {
			return nil, fmt.Errorf("response_body %q: %w", responseBody, err)
		}
	}
	return b, nil
}

// variable finds the field of a path variable, which can be neither repeated nor a message (http.proto), save the well-known
// types that are a string or a number in JSON.
func variable(c *transcode.Codec, name string) (*transcode.Field, error) {
	f, err := c.Field(name)
	if err != nil {
		return nil, err
	}
	fd := f.Descriptor()
	if fd.IsList() || fd.IsMap() {
		return nil, fmt.Errorf("field %s is repeated", fd.FullName())
	}
	if msg := fd.Message(); msg != nil && !isScalarInJSON(msg) {
		return nil, fmt.Errorf("field %s is a message", fd.FullName())
	}
	return f, nil
}

func isScalarInJSON(md protoreflect.MessageDescriptor) bool {
	if md.ParentFile().Package() != "google.protobuf" {
		return false
	}
	switch md.Name() {
	case "Timestamp", "Duration", "FieldMask", "StringValue", "BytesValue", "BoolValue",
		"Int32Value", "Int64Value", "UInt32Value", "UInt64Value", "FloatValue", "DoubleValue":
		return true
	default:
		return false
	}
}

// isIdempotent says which HTTP methods promise that a request may be repeated (RFC 9110, section 9.2.2).
func isIdempotent(method string) bool {
	return method == "GET" || method == "PUT" || method == "DELETE" || method == "HEAD"
}

func (b *tableBuilder) add(bd *frontend.Binding, body, responseBody string) {
	b.router.Add(bd.HTTPMethod, bd.Template, bd)
	b.views[bd] = len(b.out.routes)
	b.out.routes = append(b.out.routes, RouteView{
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
func (b *tableBuilder) addPaths() {
	b.out.Methods = make(map[string]*frontend.Method, len(b.methods))
	for _, sm := range b.rules {
		m := b.methods[sm.Name]
		b.out.Methods[m.Path] = m
		b.out.routes = append(b.out.routes, RouteView{
			Method: "POST", Template: m.Path, RPC: m.Name, Upstream: m.Upstream, Source: sourceRPC, Body: "*", Streams: streams(m.Desc),
		})
	}
}

func (b *tableBuilder) build() {
	router, ambiguities := b.router.Build()
	b.out.Router = router
	for _, a := range ambiguities {
		winner, loser := a.Winner, a.Loser
		view := &b.out.routes[b.views[loser]]
		view.ShadowedBy = fmt.Sprintf("%s %s -> %s", winner.HTTPMethod, winner.Template, winner.Method.Name)
		if winner.Source == sourceConfig && loser.Source == sourceAnnotation {
			continue // That is what routes in the config are for.
		}
		b.problem(Problem{
			Route: view.Method + " " + view.Template, RPC: view.RPC, Upstream: view.Upstream,
			Reason: fmt.Sprintf("ambiguous: %s; requests go to %s", a.Reason, view.ShadowedBy),
			fatal:  loser.Source == sourceConfig,
		})
	}
}

func streams(md protoreflect.MethodDescriptor) string {
	switch {
	case md.IsStreamingClient() && md.IsStreamingServer():
		return "both"
	case md.IsStreamingClient():
		return "client"
	case md.IsStreamingServer():
		return "server"
	default:
		return ""
	}
}
