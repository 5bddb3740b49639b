package rest

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"

	"google.golang.org/grpc/codes"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/frontend/negotiate"
)

// takesBody reports whether the binding has a place for the request's body.
func (x *exchange) takesBody() bool { return x.binding.BodyAll || x.binding.Body != nil }

// requestWire returns the wire form of the one request message: body, then query, then path.
func (x *exchange) requestWire() (*[]byte, error) {
	if x.opts.FormsToQuery {
		if err := x.formToQuery(); err != nil {
			return nil, err
		}
	}
	if err := x.bindURL(); err != nil {
		return nil, err
	}
	if !x.takesBody() {
		if err := x.skipBody(); err != nil {
			return nil, err
		}
		wire := x.suffix
		x.suffix = nil
		if wire == nil {
			wire = frontend.GetBuffer(1) // It stays empty.
		}
		return wire, nil
	}
	wire, err := x.bodyWire()
	if err != nil {
		return nil, err
	}
	*wire = x.appendSuffix(*wire)
	return wire, nil
}

// skipBody is for a binding without a body.
func (x *exchange) skipBody() error {
	left, err := x.body.Skip()
	if err != nil {
		return x.bodyError(err)
	}
	x.left = left
	return nil
}

// watch calls gone when an HTTP/1.1 client leaves, until stop is called.
func (x *exchange) watch(gone func()) (stop func()) {
	if x.left {
		return x.opts.WatchUnread(&x.body, gone)
	}
	return x.opts.WatchClient(x.r, gone)
}

// bodyWire reads the body and returns its wire form.
func (x *exchange) bodyWire() (*[]byte, error) {
	if x.opts.Forms {
		if form, ok := formType(x.r.Header); ok {
			return fill(0, func(dst []byte) ([]byte, error) { return x.appendForm(dst, form) })
		}
	}
	raw := x.bodyIsRaw()
	if !raw {
		if err := x.checkJSONType(); err != nil {
			return nil, err
		}
	}
	body, err := x.readBody()
	if err != nil {
		return nil, err
	}
	defer frontend.PutBuffer(body)
	// The second buffer is taken only now, so a request whose body comes slowly holds one.
	if raw {
		return fill(len(*body), func(dst []byte) ([]byte, error) {
			return x.appendRaw(dst, x.r.Header.Get("Content-Type"), *body), nil
		})
	}
	text := *body
	if x.opts.TrailingText {
		text = firstValue(text)
	}
	size := x.method.ToWire.Guess(len(text))
	return fill(size, func(dst []byte) ([]byte, error) {
		out, err := x.appendJSON(dst, text)
		if err == nil {
			x.method.ToWire.Learn(len(text), len(out))
		}
		return out, err
	})
}

// fill returns a buffer of about the size, to which the function has appended.
func fill(size int, with func(dst []byte) ([]byte, error)) (*[]byte, error) {
	buf := frontend.GetBuffer(size)
	out, err := with(*buf)
	if err != nil {
		frontend.PutBuffer(buf)
		return nil, err
	}
	*buf = out
	return buf, nil
}

// appendJSON appends the wire form of a JSON body, or of one message of a stream. An empty body is
// {}.
func (x *exchange) appendJSON(dst, body []byte) ([]byte, error) {
	var err error
	began := x.method.Clock()
	switch {
	case isBlank(body):
		return dst, nil
	case x.binding.BodyAll:
		dst, err = x.method.Request.JSONToWire(dst, body)
	default:
		if dst, err = x.binding.Body.AppendJSON(dst, body); err == nil {
			dst, err = x.appendMask(dst, body)
		}
	}
	if err != nil {
		return dst, frontend.Errorf(codes.InvalidArgument, "request body: %s", reason(err))
	}
	x.method.Converted(frontend.ToWire, began)
	return dst, x.opts.CheckWireSize(len(dst))
}

func isBlank(b []byte) bool {
	for _, c := range b {
		if !isSpace(c) {
			return false
		}
	}
	return true
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' }

// readBody reads the whole body, unpacked, up to the limit. A compressed body is unpacked when it
// is complete. While it comes in, no more is held than what came.
func (x *exchange) readBody() (*[]byte, error) {
	if x.body.Ended() {
		return frontend.GetBuffer(0), nil
	}
	coding, err := bodyCoding(x.r.Header)
	if err != nil {
		return nil, err
	}
	limit := x.opts.MaxRequestSize
	if coding != negotiate.Identity {
		limit = packedLimit(limit)
	}
	if x.r.ContentLength > limit {
		return nil, tooLarge(x.opts.MaxRequestSize)
	}
	buf, err := x.body.ReadAll(x.r.ContentLength, limit)
	if err != nil {
		return nil, x.bodyError(err)
	}
	packed := newUnpacker(coding, bytes.NewReader(*buf))
	if packed == nil {
		return buf, nil
	}
	defer frontend.PutBuffer(buf)
	defer packed.release()
	limit = min(x.opts.MaxRequestSize, allowed(int64(len(*buf))))
	plain, err := frontend.ReadAll(packed, int64(4*len(*buf)), limit)
	switch {
	case errors.Is(err, frontend.ErrTooLarge) && limit < x.opts.MaxRequestSize:
		return nil, x.bodyError(errRatio)
	case err != nil:
		return nil, x.bodyError(err)
	}
	return plain, nil
}

// bodyError turns an error of reading the body into the one that the client sees.
func (x *exchange) bodyError(err error) error {
	var e *frontend.Error
	var set *http.MaxBytesError
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, frontend.ErrTooLarge):
		return tooLarge(x.opts.MaxRequestSize)
	case errors.As(err, &set):
		return tooLarge(set.Limit) // A limit that another handler has set.
	case errors.Is(err, errRatio):
		return frontend.Errorf(codes.InvalidArgument, "request body: %s", errRatio)
	case errors.Is(err, errBarren):
		return frontend.Errorf(codes.InvalidArgument, "request body: %s", errBarren)
	case errors.Is(err, errCompressed):
		return frontend.Errorf(codes.InvalidArgument, "request body: it is not valid %s", x.r.Header.Get("Content-Encoding")).WithCause(err)
	case x.r.Context().Err() != nil:
		return frontend.Errorf(codes.Canceled, "the client went away").WithCause(err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return frontend.Errorf(codes.DeadlineExceeded, "the request body did not arrive in time").WithHTTP(http.StatusRequestTimeout).WithCause(err)
	default:
		return frontend.Errorf(codes.InvalidArgument, "the request body is incomplete").WithCause(err)
	}
}

func tooLarge(limit int64) *frontend.Error {
	return frontend.Errorf(codes.ResourceExhausted, "the request body is larger than %d bytes", limit).WithHTTP(http.StatusRequestEntityTooLarge)
}

// openBody opens the body of a stream for reading, unpacked as it comes.
func (x *exchange) openBody() (*bodyReader, error) {
	coding, err := bodyCoding(x.r.Header)
	if err != nil {
		return nil, err
	}
	r := &bodyReader{Reader: &x.body}
	if packed := newUnpacker(coding, &x.body); packed != nil {
		r.Reader, r.packed = packed, packed
	}
	return r, nil
}

// bodyReader is the open body of a stream.
type bodyReader struct {
	io.Reader
	packed unpacker // Nil if the body is not compressed.
}

// Close gives back what unpacking needed. It does not close the request's body.
func (b *bodyReader) Close() {
	if b.packed != nil {
		b.packed.release()
	}
}
