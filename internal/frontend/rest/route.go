package rest

import (
	"net/http"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/caddy-grpc/gateway/internal/frontend"
)

// pendingRetry is the Retry-After in seconds while a schema is not known yet. The pool tries every
// few hundred milliseconds.
const pendingRetry = "1"

// route finds the binding of the request. found is false when the request was answered already
// (OPTIONS).
func (x *exchange) route(t *frontend.Table) (found bool, err error) {
	if t == nil {
		return false, pending("the gateway is starting")
	}
	path := x.r.URL.EscapedPath()
	if m := t.Methods[path]; m != nil {
		return x.routeByName(m)
	}
	if t.Router != nil {
		for _, method := range x.candidates() {
			if found, err = x.match(t, method, path); found || err != nil {
				return found, err
			}
		}
		if x.opts.FormsToQuery && x.r.Method == http.MethodPost && isURLEncoded(x.r.Header) {
			// It may be a GET whose query is too long for a URL.
			if found, err = x.match(t, http.MethodGet, path); found || err != nil {
				return found, err
			}
		}
	}
	return false, x.unrouted(t, path)
}

// match looks for the binding of a path under an HTTP method.
func (x *exchange) match(t *frontend.Table, method, path string) (found bool, err error) {
	b, vars, ok, err := t.Router.Match(method, path, x.scratch[:0])
	switch {
	case err != nil:
		return false, frontend.Errorf(codes.InvalidArgument, "bad percent-encoding in the path").WithCause(err)
	case !ok || !x.mayUpgrade(method, b.Method):
		return false, nil
	}
	x.binding, x.method, x.vars = b, b.Method, vars
	x.info.Method, x.info.Route = b.Method, b.Template.String()
	return true, nil
}

// routeByName is for POST /package.Service/Method.
func (x *exchange) routeByName(m *frontend.Method) (found bool, err error) {
	const allow = "OPTIONS, POST"
	switch {
	case x.r.Method == http.MethodPost || x.websocket && x.mayUpgrade(http.MethodPost, m):
		x.binding = &frontend.Binding{Method: m, HTTPMethod: http.MethodPost, BodyAll: true}
		x.method, x.info.Method = m, m
		return true, nil
	case x.r.Method == http.MethodOptions:
		return false, x.options(allow)
	default:
		return false, x.notAllowed(allow)
	}
}

// mayUpgrade reports whether the request may call the method m through a route of an HTTP method. A
// WebSocket handshake is a GET, so that matchers and proxies which look at the HTTP method take it
// for one. It reaches all streams under any method, because browsers have no other way to
// send one. It does not reach unary methods, unless they are bound to GET or WebSocketUnary is set.
func (x *exchange) mayUpgrade(httpMethod string, m *frontend.Method) bool {
	return !x.websocket || httpMethod == http.MethodGet || x.opts.WebSocketUnary ||
		m.StreamDesc.ClientStreams || m.StreamDesc.ServerStreams
}

// candidates are the methods under which the request may be routed, the best first. HEAD is a GET
// whose answer loses its body in net/http. A WebSocket always begins with a GET, but most streams
// are bound to POST.
func (x *exchange) candidates() []string {
	switch {
	case x.websocket:
		return []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}
	case x.r.Method == http.MethodHead:
		return []string{http.MethodHead, http.MethodGet}
	default:
		return []string{x.r.Method}
	}
}

// unrouted returns the error of a request without a binding. OPTIONS needs none and is answered.
func (x *exchange) unrouted(t *frontend.Table, path string) error {
	var allowed []string
	if t.Router != nil {
		allowed = t.Router.Allowed(path)
	}
	switch {
	case len(allowed) == 0 && t.Pending != "" && (t.PendingRoute == nil || t.PendingRoute(x.r.Method, path)):
		return pending(t.Pending)
	case len(allowed) == 0:
		e := frontend.Errorf(codes.NotFound, "no route for %s %s", x.r.Method, clip(path))
		e.Unrouted = true
		return e
	}
	allow := allowHeader(allowed)
	if x.r.Method == http.MethodOptions {
		return x.options(allow)
	}
	return x.notAllowed(allow)
}

func (x *exchange) options(allow string) error {
	x.w.Header().Set("Allow", allow)
	x.w.WriteHeader(http.StatusNoContent)
	return nil
}

// allowHeader adds what every path answers.
func allowHeader(methods []string) string {
	all := append(make([]string, 0, len(methods)+2), methods...)
	if slices.Contains(all, http.MethodGet) {
		all = append(all, http.MethodHead)
	}
	all = append(all, http.MethodOptions)
	slices.Sort(all)
	return strings.Join(slices.Compact(all), ", ")
}

func (x *exchange) notAllowed(allow string) *frontend.Error {
	message := "method " + clip(x.r.Method) + " is not allowed here; allowed: " + allow
	if x.websocket {
		message = "a WebSocket calls streams and methods that are bound to GET; allowed here: " + allow
	}
	return frontend.Errorf(codes.Unimplemented, "%s", message).
		WithHTTP(http.StatusMethodNotAllowed).WithHeader("Allow", allow)
}

func pending(why string) *frontend.Error {
	return frontend.Errorf(codes.Unavailable, "%s", why).WithHeader("Retry-After", pendingRetry)
}

// clip shortens a text of the client for an error.
func clip(s string) string {
	const most = 200
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
