package relay

import (
	"errors"
	"io"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/caddy-grpc/gateway/internal/frontend"
)

// Body reads the body of a request. It does not read past the end, nor an empty body, and disarms the read deadline at the end: on HTTP/1.1
// the server watches the connection from there on, and would cancel the request when a deadline passes.
type Body struct {
	w     http.ResponseWriter
	r     *http.Request
	ended atomic.Bool
	began time.Time
}

// NewBody returns the body of the request that w answers.
func NewBody(w http.ResponseWriter, r *http.Request) *Body {
	b := &Body{w: w, r: r}
	b.ended.Store(r.ContentLength == 0)
	return b
}

// Ended reports whether the end was read.
func (b *Body) Ended() bool { return b.ended.Load() }

// Began is when the client's deadline began to run, if it did before the body had ended: see Bound.
func (b *Body) Began() time.Time { return b.began }

// Read implements io.Reader.
func (b *Body) Read(p []byte) (int, error) {
	if b.ended.Load() {
		return 0, io.EOF
	}
	n, err := b.r.Body.Read(p)
	if errors.Is(err, io.EOF) {
		b.ended.Store(true)
		if b.r.ProtoMajor == 1 {
			_ = http.NewResponseController(b.w).SetReadDeadline(time.Time{})
		}
	}
	return n, err
}

// Bound has reading end when the client's own deadline passes, until stop is called. late is not nil when it has passed, and then counts
// more than what came of reading: on HTTP/1.1, a deadline that passes as the end is read looks as if the client had left. Both errors are
// a *frontend.Error; err says that the deadline is malformed.
func (b *Body) Bound() (stop func() (late error), err error) {
	d, ok, err := frontend.ClientTimeout(b.r.Header)
	if err != nil {
		return nil, err
	}
	if !ok || b.Ended() {
		return func() error { return nil }, nil
	}
	b.began = time.Now()
	done := make(chan struct{})
	timer := time.AfterFunc(d, func() {
		defer close(done)
		b.Interrupt()
	})
	return func() error {
		if timer.Stop() {
			return nil
		}
		<-done // Once the handler has returned, request and response are not ours.
		return errLate()
	}, nil
}

func errLate() *frontend.Error {
	return frontend.Errorf(codes.DeadlineExceeded, "the request body did not arrive in time")
}

// Interrupt has reading end now, also that of another goroutine.
func (b *Body) Interrupt() {
	if http.NewResponseController(b.w).SetReadDeadline(time.Unix(1, 0)) != nil {
		_ = b.r.Body.Close()
	}
}

// Error turns an error of reading into the one that the client sees. A *frontend.Error stays what it is.
func (b *Body) Error(err error) error {
	var e *frontend.Error
	var most *http.MaxBytesError
	switch {
	case errors.As(err, &e):
		return e
	case errors.As(err, &most): // A limit that another handler has set.
		return frontend.Errorf(codes.ResourceExhausted, "the request body is larger than %d bytes", most.Limit).
			WithHTTP(http.StatusRequestEntityTooLarge)
	case b.r.Context().Err() != nil:
		return frontend.Errorf(codes.Canceled, "the client went away").WithCause(err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errLate().WithCause(err)
	default:
		return frontend.Errorf(codes.InvalidArgument, "the request body is incomplete").WithCause(err)
	}
}
