package rest

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/frontend/negotiate"
)

// WriteError answers a request with the error, in the form that the options and the client's Accept
// header choose: google.rpc.Status in JSON, the envelope, problem details (RFC 9457), or text. An
// error that is not a *frontend.Error is INTERNAL, and its text is not shown.
func (h *Handler) WriteError(w http.ResponseWriter, r *http.Request, err error) {
	e := asError(err)
	status := h.opts.ErrorStatus(e)
	body := frontend.GetBuffer(0)
	defer frontend.PutBuffer(body)
	contentType := typeJSON
	switch {
	case e.Line:
		*body = appendErrorLine(*body, &h.opts, e)
	case h.wantsProblem(r):
		contentType = typeProblem
		*body = frontend.AppendProblemJSON(*body, e, status)
	case h.opts.Errors == frontend.TextErrors:
		contentType = typeText
		*body = appendErrorText(*body, e)
	default:
		*body = h.opts.AppendErrorJSON(*body, e)
	}
	header := w.Header()
	trailers := false
	for key, values := range e.Header {
		// What other handlers have set stays, as with success.
		header[key] = append(header[key], values...)
		trailers = trailers || strings.HasPrefix(key, http.TrailerPrefix)
	}
	frontend.Challenge(header, status)
	addVary(header, "Accept")
	header.Del("Content-Type")
	if len(*body) > 0 {
		header.Set("Content-Type", contentType)
	}
	// A cache or a browser must not make anything else of it.
	header.Set("X-Content-Type-Options", "nosniff")
	header.Del("Content-Encoding")
	header.Del("ETag")
	if trailers {
		header.Del("Content-Length")
	} else {
		header.Set("Content-Length", strconv.Itoa(len(*body)))
	}
	w.WriteHeader(status)
	_, _ = w.Write(*body) // If the client has left, nobody needs to know.
}

// appendErrorText appends an error as a line of text. A refusal of the router is as it is in
// go-zero: a 404 is that of net/http, and a 405 has no body.
func appendErrorText(dst []byte, e *frontend.Error) []byte {
	switch {
	case e.HTTPStatus == http.StatusMethodNotAllowed:
		return dst
	case e.Unrouted:
		return append(dst, "404 page not found\n"...)
	default:
		return append(frontend.AppendErrorText(dst, e.Status), '\n')
	}
}

// WriteError is Handler.WriteError with default options, for errors that no handler has.
func WriteError(w http.ResponseWriter, r *http.Request, err error) {
	new(Handler).WriteError(w, r, err)
}

// ErrorStatus is the HTTP status with which WriteError answers.
func (h *Handler) ErrorStatus(e *frontend.Error) int { return h.opts.ErrorStatus(e) }

// wantsProblem reports whether errors are problem details for this client. A client that names
// their type decides by its weight. Many name it beside application/json, because an answer that
// succeeds never has it: so equal weights mean problem details. A wildcard does not ask for
// anything.
func (h *Handler) wantsProblem(r *http.Request) bool {
	accept := r.Header["Accept"]
	weight, named := negotiate.Weight(accept, typeProblem)
	if !named {
		return h.opts.Errors == frontend.ProblemErrors
	}
	other, _ := negotiate.Weight(accept, typeJSON)
	return weight > 0 && weight >= other
}

// addVary adds a name to Vary, unless it is there.
func addVary(h http.Header, name string) {
	for _, list := range h["Vary"] {
		for listed := range strings.SplitSeq(list, ",") {
			if listed = strings.TrimSpace(listed); listed == "*" || strings.EqualFold(listed, name) {
				return
			}
		}
	}
	h.Add("Vary", name)
}

// failed adds the metadata that came with the error of a call.
func (x *exchange) failed(call *frontend.Call, err error) error {
	e := asError(err)
	if e.Header == nil {
		e.Header = make(http.Header)
	}
	retry := e.Header.Get("Retry-After")
	trailer := x.opts.WriteErrorHeader(e.Header, call, x.opts.ErrorStatus(e))
	if retry != "" {
		e.Header.Set("Retry-After", retry)
	}
	if frontend.WantsTrailers(x.r.Header) {
		x.opts.WriteTrailer(e.Header, trailer)
	}
	return e
}

func asError(err error) *frontend.Error { return frontend.AsError(err) }
