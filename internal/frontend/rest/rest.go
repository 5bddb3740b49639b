// Package rest answers plain HTTP: google.api.http routes and POST /package.Service/Method with JSON, all four kinds of RPC. It
// is not the Connect, gRPC-Web or gRPC protocol: those have packages of their own beside it.
//
// # The way of a request
//
// Serve finds the binding (route.go), turns path and query into wire bytes (bind.go, query.go) and the body too (body.go, form.go,
// mask.go), and appends one to the other: protobuf's merge rule makes of that the request message. Which way it goes on depends on the
// kind of the method and on the client:
//
//   - one message each way: unary.go;
//   - many messages back: stream.go, written by a framing (framing.go) that Accept chose;
//   - many messages there: upload.go, split into messages by split.go;
//   - all of these over WebSocket: websocket.go.
//
// docs/http.md has the semantics for those who call such an API.
package rest

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/caddy-grpc/gateway/internal/frontend"
)

// Handler serves the REST protocol. Safe for concurrent use.
type Handler struct {
	opts frontend.Options
}

// New returns a handler with the options.
func New(opts frontend.Options) *Handler {
	return &Handler{opts: opts.WithDefaults()}
}

// Serve answers one request by the table and notes in info what happened.
//
// The error is nil or a *frontend.Error, and not nil only while nothing has been written: the caller then answers, with WriteError
// or otherwise. A request that fails later gets the terminal error of its framing here; where the framing
// has none, Serve panics with http.ErrAbortHandler.
func (h *Handler) Serve(w http.ResponseWriter, r *http.Request, t *frontend.Table, info *frontend.Info) error {
	info.Protocol = "rest"
	x := &exchange{opts: &h.opts, w: w, r: r, info: info}
	x.body.Reset(w, r)
	defer x.release()
	err := x.serve(t)
	if err != nil {
		x.body.Leave()
		info.Fail(asError(err))
		return asError(err)
	}
	return nil
}

func (x *exchange) serve(t *frontend.Table) error {
	found, err := x.route(t)
	if err != nil || !found {
		return err
	}
	if x.websocket {
		return x.serveWebSocket()
	}
	switch desc := &x.method.StreamDesc; {
	case desc.ClientStreams:
		return x.serveUpload()
	case desc.ServerStreams:
		return x.serveStream()
	default:
		return x.serveUnary()
	}
}

// exchange is one request and its answer.
type exchange struct {
	opts *frontend.Options
	w    http.ResponseWriter
	r    *http.Request
	info *frontend.Info

	body frontend.Body
	left bool // The body stays unread.

	method  *frontend.Method
	binding *frontend.Binding
	vars    []string  // the values of binding.Vars
	scratch [4]string // room for vars

	websocket bool
	suffix    *[]byte // the wire form of query and path, which follows that of each body; nil when there is none
	masked    bool    // the query has an update_mask
}

// release gives back what was borrowed for the request.
func (x *exchange) release() {
	if x.suffix != nil {
		frontend.PutBuffer(x.suffix)
	}
}

// start begins the RPC.
func (x *exchange) start() (*frontend.Call, error) {
	return x.opts.Start(x.r.Context(), x.method, x.settings(), x.info)
}

// settings are what the RPC takes besides its method.
func (x *exchange) settings() frontend.CallSettings {
	return frontend.CallSettings{
		Request:    x.r,
		Timeout:    x.binding.Timeout,
		Idempotent: x.binding.Idempotent || x.method.Idempotent,
		Began:      x.body.Began(),
	}
}

// failed adds to the error of a call the metadata that came with it.
func (x *exchange) failed(call *frontend.Call, err error) error {
	e := asError(err)
	if e.Header == nil {
		e.Header = make(http.Header)
	}
	retry := e.Header.Get("Retry-After")
	x.opts.WriteHeader(e.Header, call.Header())
	if retry != "" {
		e.Header.Set("Retry-After", retry)
	}
	if frontend.WantsTrailers(x.r.Header) {
		x.opts.WriteTrailer(e.Header, call.Trailer())
	}
	return e
}

// WriteError answers a request with the error as google.rpc.Status in JSON. An error that is not a *frontend.Error is INTERNAL, and
// its text is not shown.
func WriteError(w http.ResponseWriter, _ *http.Request, err error) {
	e := asError(err)
	body := frontend.GetBuffer(0)
	defer frontend.PutBuffer(body)
	*body = frontend.AppendStatusJSON(*body, e.Status, e.Types)
	h := w.Header()
	trailers := false
	for key, values := range e.Header {
		h[key] = append(h[key], values...) // as with success: what other handlers have set stays
		trailers = trailers || strings.HasPrefix(key, http.TrailerPrefix)
	}
	h.Set("Content-Type", "application/json")
	// A cache or a browser must not make anything else of it.
	h.Set("X-Content-Type-Options", "nosniff")
	h.Del("Content-Encoding")
	h.Del("ETag")
	if trailers {
		h.Del("Content-Length")
	} else {
		h.Set("Content-Length", strconv.Itoa(len(*body)))
	}
	w.WriteHeader(e.HTTP())
	_, _ = w.Write(*body) // Nobody is left to tell when the client is gone.
}

func asError(err error) *frontend.Error {
	var e *frontend.Error
	if errors.As(err, &e) {
		return e
	}
	return frontend.Errorf(codes.Internal, "the request failed in the gateway").WithCause(err)
}
