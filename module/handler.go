package module

import (
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/transcode"
)

// Handler puts gRPC services on the web. It answers REST requests by the `google.api.http` rules of
// the methods and by routes in this config. It answers `POST /<package.Service>/<Method>` in the
// protocols Connect, gRPC-Web and gRPC, and as plain JSON. It is the last handler of its route: a
// request that matches nothing gets 404 with a `google.rpc.Status` in JSON.
//
// These placeholders say what was called and what happened:
//
// Placeholder | Description
// ------------|-------------
// `{http.grpc_gateway.protocol}` | The protocol: `rest`, `connect`, `grpc`, `grpcweb` or `mcp`
// `{http.grpc_gateway.upstream}` | Name of the upstream
// `{http.grpc_gateway.method}` | The RPC, `package.Service/Method`
// `{http.grpc_gateway.service}` | The service, `package.Service`
// `{http.grpc_gateway.route}` | The path template that matched; empty for calls by name
// `{http.grpc_gateway.var.<field>}` | In `with`: a path variable, such as `var.id`; else empty
// `{http.grpc_gateway.endpoint}` | Address of the instance that was called
// `{http.grpc_gateway.code}` | The gRPC status code by name, such as `NOT_FOUND`
// `{http.grpc_gateway.message}` | In error routes, with `errors` set to `pass`: the error's message
// `{http.grpc_gateway.details}` | In the same place: the error's details, a list in JSON
// `{http.grpc_gateway.status}` | In the same place: the whole error, a `google.rpc.Status` in JSON
//
// They are set after the handler. All but the last three are also set in `policies` (`with`),
// before the call.
//
// The access log has the fields `grpc_upstream`, `grpc_method`, `grpc_route`, `grpc_endpoint` and
// `grpc_code`. The field `grpc_error` has the details of a failure, which clients do not see.
type Handler struct {
	// The services behind this handler. A call goes to the upstream whose schema has the method. If
	// two upstreams have the same method and both schemas are files, the config is refused.
	// Otherwise the first upstream keeps the method, and the conflict is reported. Required, unless
	// there are `catalogs`.
	Upstreams []HandlerUpstream `json:"upstreams,omitempty"`

	// Catalogs of the app, by name. All their services are behind this handler, after `upstreams`.
	// `expose` is required then, because whoever may write to the registry can publish methods. If
	// two services of a catalog have the same method, the older one keeps it. A route of a service
	// is left out if it would take requests from an older one. Default: none.
	Catalogs []string `json:"catalogs,omitempty"`

	// REST routes in addition to those of the schema. They win over the schema's. Default: none.
	Routes []Route `json:"routes,omitempty"`

	// The methods that can be reached. A pattern is a `package.Service` or
	// `package.Service/Method`, in which `*` matches any text. Default: all methods. gRPC's own
	// services, such as reflection and health, can never be reached, and a pattern that names one
	// is an error. A pattern that matches no method is an error if all schemas are files. Otherwise
	// it is reported.
	Expose []string `json:"expose,omitempty"`

	// Patterns for methods that cannot be reached. `hide` wins over `expose`. Default: none. A
	// pattern that matches no method is an error if all schemas are files. Otherwise it is
	// reported.
	Hide []string `json:"hide,omitempty"`

	// HTTP handlers that run around calls, such as authentication and rate limits. For each call,
	// the policies that match its method run in this order, each within those before it. Default:
	// none.
	Policies []Policy `json:"policies,omitempty"`

	// The gateway that this one looks like to clients: `grpc-gateway` (version 2) or `go-zero`. It
	// stands for a set of options, which docs/configuration.md lists. An option that is set in this
	// config wins over the set. Default: none.
	Compat string `json:"compat,omitempty"`

	// Whether methods can be called at `POST /<package.Service>/<Method>`. Default: true.
	RPC *bool `json:"rpc,omitempty"`

	// Whether the `google.api.http` rules of the schema are routes. Default: true.
	Annotations *bool `json:"annotations,omitempty"`

	// The deadline of unary calls. A timeout of the route or of the upstream wins over this one. A
	// client can shorten the deadline but not extend it. Default: 5s. Negative: no deadline.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// What happens to the headers by which a client says how long it will wait: Grpc-Timeout,
	// Connect-Timeout-Ms and X-Request-Timeout. `obey` (default) makes the earliest deadline count,
	// and answers 400 to a malformed one. `ignore` is for REST only.
	ClientTimeout string `json:"client_timeout,omitempty"`

	// The largest request body, in bytes. A larger one gets 413. Default: 4194304 (4 MiB).
	MaxRequestSize int64 `json:"max_request_size,omitempty"`

	// How JSON is written and read. Default: as the ProtoJSON specification says.
	JSON *JSONOptions `json:"json,omitempty"`

	// How strictly query parameters are read. `reject_unknown` (default) answers 400 if a parameter
	// names no field. `ignore_unknown` ignores it. `lenient` ignores it as well, and so it does a
	// part of a form that names no field, and a parameter that contradicts the path. It also takes
	// the texts that Go's package strconv takes, in paths, too: `True` and `1` for a bool, `007`
	// for an integer, and `1m30s` for a Duration.
	Query string `json:"query,omitempty"`

	// What the body of a request is. `by_route` (default): what the route says. `message`: the
	// whole request message as JSON, for every route of the schema, and for those of this config
	// without a `body`. The query sets fields, too, and wins over the body. Of several values for
	// one field the last one counts, and an empty value is ignored. The routes of the schema then
	// answer with the whole response.
	RequestBody string `json:"request_body,omitempty"`

	// What happens if the `Content-Type` of a body is not that of JSON, or if the gateway has
	// nothing that `Accept` allows. `strict` (default) answers 415 or 406. `lenient` reads the body
	// as JSON, and answers with JSON. It does not weaken `cross_site`. That check also stops the
	// forms and the text/plain bodies that any page can send without a preflight request.
	Negotiation string `json:"negotiation,omitempty"`

	// The shape of answers over plain HTTP: their status, and what is around the message. Default:
	// the message as JSON with status 200, and errors as a google.rpc.Status.
	Answers *Answers `json:"answers,omitempty"`

	// The headers that are passed on to the service and back. Default: see Metadata.
	Metadata *Metadata `json:"metadata,omitempty"`

	// The origins whose pages may call from a browser and may open a WebSocket, such as
	// `https://app.example.com`. A `*` in the host matches any text, and a lone `*` is every
	// origin. Only origins without a `*` may use credentials: cookies, client certificates and the
	// browser's passwords. Default: only the gateway's own origin.
	CORS []string `json:"cors,omitempty"`

	// What happens to a request that a browser sends for a page of another site whose origin is not
	// in `cors`. `refuse` (default) answers it with 403, because any page could otherwise call
	// methods in a visitor's name (CSRF). `allow` lets it pass. GET, HEAD and OPTIONS always pass,
	// so bind only methods without side effects to GET. For WebSockets `cors` and
	// `websocket_origins` decide in any case. Clients that are not browsers are not affected.
	CrossSite string `json:"cross_site,omitempty"`

	// Whether the gateway answers gRPC server reflection (v1 and v1alpha) with the methods of all
	// upstreams, for clients such as grpcurl. Default: false.
	Reflection *bool `json:"reflection,omitempty"`

	// Whether the gateway answers gRPC health checks (grpc.health.v1). The gateway itself has the
	// empty name, and is SERVING until it stops. A service is SERVING while its upstream has a
	// ready instance. Default: false.
	Health *bool `json:"health,omitempty"`

	// The path at which load balancers can ask for the same over plain HTTP, such as `/healthz`.
	// GET is answered with 200 (SERVING) or 503 (NOT_SERVING). The query parameter `service` names
	// a service, and an unknown one is 404. This path wins over a route of the API. Default: none.
	HealthPath string `json:"health_path,omitempty"`

	// The form of REST errors, and who answers them. `status` (default) answers with a
	// google.rpc.Status in JSON, or in the `envelope` of `answers`. `problem` answers with problem
	// details, `application/problem+json` (RFC 9457), and excludes an envelope. With both, a client
	// that names `application/problem+json` in its Accept header chooses by the weights there.
	// `text` answers with a line of text, `rpc error: code = NotFound desc = <message>`, and
	// excludes an envelope, too. A path without a route is then `404 page not found`, and a 405 has
	// no body. `pass` leaves the answer to the site's error routes (`handle_errors`). There
	// `{err.status_code}` is the HTTP status, `{err.message}` is `CODE: message`, and headers such
	// as Allow and Retry-After are set. Without error routes that answer has no body. Errors after
	// the first byte of a stream, and errors of Connect, gRPC-Web and gRPC calls, always have the
	// form of their protocol.
	Errors string `json:"errors,omitempty"`

	// What describes the API: an OpenAPI document, a page and descriptors. Default: nothing does.
	OpenAPI *OpenAPI `json:"openapi,omitempty"`

	// What makes methods tools for language models. Default: nothing does.
	MCP *MCP `json:"mcp,omitempty"`

	// How streams go over plain HTTP. Default: see Stream.
	Stream *Stream `json:"stream,omitempty"`

	// Whether answers to GET and HEAD have an `ETag`. It is a hash of the body, unless the service
	// sets its own. A request with a matching If-None-Match gets 304. This saves transfer but not
	// calls, because the service is called to compute the answer. Default: false.
	ETag bool `json:"etag,omitempty"`

	// Whether clients of plain HTTP can ask for parts of an answer, and how. Default: they cannot.
	Fields *Fields `json:"fields,omitempty"`

	// Fields that no answer has, in any protocol, as `package.Message.field`. They stay in
	// requests. While there are any, calls are refused whose method no schema describes. Fields of
	// `google.protobuf` messages, of `google.api.HttpBody` and of `google.rpc.Status` are refused.
	// A name that is no field of any schema is an error if all schemas are files. Otherwise it is
	// reported. Default: none.
	HideFields []string `json:"hide_fields,omitempty"`

	// Whether request messages are checked before they are sent, and how. Default: they are not.
	Validate *Validate `json:"validate,omitempty"`

	// Whether request bodies may be multipart/form-data and application/x-www-form-urlencoded.
	// Otherwise they get 415. A form on a page of another site can send both without a preflight.
	// Such a request is refused, unless `cors` has its origin or `cross_site` is `allow`. Default:
	// false.
	Forms *bool `json:"forms,omitempty"`

	// Whether the body of a request to a route without a body is a part of the query if its type is
	// application/x-www-form-urlencoded. A POST of such a form to a path that has no POST route
	// then goes to the GET route. It is for queries that are too long for a URL. Default: false,
	// such a body is ignored.
	FormQuery *bool `json:"form_query,omitempty"`

	// Whether `%2F` is also decoded in path variables of several segments, such as
	// `{name=files/**}`. This is the option of the same name of `google.api.Http`, which is not
	// part of a schema. Default: false. Then `%2F` stays, which tells a slash in a name from one
	// between names.
	FullyDecodeReserved bool `json:"fully_decode_reserved_expansion,omitempty"`

	app       *App
	log       *zap.Logger
	protocols protocols
	policies  policies
	routing   routing
	json      transcode.Options
	checking  *checking
	// description answers for the paths of OpenAPI. Nil without the option.
	description *description
	// tools answers for the path of MCP. Nil without the option.
	tools *tools
	// replaced says that another config has taken over. Clients on old connections may not know.
	replaced atomic.Bool
}

// HandlerUpstream is an upstream of the app grpc_gateway, by its name, or an upstream of this
// handler only.
type HandlerUpstream struct {
	// The name of an upstream of the app, if no other field is set. Otherwise it is the name of
	// this upstream in logs and in the admin API. Its default is then the name of the source of its
	// instances.
	Name string `json:"name,omitempty"`

	Upstream
}

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.grpc_gateway",
		New: func() caddy.Module { return new(Handler) },
	}
}

// Provision compiles the handler. It uses neither the network nor a registry.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.log = printable(ctx.Logger())
	keepConns(ctx)
	if err := h.applyCompat(); err != nil {
		return err
	}
	if err := h.validate(); err != nil {
		return err
	}
	var err error
	if h.json, err = h.JSON.compile(); err != nil {
		return fmt.Errorf("json: %w", err)
	}
	h.json.LenientText = h.Query == queryLenient
	options, err := h.compileOptions()
	if err != nil {
		return err
	}
	if h.checking, err = h.Validate.compile(ctx, h.json.UseProtoNames); err != nil {
		return fmt.Errorf("validate: %w", err)
	}
	table, err := h.compileRoutes()
	if err != nil {
		return err
	}
	if err := h.protocols.provision(h, options, table); err != nil {
		return err
	}
	if h.description, err = h.describe(&options); err != nil {
		return fmt.Errorf("openapi: %w", err)
	}
	if err := h.policies.provision(ctx, h, table); err != nil {
		return err
	}
	if h.tools, err = h.makeTools(&options); err != nil {
		return fmt.Errorf("mcp: %w", err)
	}
	h.MCP.claim(table)

	app, err := ctx.App(appName)
	if err != nil {
		return err
	}
	h.app = app.(*App)
	upstreams, err := h.openUpstreams(ctx)
	if err != nil {
		return err
	}
	catalogs, err := h.findCatalogs()
	if err != nil {
		return err
	}
	if err := h.routing.provision(h.log, table, h.json, h.checking, upstreams, catalogs); err != nil {
		return err
	}
	h.app.handlers = append(h.app.handlers, h)
	return nil
}

func (h *Handler) validate() error {
	if len(h.Upstreams)+len(h.Catalogs) == 0 {
		return errors.New("it has no upstream to call")
	}
	if err := h.validateCatalogs(); err != nil {
		return err
	}
	for i := range h.Routes {
		if err := h.Routes[i].Validate(); err != nil {
			return fmt.Errorf("route %d: %w", i+1, err)
		}
	}
	for i := range h.Policies {
		if err := h.Policies[i].Validate(); err != nil {
			return fmt.Errorf("policy %d: %w", i+1, err)
		}
	}
	switch {
	case h.MaxRequestSize < 0:
		return errors.New("max_request_size: expected a size above 0")
	case !oneOf(h.Query, queryRejectUnknown, queryIgnoreUnknown, queryLenient):
		return fmt.Errorf("query %q: expected reject_unknown, ignore_unknown or lenient", h.Query)
	case !oneOf(h.ClientTimeout, timeoutObey, timeoutIgnore):
		return fmt.Errorf("client_timeout %q: expected obey or ignore", h.ClientTimeout)
	case !oneOf(h.RequestBody, bodyByRoute, bodyMessage):
		return fmt.Errorf("request_body %q: expected by_route or message", h.RequestBody)
	case !oneOf(h.Negotiation, negotiationStrict, negotiationLenient):
		return fmt.Errorf("negotiation %q: expected strict or lenient", h.Negotiation)
	case h.CrossSite != "" && h.CrossSite != crossSiteRefuse && h.CrossSite != crossSiteAllow:
		return fmt.Errorf("cross_site %q: expected refuse or allow", h.CrossSite)
	}
	if err := h.ValidateHealth(); err != nil {
		return fmt.Errorf("health: %w", err)
	}
	if err := h.checkErrors(); err != nil {
		return err
	}
	if err := h.MCP.Validate(); err != nil {
		return fmt.Errorf("mcp: %w", err)
	}
	if err := h.Stream.Validate(); err != nil {
		return fmt.Errorf("stream: %w", err)
	}
	if err := h.Fields.Validate(); err != nil {
		return fmt.Errorf("fields: %w", err)
	}
	for _, name := range h.HideFields {
		if err := ValidateHiddenField(name); err != nil {
			return fmt.Errorf("hide_fields: %w", err)
		}
	}
	return nil
}

// openUpstreams finds the upstreams that the handler refers to, and opens those that it defines.
func (h *Handler) openUpstreams(ctx caddy.Context) ([]*upstream, error) {
	upstreams := make([]*upstream, 0, len(h.Upstreams))
	seen := make(map[*sharedChannel]string)
	for i := range h.Upstreams {
		u, err := h.openUpstream(ctx, &h.Upstreams[i])
		if err != nil {
			return nil, fmt.Errorf("upstream %d: %w", i+1, err)
		}
		if other, ok := seen[u.channel]; ok {
			return nil, fmt.Errorf("upstream %d: %q has the same instances as %q", i+1, u.name, other)
		}
		seen[u.channel] = u.name
		upstreams = append(upstreams, u)
	}
	return upstreams, nil
}

func (h *Handler) openUpstream(ctx caddy.Context, hu *HandlerUpstream) (*upstream, error) {
	if hu.isReference() {
		u, ok := h.app.upstreams[hu.Name]
		if !ok {
			return nil, fmt.Errorf("there is no upstream named %q in the app grpc_gateway", hu.Name)
		}
		return u, nil
	}
	if _, ok := h.app.upstreams[hu.Name]; ok {
		return nil, fmt.Errorf("an upstream named %q is defined in the app grpc_gateway already", hu.Name)
	}
	u, err := h.app.open(ctx, hu.Name, &hu.Upstream)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", hu.Name, err)
	}
	return u, nil
}

// ServeHTTP answers the request. It never calls next: a request that matches nothing is answered
// with a Status, too.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	err := h.answer(w, r)
	if err == nil {
		frontend.Linger(w, r)
	}
	return err
}

// answer answers the request. An error means that nothing was written yet.
func (h *Handler) answer(w http.ResponseWriter, r *http.Request) error {
	if h.replaced.Load() && r.ProtoMajor < 3 {
		// Over HTTP/2 this becomes a GOAWAY. A connection that was accepted while the server shut
		// down got none, and would keep the old config for as long as its requests keep coming.
		w.Header().Set("Connection", "close")
	}
	if h.serveHealth(w, r) {
		return nil // It is no call either.
	}
	if h.description != nil && h.description.serve(w, r, h.routing.whole) {
		return nil // It is no call, so the access log has no grpc_code.
	}
	if h.tools != nil && h.tools.serve(w, r) {
		return nil // Its tool calls are recorded one by one.
	}
	var info frontend.Info
	// This is deferred, because a response that breaks off ends in a panic.
	defer func(began time.Time) {
		record(r, &info)
		observe(&info, time.Since(began))
	}(time.Now())
	table := func() *frontend.Table { return h.routing.current(r.Context()) }
	if w, err := h.protocols.serve(w, r, table, &info); err != nil {
		return h.fail(w, r, err)
	}
	yield(w, &info)
	return nil
}

// Cleanup stops following the schemas. The handler may still be serving. It does so from its last
// table, and sends its clients to its successor.
func (h *Handler) Cleanup() error {
	h.replaced.Store(true)
	h.routing.stop()
	h.tools.close()
	return nil
}

// Interface guards.
var (
	_ caddy.Module                = (*Handler)(nil)
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
