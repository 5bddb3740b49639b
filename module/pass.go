package module

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-grpc/gateway/discovery"
	"github.com/caddy-grpc/gateway/internal/frontend"
)

// Values of Handler.Errors.
const (
	errorsStatus  = "status"
	errorsProblem = "problem"
	errorsText    = "text"
	errorsPass    = "pass"
)

// checkErrors says what is wrong with Handler.Errors.
func (h *Handler) checkErrors() error {
	switch h.Errors {
	case "", errorsStatus, errorsPass:
	case errorsProblem, errorsText:
		if h.Answers != nil && h.Answers.Envelope != nil {
			return fmt.Errorf("errors %s and the envelope of answers: expected one of them, because both are the form of errors", h.Errors)
		}
	default:
		return fmt.Errorf("errors %q: expected status, problem, text or pass", h.Errors)
	}
	return nil
}

// errorForm is the form of REST errors that the gateway answers itself.
func (h *Handler) errorForm() frontend.ErrorForm {
	switch h.Errors {
	case errorsProblem:
		return frontend.ProblemErrors
	case errorsText:
		return frontend.TextErrors
	default:
		return frontend.StatusErrors
	}
}

// fail answers a request that failed before anything was written, or leaves the answer to the
// site's error routes.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, err error) error {
	var e *frontend.Error
	switch {
	case h.Errors != errorsPass:
		h.protocols.rest.WriteError(w, r, err)
		return nil
	case isHandlerError(err) || !errors.As(err, &e):
		// A policy has returned it.
		status := statusOf(err)
		frontend.Challenge(w.Header(), status)
		provideError(r, frontend.Refusal(status, "", w.Header()))
		return err
	}
	status := h.protocols.rest.ErrorStatus(e)
	header := w.Header()
	for key, values := range e.Header {
		// The error's own answer would have these, too. An answer by error routes gets no trailers.
		if !strings.HasPrefix(key, http.TrailerPrefix) {
			header[key] = values
		}
	}
	frontend.Challenge(header, status)
	provideError(r, e)
	return caddyhttp.Error(status, publicError{e})
}

// provideError sets the placeholders of an error for the site's error routes.
func provideError(r *http.Request, e *frontend.Error) {
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		repl.Map(func(key string) (any, bool) { return errorPlaceholder(key, e) })
	}
}

// errorPlaceholder returns the value of a placeholder for error routes that Handler documents. JSON
// is made only for pages that use it.
func errorPlaceholder(key string, e *frontend.Error) (any, bool) {
	switch key {
	case "http.grpc_gateway.message":
		return e.Status.GetMessage(), true
	case "http.grpc_gateway.details":
		return string(frontend.AppendDetailsJSON(nil, e.Status.GetDetails(), e.Types)), true
	case "http.grpc_gateway.status":
		return string(frontend.AppendStatusJSON(nil, e.Status, e.Types)), true
	default:
		return nil, false
	}
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
