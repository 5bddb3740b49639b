package rest

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"google.golang.org/grpc/codes"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/unary"
)

// serveUnary answers a method with one message each way.
func (x *exchange) serveUnary() error {
	if err := x.checkAccept(); err != nil {
		return err
	}
	release := x.method.Admit(x.r)
	wire, err := x.requestWire()
	release()
	if err != nil {
		return err
	}
	ctx := x.r.Context()
	if x.left {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		defer x.opts.WatchUnread(&x.body, cancel)()
	}
	call, msg, err := x.opts.Invoke(ctx, x.method, x.settings(), wire, x.info)
	switch {
	case call == nil:
		return err
	case err != nil:
		return x.failed(call, err)
	}
	return x.answer(call, msg)
}

// answer writes the one response message of a call, and frees it.
func (x *exchange) answer(call *frontend.Call, msg *unary.Message) error {
	defer msg.Free()
	var room [4][]byte
	wire, free := frontend.Flat(msg.AppendParts(room[:0]))
	defer free()
	if x.responseIsRaw() {
		contentType, data, ok := parseHTTPBody(wire, x.responsePath())
		if !ok {
			return frontend.Errorf(codes.Internal, "the upstream's answer cannot be decoded").WithCause(errBadWire)
		}
		x.writeOnce(call, x.plannedStatus(nil), rawType(contentType), data)
		return nil
	}
	body := frontend.GetBuffer(x.method.ToJSON.Guess(len(wire)))
	defer frontend.PutBuffer(body)
	if a := x.opts.Answers; a != nil {
		x.envelope = a.Envelope
	}
	out, err := x.appendResponse(*body, wire)
	if err != nil {
		return err
	}
	x.method.ToJSON.Learn(len(wire), len(out))
	*body = out
	x.writeOnce(call, x.plannedStatus(x.envelope.Open(out)), typeJSON, out)
	return nil
}

// writeOnce writes a whole answer. The service may set another status.
func (x *exchange) writeOnce(call *frontend.Call, status int, contentType string, body []byte) {
	h := x.w.Header()
	header := call.Header()
	x.opts.WriteHeader(h, header)
	// Requests must not share these: Caddy's header handler replaces values in place.
	values := [...]string{contentType, ""}
	h["Content-Type"] = values[:1:1]
	x.varyByFields(h)
	status = x.statusOf(header, h, status)
	if x.opts.ETag && status == http.StatusOK && x.notModified(h, body) {
		status = http.StatusNotModified
	}
	trailer := call.Trailer()
	if x.opts.TrailersAsHeaders {
		x.opts.WriteTrailerHeader(h, trailer)
		trailer = nil
	}
	switch {
	case bodyless(status):
		h.Del("Content-Type")
		h.Del("Content-Length")
		body = nil
	case frontend.WantsTrailers(x.r.Header) && x.opts.HasTrailer(trailer) && x.r.Method != http.MethodHead:
		x.opts.WriteTrailer(h, trailer)
	default:
		values[1] = strconv.Itoa(len(body))
		h["Content-Length"] = values[1:]
	}
	x.w.WriteHeader(status)
	if len(body) > 0 && x.r.Method != http.MethodHead {
		// A handler before this one may have made the status one that has no body, such as 204.
		if _, err := x.w.Write(body); err != nil && !errors.Is(err, http.ErrBodyNotAllowed) {
			x.info.Err = err
		}
	}
}
