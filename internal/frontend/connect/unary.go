package connect

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/frontend/envelope"
	"github.com/caddy-grpc/gateway/internal/frontend/relay"
)

// minCompressed is the size in bytes below which an answer is not compressed, because that costs
// more than it saves.
const minCompressed = 512

// unary is one request without envelopes and its answer.
type unary struct {
	opts   *frontend.Options
	w      http.ResponseWriter
	r      *http.Request
	info   *frontend.Info
	method *frontend.Method
	get    bool // The message is in the query.
	json   bool
	body   frontend.Body
	// left says that the body stays unread.
	left bool
}

// serve makes the call. typed says that the content type is Connect's. If it returns an error,
// nothing has been answered yet.
func (x *unary) serve(t *frontend.Table, typed bool) error {
	if err := x.opts.CheckCrossSite(x.r); err != nil {
		return err
	}
	m, err := lookup(t, x.r, x.info)
	if err != nil {
		return err
	}
	x.method = m
	allow := http.MethodPost
	if m.HasNoSideEffects() {
		allow = "GET, POST"
	}
	switch {
	case x.get && !m.HasNoSideEffects() || !x.get && x.r.Method != http.MethodPost:
		frontend.HTTPError(x.w, x.r, x.info, frontend.OnlyPOST(x.r.Method, allow))
		return nil
	case m.StreamDesc.ClientStreams || m.StreamDesc.ServerStreams:
		frontend.HTTPError(x.w, x.r, x.info, frontend.UnsupportedType(x.r.Header.Get("Content-Type"), streamTypes))
		return nil
	case !x.get && !typed:
		frontend.HTTPError(x.w, x.r, x.info, frontend.UnsupportedType(x.r.Header.Get("Content-Type"), unaryTypes))
		return nil
	}
	if m.Policy != nil {
		return x.police()
	}
	return x.exchange()
}

// police calls the method inside of its policy.
func (x *unary) police() error {
	c := &frontend.Policed{Protocol: frontend.Connect, Method: x.method, Info: x.info, Refuse: x.refuse}
	return x.method.Policy.Around(x.w, x.r, c, func(w http.ResponseWriter, r *http.Request) error {
		x.w, x.r = w, r
		x.body.Reset(w, r)
		if err := x.exchange(); err != nil {
			x.refuse(w, r, relay.AsError(err))
		}
		return nil
	})
}

// refuse answers with an error, before anything was written. It is frontend.Policed.Refuse.
func (x *unary) refuse(w http.ResponseWriter, r *http.Request, err *frontend.Error) {
	x.w, x.r = w, r
	x.body.Leave()
	x.info.Fail(err)
	x.fail(nil, err)
}

// exchange reads the message, calls the method and answers. If it returns an error, nothing has
// been answered yet.
func (x *unary) exchange() error {
	var msg *[]byte
	var err error
	if x.get {
		// There may be a body, and nothing needs it.
		if x.left, err = x.body.Skip(); err != nil {
			return x.body.Error(err)
		}
		msg, err = x.readQuery()
	} else {
		release := x.method.Admit(x.r)
		msg, err = x.readBody()
		release()
	}
	if err != nil {
		return err
	}
	return x.call(msg)
}

// call calls the method and answers.
func (x *unary) call(msg *[]byte) error {
	settings := frontend.CallSettings{Request: x.r, Idempotent: x.get, Began: x.body.Began()}
	ctx := x.r.Context()
	if x.left {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		defer x.opts.WatchUnread(&x.body, cancel)()
	}
	call, answer, err := x.opts.Invoke(ctx, x.method, settings, msg, x.info)
	switch {
	case call == nil:
		return err
	case err != nil:
		e := relay.AsError(err)
		x.info.Fail(e)
		x.fail(call, e)
		return nil
	}
	buf := frontend.GetBuffer(answer.Len())
	defer frontend.PutBuffer(buf)
	var room [4][]byte
	*buf, err = relay.AppendMessage(*buf, x.method, answer.AppendParts(room[:0]), x.json)
	answer.Free()
	if err != nil {
		return err
	}
	x.answer(call.Header(), call.Trailer(), *buf)
	return nil
}

func (x *unary) answer(header, trailer metadata.MD, body []byte) {
	h := x.w.Header()
	x.opts.WriteHeader(h, header)
	x.writeTrailer(trailer)
	contentType := "application/proto"
	if x.json {
		contentType = "application/json"
	}
	h["Content-Type"] = []string{contentType}
	x.write(http.StatusOK, body)
}

// fail answers with an error, which is always JSON. call is nil if no call was made.
func (x *unary) fail(call *frontend.Call, err *frontend.Error) {
	h := x.w.Header()
	if call != nil {
		x.writeTrailer(x.opts.WriteErrorHeader(h, call, err.HTTP()))
	}
	for key, values := range err.Header {
		h[key] = values
	}
	h["Content-Type"] = []string{"application/json"}
	h["X-Content-Type-Options"] = []string{"nosniff"}
	body := frontend.GetBuffer(0)
	defer frontend.PutBuffer(body)
	*body = appendError(*body, err)
	status := err.HTTP()
	if status < http.StatusBadRequest {
		// A client would follow a redirect and would take 200 for a success.
		status = frontend.HTTPStatus(err.Code())
	}
	frontend.Challenge(h, status)
	x.write(status, *body)
}

// write writes status and body. The body is compressed if it is large enough and the client accepts
// that.
func (x *unary) write(status int, body []byte) {
	h := x.w.Header()
	if x.get {
		h.Add("Vary", "Accept-Encoding") // Answers to GET may be cached, errors among them.
	}
	if len(body) >= minCompressed {
		if c := envelope.Accepted(x.r.Header["Accept-Encoding"]); c != envelope.Identity {
			small := frontend.GetBuffer(len(body) / 2)
			defer frontend.PutBuffer(small)
			*small = c.Compress(*small, body)
			body = *small
			h["Content-Encoding"] = []string{c.String()}
		}
	}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	x.w.WriteHeader(status)
	if _, err := x.w.Write(body); err != nil && x.info.Err == nil && !errors.Is(err, http.ErrBodyNotAllowed) {
		x.info.Err = err
	}
}

// writeTrailer writes trailers to the header, with a prefix, because not all clients can read HTTP
// trailers.
func (x *unary) writeTrailer(trailer metadata.MD) {
	h := x.w.Header()
	x.opts.VisitMetadata(trailer, func(name string, values []string) {
		key := http.CanonicalHeaderKey("Trailer-" + name)
		h[key] = append(h[key], values...)
	})
}

// readBody reads the message of a POST.
func (x *unary) readBody() (*[]byte, error) {
	if err := checkVersion(x.r.Header.Get("Connect-Protocol-Version")); err != nil {
		return nil, err
	}
	c, err := coding(x.r.Header.Get("Content-Encoding"), "Accept-Encoding")
	if err != nil {
		return nil, err
	}
	if x.r.ContentLength > x.opts.MaxRequestSize {
		return nil, x.tooLarge()
	}
	buf, err := x.body.ReadAll(x.r.ContentLength, x.opts.MaxRequestSize)
	switch {
	case errors.Is(err, frontend.ErrTooLarge):
		return nil, x.tooLarge()
	case err != nil:
		return nil, x.body.Error(err)
	}
	return x.decode(buf, c)
}

func (x *unary) tooLarge() error {
	return frontend.Errorf(codes.ResourceExhausted, "the request message is larger than %d bytes", x.opts.MaxRequestSize)
}

// decode makes the wire form of a message, whose buffer it takes over.
func (x *unary) decode(msg *[]byte, c envelope.Coding) (*[]byte, error) {
	if c != envelope.Identity {
		plain := frontend.GetBuffer(int(min(4*int64(len(*msg)), x.opts.MaxRequestSize)))
		out, err := c.Decompress(*plain, *msg, x.opts.MaxRequestSize)
		*plain = out
		frontend.PutBuffer(msg)
		switch {
		case errors.Is(err, envelope.ErrTooLarge):
			frontend.PutBuffer(plain)
			return nil, x.tooLarge()
		case err != nil:
			frontend.PutBuffer(plain)
			return nil, frontend.Errorf(codes.InvalidArgument, "the request message is not valid %s", c).WithCause(err)
		}
		msg = plain
	}
	if !x.json {
		return msg, nil
	}
	defer frontend.PutBuffer(msg)
	if x.method.Request == nil || x.method.Response == nil {
		return nil, frontend.Errorf(codes.Unimplemented, "the method has no JSON form")
	}
	return relay.FromJSON(x.method, x.opts, *msg)
}
