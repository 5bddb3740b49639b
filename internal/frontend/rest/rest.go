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
	"net/http"
	"strconv"
	"strings"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/transcode"
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
	if err := x.opts.CheckCrossSite(x.r); err != nil {
		return err
	}
	x.websocket = !x.opts.NoWebSocket && isWebSocket(x.r)
	if x.websocket {
		if err := x.checkHandshake(); err != nil {
			return err
		}
	}
	found, err := x.route(t)
	if err != nil || !found {
		return err
	}
	x.codec, x.responseBody = x.method.Response, x.binding.ResponseBody
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

	// What the answer is written by.
	codec        *transcode.Codec
	responseBody *transcode.Field // nil: the whole message
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

// failed adds to the error of a call the metadata that came with it. A service that has sent nothing else
// sends the metadata of an error in the block that would be the trailers. Nothing has been sent to the
// client either, so there it becomes the header.
func (x *exchange) failed(call *frontend.Call, err error) error {
	e := asError(err)
	if e.Header == nil {
		e.Header = make(http.Header)
	}
	retry := e.Header.Get("Retry-After")
	header, trailer := call.Header(), call.Trailer()
	if header == nil {
		header, trailer = trailer, nil
	}
	x.opts.WriteHeader(e.Header, header)
	if retry != "" {
		e.Header.Set("Retry-After", retry)
	}
	if frontend.WantsTrailers(x.r.Header) {
		x.opts.WriteTrailer(e.Header, trailer)
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

func asError(err error) *frontend.Error { return frontend.AsError(err) }
