package module

import (
	"errors"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-grpc/gateway/discovery"
	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/frontend/rest"
)

// Values of Handler.Errors.
const (
	errorsStatus = "status"
	errorsPass   = "pass"
)

// fail answers a request that failed before anything was written, or leaves the answer to the
// site's error routes.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, err error) error {
	var e *frontend.Error
	switch {
	case h.Errors != errorsPass:
		rest.WriteError(w, r, err)
		return nil
	case isHandlerError(err) || !errors.As(err, &e):
		return err // A policy has returned it.
	}
	header := w.Header()
	for key, values := range e.Header {
		// The error's own answer would have these, too. An answer by error routes gets no trailers.
		if !strings.HasPrefix(key, http.TrailerPrefix) {
			header[key] = values
		}
	}
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		repl.Set("http.grpc_gateway.message", e.Status.GetMessage())
	}
	return caddyhttp.Error(e.HTTP(), publicError{e})
}

func isHandlerError(err error) bool {
	_, ok := errors.AsType[caddyhttp.HandlerError](err)
	return ok
}

// publicError shows what the client may see of an error, because error routes write {err.message}
// into pages. The rest goes into the access log. Caddy logs the text of the error as a message, so
// it is made printable.
type publicError struct{ err *frontend.Error }

func (e publicError) Error() string {
	return discovery.Printable(frontend.CodeName(e.err.Code()) + ": " + e.err.Status.GetMessage())
}

func (e publicError) Unwrap() error { return e.err }
