package module

import (
	"errors"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"google.golang.org/grpc/codes"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/frontend/connect"
	"github.com/caddy-grpc/gateway/internal/frontend/grpc"
	"github.com/caddy-grpc/gateway/internal/frontend/grpcweb"
	"github.com/caddy-grpc/gateway/internal/frontend/rest"
)

// GRPCError answers an error in the protocol of the request. It belongs into error routes
// (`handle_errors`), and it answers whatever has failed: a directive before `grpc_gateway`, the
// gateway itself with `errors` set to `pass`, or a `reverse_proxy` to gRPC. It has no options.
//
// gRPC and gRPC-Web clients get a response that has only a status. Connect clients get the error of
// their protocol. All others get a `google.rpc.Status` in JSON with the HTTP status of the error.
// It is problem details (RFC 9457) instead if their Accept header asks for that.
//
// The HTTP status decides about the gRPC code, by the table in docs/policy.md. Only 502 differs: it
// is UNAVAILABLE, because it mostly says that a proxy has not reached its server. An error of the
// gateway keeps its code, message and details. The text of any other error is not shown. Clients
// get the name of the HTTP status instead.
//
// The headers that were set before stay, such as `WWW-Authenticate` and `Retry-After`, except those
// that describe a body. `Retry-After` becomes a `google.rpc.RetryInfo`, too.
//
// Outside of error routes there is no error, and the handler calls the next one.
type GRPCError struct{}

// CaddyModule returns the Caddy module information.
func (*GRPCError) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.grpc_error",
		New: func() caddy.Module { return new(GRPCError) },
	}
}

// ServeHTTP answers with the pending error.
func (*GRPCError) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	err, ok := r.Context().Value(caddyhttp.ErrorCtxKey).(error)
	if !ok {
		return next.ServeHTTP(w, r)
	}
	r = originalRequest(r)
	e := pendingError(err, w.Header())
	protocol := frontend.DetectAlone(r)
	record(r, &frontend.Info{Protocol: protocol.String(), Code: e.Code()})
	switch protocol {
	case frontend.GRPC:
		grpc.WriteError(w, r, e)
	case frontend.GRPCWeb:
		grpcweb.WriteError(w, r, e)
	case frontend.Connect:
		connect.WriteError(w, r, e)
	case frontend.REST:
		rest.WriteError(w, r, e)
	}
	frontend.Linger(w, r)
	return nil
}

// pendingError turns the error of an error route into one that the client may see. h is the header
// of the response. See refusalOf.
func pendingError(err error, h http.Header) *frontend.Error {
	e := refusalOf(err, h)
	var own *frontend.Error
	switch {
	case errors.As(err, &own):
		if isHandlerError(err) {
			e.HTTPStatus = statusOf(err) // The config may map the code to another status.
		}
	case statusOf(err) == http.StatusBadGateway:
		// Here it is mostly that of a reverse_proxy which has not reached its server. gRPC's own
		// mapping (http-grpc-status-mapping.md) makes it UNAVAILABLE, too.
		e.Status.Code = int32(codes.Unavailable)
	}
	return e
}

// originalRequest returns the request with the method and the URL that the client has sent. Error
// routes may have rewritten them.
func originalRequest(r *http.Request) *http.Request {
	sent, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request)
	if !ok {
		return r
	}
	r = r.WithContext(r.Context())
	r.Method, r.RequestURI, r.URL = sent.Method, sent.RequestURI, sent.URL
	return r
}

// Interface guards.
var (
	_ caddy.Module                = (*GRPCError)(nil)
	_ caddyhttp.MiddlewareHandler = (*GRPCError)(nil)
)
