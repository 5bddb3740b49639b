package rest

import (
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/caddy-grpc/gateway/internal/frontend"
)

// takesBody reports whether the binding has a place for the request's body.
func (x *exchange) takesBody() bool { return x.binding.BodyAll || x.binding.Body != nil }

// requestWire returns the wire form of the one request message: body, then query, then path.
func (x *exchange) requestWire() (*[]byte, error) {
	if err := x.bindURL(); err != nil {
		return nil, err
	}
	if !x.takesBody() {
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

// bodyWire reads the body and returns its wire form.
func (x *exchange) bodyWire() (*[]byte, error) {
	if x.opts.Forms {
		if form, ok := formType(x.r.Header); ok {
			return fill(0, func(dst []byte) ([]byte, error) { return x.appendForm(dst, form) })
		}
	}
	raw := x.bodyIsRaw()
	if !raw {
		if err := checkJSONType(x.r.Header); err != nil {
			return nil, err
		}
	}
	body, err := x.readBody()
	if err != nil {
		return nil, err
	}
	defer frontend.PutBuffer(body)
	// Only now, so that a request whose body comes slowly holds one buffer, not two.
	if raw {
		return fill(len(*body), func(dst []byte) ([]byte, error) {
			return x.appendRaw(dst, x.r.Header.Get("Content-Type"), *body), nil
		})
	}
	size := x.method.ToWire.Guess(len(*body))
	return fill(size, func(dst []byte) ([]byte, error) {
		out, err := x.appendJSON(dst, *body)
		if err == nil {
			x.method.ToWire.Learn(len(*body), len(out))
		}
		return out, err
	})
}

// fill returns a buffer of about the size with what is appended to it.
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

// appendJSON appends the wire form of a JSON body, or of one message of a streamed one. An empty body is {}.
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
	return dst, nil
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

// readBody reads the whole body, decompressed, up to the limit.
func (x *exchange) readBody() (*[]byte, error) {
	// On HTTP/1.1 the body is not to be touched when it is empty: see openBody.
	if x.r.ContentLength == 0 {
		return frontend.GetBuffer(0), nil
	}
	body, err := x.openBody()
	if err != nil {
		return nil, err
	}
	defer body.Close()
	limit := x.opts.MaxRequestSize
	size := x.r.ContentLength
	if !body.compressed && size > limit {
		return nil, tooLarge(limit)
	}
	if body.compressed {
		size = -1
	}
	buf, err := frontend.ReadAll(body, size, limit)
	if err != nil {
		return nil, x.bodyError(err)
	}
	return buf, nil
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

// openBody opens the body for reading, decompressed.
func (x *exchange) openBody() (*bodyReader, error) {
	raw := &untilEOF{r: x.r.Body}
	r := &bodyReader{Reader: raw}
	if x.r.ProtoMajor == 1 {
		// Once the body of an HTTP/1.1 request has been read, the server watches the connection under whatever read deadline is
		// armed, and cancels the request's context when that passes.
		r.close = append(r.close, func() {
			if raw.ended {
				_ = http.NewResponseController(x.w).SetReadDeadline(time.Time{})
			}
		})
	}
	return r, r.decompress(x.r.Header)
}

// bodyReader is an open body.
type bodyReader struct {
	io.Reader
	compressed bool
	close      []func()
}

// Close gives back what decompressing needed. The connection stays as it is.
func (b *bodyReader) Close() {
	for _, fn := range b.close {
		fn()
	}
}

// untilEOF never reads past the end, which on HTTP/1.1 has side effects.
type untilEOF struct {
	r     io.Reader
	ended bool
}

func (u *untilEOF) Read(p []byte) (int, error) {
	if u.ended {
		return 0, io.EOF
	}
	n, err := u.r.Read(p)
	u.ended = errors.Is(err, io.EOF)
	return n, err
}
