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

// Handler puts gRPC services on the web. It answers REST requests by the `google.api.http` rules of their methods and by
// routes written here, and `POST /<package.Service>/<Method>` in the protocols Connect, gRPC-Web and gRPC or with plain JSON. It is
// the last handler of its route: a request that matches nothing is answered with a `google.rpc.Status` in JSON and 404.
//
// After the handler, these placeholders say what happened:
//
// Placeholder | Description
// ------------|-------------
// `{http.grpc_gateway.protocol}` | How the request was read: `rest`, `connect`, `grpc` or `grpcweb`
// `{http.grpc_gateway.upstream}` | Name of the upstream
// `{http.grpc_gateway.method}` | The RPC, `package.Service/Method`
// `{http.grpc_gateway.route}` | The path template that matched
// `{http.grpc_gateway.endpoint}` | Address of the instance that was called
// `{http.grpc_gateway.code}` | The gRPC status code by name, such as `NOT_FOUND`
// `{http.grpc_gateway.message}` | In error routes, with `errors` set to `pass`: what the client would have been told
//
// The access log has the same in the fields `grpc_upstream`, `grpc_method`, `grpc_route`, `grpc_endpoint` and `grpc_code`. What
// went wrong in detail, which no client sees, is in the field `grpc_error`.
type Handler struct {
	// The services behind this handler. A call goes to the upstream whose schema has the method. If
	// two upstreams have the same method and both schemas are files, the config is refused.
	// Otherwise the first upstream keeps the method, and the conflict is reported.
	Upstreams []HandlerUpstream `json:"upstreams,omitempty"`

	// REST routes besides those that the schema brings. They go before the schema's.
	Routes []Route `json:"routes,omitempty"`

	// Which methods can be reached at all. A pattern is a `package.Service` or
	// `package.Service/Method`, in which `*` matches any run of characters. Default: all. gRPC's
	// own services, such as reflection and health, can never be reached, and a pattern that names
	// one is an error. A pattern that matches no method is an error if all schemas are files;
	// otherwise it is reported.
	Expose []string `json:"expose,omitempty"`

	// Patterns for methods that cannot be reached. `hide` wins over `expose`. Default: none. A
	// pattern that matches no method is an error if all schemas are files; otherwise it is
	// reported.
	Hide []string `json:"hide,omitempty"`

	// Whether `POST /<package.Service>/<Method>` calls methods. Default: true.
	RPC *bool `json:"rpc,omitempty"`

	// Whether the `google.api.http` rules of the schema become routes. Default: true.
	Annotations *bool `json:"annotations,omitempty"`

	// Deadline of unary calls where neither the route nor the upstream has one. Default: 5s. Negative: none. A client's
	// own deadline only shortens it.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// Largest request body, in bytes. A larger one is answered with 413. Default: 4194304 (4 MiB).
	MaxRequestSize int64 `json:"max_request_size,omitempty"`

	// How JSON is written and read.
	JSON *JSONOptions `json:"json,omitempty"`

	// What becomes of query parameters that name no field: `reject_unknown` (default; 400 naming the parameter) or `ignore_unknown`.
	Query string `json:"query,omitempty"`

	// Which headers go through to the service and back.
	Metadata *Metadata `json:"metadata,omitempty"`

	// Origins whose pages may call from a browser, and may open a WebSocket:
	// `https://app.example.com`, with `*` for anything in the host, or `*` alone for all. Only
	// origins without a `*` may use credentials: cookies, client certificates and the browser's
	// passwords. Default: none but the gateway's own.
	CORS []string `json:"cors,omitempty"`

	// What becomes of a request that a browser sends for a page of another site whose origin is not
	// in `cors`. `refuse` (default) answers it with 403, because any page could otherwise call
	// methods in a visitor's name (CSRF). `allow` lets it pass. GET, HEAD and OPTIONS always pass:
	// bind only methods without side effects to GET. WebSockets go by `cors` and by
	// `websocket_origins` in any case. Clients that are not browsers are not affected.
	CrossSite string `json:"cross_site,omitempty"`

	// Answer gRPC server reflection (v1 and v1alpha) with the methods of all upstreams, for clients such as grpcurl. Default: false.
	Reflection *bool `json:"reflection,omitempty"`

	// Answer grpc.health.v1: the gateway itself, under the empty name, serves until it stops, and a service while its upstream
	// has an instance that is ready. Default: false.
	Health *bool `json:"health,omitempty"`

	// How REST errors are answered: `status` (default) writes google.rpc.Status as JSON, `pass` has the site's error routes
	// (`handle_errors`) answer, with the HTTP status in `{err.status_code}`, `CODE: message` in `{err.message}` and headers such as
	// Allow and Retry-After set. Without error routes the answer has no body then. Errors after the first byte of
	// a stream, and those of Connect, gRPC-Web and gRPC calls, always have the form of their protocol.
	Errors string `json:"errors,omitempty"`

	// How streams go over plain HTTP.
	Stream *Stream `json:"stream,omitempty"`

	// Whether answers to GET and HEAD have an `ETag`, a hash of the body unless the service sets its own, and a matching
	// If-None-Match is answered with 304. It saves transfer, not calls: the service is called all the same. Default: false.
	ETag bool `json:"etag,omitempty"`

	// Whether request bodies may be multipart/form-data and application/x-www-form-urlencoded.
	// Default: false, they are 415. An HTML form of another site can send both without asking
	// first. Such a request is refused unless `cross_site` is `allow`.
	Forms bool `json:"forms,omitempty"`

	// Decode `%2F` also in path variables of several segments, such as `{name=files/**}`. It is the option of this name
	// of `google.api.Http`, which is not part of a schema. Default: false, `%2F` stays there, so that a slash in a name can be told
	// from one between names.
	FullyDecodeReserved bool `json:"fully_decode_reserved_expansion,omitempty"`

	app       *App
	log       *zap.Logger
	protocols protocols
	routing   routing
	json      transcode.Options
	replaced  atomic.Bool // by another config; some connections may not know yet
}

// HandlerUpstream is an upstream of the app grpc_gateway, by its name, or one defined right here.
type HandlerUpstream struct {
	// With nothing else: the name of an upstream of the app. With a definition: what the upstream is called
	// in logs and the admin API; default: what its source of instances is called.
	Name string `json:"name,omitempty"`

	Upstream
}

// JSONOptions say how JSON is written and how strictly it is read. The defaults are those of the ProtoJSON specification.
type JSONOptions struct {
	// Write field names as in the .proto file, not in lowerCamelCase. Both are read in any case.
	UseProtoNames bool `json:"use_proto_names,omitempty"`

	// Also write fields that are at their default, and empty lists and maps.
	EmitDefaults bool `json:"emit_defaults,omitempty"`

	// Write enum values as numbers. Both are read in any case.
	EnumsAsNumbers bool `json:"enums_as_numbers,omitempty"`

	// Skip unknown fields and unknown enum names in bodies, and unknown enum names in queries. Default: false, they are
	// refused with 400.
	DiscardUnknown bool `json:"discard_unknown,omitempty"`

	// Whether the names of enum values have the name of their type in front. `keep` (default) writes them as they are
	// declared, and reads nothing else. `omit` writes `PENDING` for the value `ORDER_STATUS_PENDING` of the enum `OrderStatus`,
	// and reads both. A name that would not be unique is written in full.
	EnumPrefix string `json:"enum_prefix,omitempty"`

	// The case of the names of enum values. `exact` (default) reads and writes them as they are declared. `any` reads
	// them in any case. `lower` also writes them in lower case.
	EnumCase string `json:"enum_case,omitempty"`

	// How deeply messages, lists and objects in a request may be nested, from 1 to 10000. A request that goes deeper is refused with
	// 400. A level takes about 1 KiB of memory while the request is converted. Default: 100.
	MaxDepth int `json:"max_depth,omitempty"`

	// How deeply they may be nested in an answer, from 1 to 10000. An answer that goes deeper becomes 500. A level takes about 2 KiB
	// of memory while the answer is converted. Default: 1000.
	MaxAnswerDepth int `json:"max_answer_depth,omitempty"`
}

// Metadata says which headers are passed on. A direction without rules has a default set: all request
// headers except those that belong to HTTP, the connection or a protocol, and all response metadata
// except reserved names. The last rule that matches a name decides.
type Metadata struct {
	// Which request headers become metadata. Default: the default set.
	Request []MetadataRule `json:"request,omitempty"`

	// Which response metadata becomes headers and trailers. Default: the default set.
	Response []MetadataRule `json:"response,omitempty"`
}

// MetadataRule is one rule of Metadata. The config is refused if the rule could never send anything,
// because all names that it makes are reserved.
type MetadataRule struct {
	// A name, with `*` for any text. `+name` adds it to the default set, `-name` takes it away. If a
	// rule has no sign, only names that rules match are passed on.
	Match string `json:"match"`

	// The name to pass it on under. A `*` is replaced by what the first `*` of `match` stood for.
	// Default: the name that it has. Reserved names cannot be used, such as all with `grpc-`. Only
	// `grpc-metadata-*` and `grpc-trailer-*` are allowed, in responses.
	As string `json:"as,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.grpc_gateway",
		New: func() caddy.Module { return new(Handler) },
	}
}

// Provision compiles the handler. It touches neither network nor registry.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.log = printable(ctx.Logger())
	keepConns(ctx)
	if err := h.validate(); err != nil {
		return err
	}
	var err error
	if h.json, err = h.JSON.compile(); err != nil {
		return fmt.Errorf("json: %w", err)
	}
	options, err := h.compileOptions()
	if err != nil {
		return err
	}
	table, err := h.compileRoutes()
	if err != nil {
		return err
	}
	if err := h.protocols.provision(h, options, table); err != nil {
		return err
	}

	app, err := ctx.App(appName)
	if err != nil {
		return err
	}
	h.app = app.(*App)
	upstreams, err := h.openUpstreams(ctx)
	if err != nil {
		return err
	}
	if err := h.routing.provision(h.log, table, h.json, upstreams); err != nil {
		return err
	}
	h.app.handlers = append(h.app.handlers, h)
	return nil
}

func (h *Handler) validate() error {
	if len(h.Upstreams) == 0 {
		return errors.New("it has no upstream to call")
	}
	for i := range h.Routes {
		if err := h.Routes[i].Validate(); err != nil {
			return fmt.Errorf("route %d: %w", i+1, err)
		}
	}
	switch {
	case h.MaxRequestSize < 0:
		return errors.New("max_request_size: expected a size above 0")
	case h.Query != "" && h.Query != "reject_unknown" && h.Query != "ignore_unknown":
		return fmt.Errorf("query %q: expected reject_unknown or ignore_unknown", h.Query)
	case h.CrossSite != "" && h.CrossSite != crossSiteRefuse && h.CrossSite != crossSiteAllow:
		return fmt.Errorf("cross_site %q: expected refuse or allow", h.CrossSite)
	case h.Errors != "" && h.Errors != errorsStatus && h.Errors != errorsPass:
		return fmt.Errorf("errors %q: expected status or pass", h.Errors)
	}
	if err := h.Stream.Validate(); err != nil {
		return fmt.Errorf("stream: %w", err)
	}
	return nil
}

// openUpstreams finds the upstreams that the handler refers to and makes those that it defines.
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

// ServeHTTP answers the request. It never calls next: what matches nothing is answered with a Status, too.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	if h.replaced.Load() && r.ProtoMajor < 3 {
		// Over HTTP/2 this is a GOAWAY. A connection that was being made while the server shut down has been sent none, and would stay
		// with the old config for as long as requests keep coming.
		w.Header().Set("Connection", "close")
	}
	var info frontend.Info
	// Deferred, because a response that breaks off ends in a panic.
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

// Cleanup stops following the schemas. The handler may still be serving, which it does from its last table, while it sends its clients
// to its successor.
func (h *Handler) Cleanup() error {
	h.replaced.Store(true)
	h.routing.stop()
	return nil
}

// Interface guards.
var (
	_ caddy.Module                = (*Handler)(nil)
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
