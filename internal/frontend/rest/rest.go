// Package rest answers plain HTTP: google.api.http routes and POST /package.Service/Method with
// JSON, for all four kinds of RPC. Connect, gRPC-Web and gRPC have their own packages.
//
// # The way of a request
//
// Serve finds the binding (route.go). It turns the body (body.go, form.go, mask.go), the query
// (query.go) and the path (bind.go) into wire bytes and appends one to the other. By protobuf's
// merge rule that is the request message. The rest depends on the kind of the method and on the
// client:
//
//   - One message each way: unary.go, with the status of the answer in status.go.
//   - Many messages in the answer: stream.go, written by a framing (framing.go) that Accept chose.
//   - Many messages in the request: upload.go. split.go splits the body into messages.
//   - All of these over WebSocket: websocket.go.
//
// docs/http.md describes what the callers of such an API see.
package rest

import (
	"net/http"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/transcode"
)

// Handler serves the REST protocol. Safe for concurrent use.
type Handler struct {
	opts frontend.Options
}

// New returns a handler with the options.
func New(opts frontend.Options) *Handler {
	return &Handler{opts: withoutStatus(opts.WithDefaults())}
}

// Serve answers one request by the table and notes in info what happened.
//
// The error is nil, a *frontend.Error, or what the method's policy has returned. If it is not nil,
// nothing has been written, and the caller answers, with WriteError or otherwise. A request that
// fails later gets the terminal error of its framing here. If the framing has none, Serve panics
// with http.ErrAbortHandler.
func (h *Handler) Serve(w http.ResponseWriter, r *http.Request, t *frontend.Table, info *frontend.Info) error {
	info.Protocol = "rest"
	if h.opts.IgnoreClientTimeout {
		r = withoutTimeout(r)
	}
	x := &exchange{opts: &h.opts, w: w, r: r, info: info}
	x.body.Reset(w, r)
	defer x.release()
	found, err := x.find(t)
	switch {
	case err != nil:
		return x.fail(err)
	case !found:
		return nil
	case x.method.Policy != nil:
		return h.police(x)
	default:
		return x.fail(x.serve())
	}
}

// fail notes an error, before anything was written.
func (x *exchange) fail(err error) error {
	if err == nil {
		return nil
	}
	x.body.Leave()
	x.info.Fail(asError(err))
	return asError(err)
}

// find checks the request and finds its binding. found is false when the request was answered
// already.
func (x *exchange) find(t *frontend.Table) (found bool, err error) {
	if err := x.opts.CheckCrossSite(x.r); err != nil {
		return false, err
	}
	x.websocket = !x.opts.NoWebSocket && isWebSocket(x.r)
	if x.websocket {
		if err := x.checkHandshake(); err != nil {
			return false, err
		}
	}
	return x.route(t)
}

// police calls the method inside of its policy.
func (h *Handler) police(x *exchange) error {
	call := &frontend.Policed{
		Protocol: frontend.REST, Method: x.method, Vars: x.vars, Info: x.info,
		Refuse: func(w http.ResponseWriter, r *http.Request, err *frontend.Error) {
			x.body.Leave()
			x.info.Fail(err)
			h.WriteError(w, r, err)
		},
	}
	if x.binding.Template != nil {
		call.Binding = x.binding
	}
	err := x.method.Policy.Around(x.w, x.r, call, func(w http.ResponseWriter, r *http.Request) error {
		x.w, x.r = w, r
		x.body.Reset(w, r)
		return x.fail(x.serve())
	})
	if err != nil {
		x.body.Leave()
	}
	return err
}

// serve calls the method.
func (x *exchange) serve() error {
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

	method  *frontend.Method
	binding *frontend.Binding
	vars    []string  // The values of binding.Vars.
	scratch [4]string // Room for vars.

	websocket bool
	left      bool // The body stays unread.
	masked    bool // The query has an update_mask.
	partial   bool // The client gets a part of the answer only.

	fields string // The mask of the answer in the query. "": none.

	// suffix is the wire form of query and path. It follows that of each body. Nil if it is empty.
	suffix *[]byte

	// codec writes the answer, and responseBody does if the answer is only one field of the
	// message.
	codec        *transcode.Codec
	responseBody *transcode.Field
	// envelope is around each message of the answer. It is nil if there is none.
	envelope *frontend.Envelope
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
