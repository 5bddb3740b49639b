package frontend

import (
	"errors"
	"io"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
)

// maxSkipped is how large a body may be, in bytes, that is read although nothing needs it, so that
// an HTTP/1.1 connection can be used again.
const maxSkipped = 64 << 10

// Body reads the body of a request. It never reads past the end, and it never reads an empty body:
// on HTTP/1.1 both have side effects. At the end it disarms the read deadline. From there on the
// server watches the HTTP/1.1 connection for the client's leaving, and it would cancel the request
// when a deadline passes.
//
// One goroutine reads. Interrupt and Ended are for any.
type Body struct {
	w     http.ResponseWriter
	r     *http.Request
	ended atomic.Bool
	began time.Time
}

// NewBody returns the body of the request that w answers.
func NewBody(w http.ResponseWriter, r *http.Request) *Body {
	b := new(Body)
	b.Reset(w, r)
	return b
}

// Reset makes b the body of the request that w answers.
func (b *Body) Reset(w http.ResponseWriter, r *http.Request) {
	b.w, b.r = w, r
	b.ended.Store(r.ContentLength == 0)
}

// Ended reports whether the end was read, or there is nothing to read.
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

// Bound makes reading end when the client's own deadline passes, until stop is called. If late is
// not nil, the deadline has passed, and this error counts more than what came of reading: on
// HTTP/1.1, a deadline that passes while the end is read looks as if the client had left. Both
// errors are a *Error. err says that the deadline is malformed.
func (b *Body) Bound() (stop func() (late error), err error) {
	d, ok, err := ClientTimeout(b.r.Header)
	if err != nil {
		return nil, err
	}
	if !ok || b.Ended() {
		return inTime, nil
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
		<-done // Once the handler has returned, request and response belong to the server.
		return errLate()
	}, nil
}

func inTime() error { return nil }

func errLate() *Error {
	return Errorf(codes.DeadlineExceeded, "the deadline of the call passed before its request had arrived")
}

// ReadAll reads the body up to its end, within the client's deadline. size and limit are those of
// the function ReadAll. The error is a *Error or that of the function, and then there is no buffer.
func (b *Body) ReadAll(size, limit int64) (*[]byte, error) {
	stop, err := b.Bound()
	if err != nil {
		return nil, err
	}
	buf, err := ReadAll(b, size, limit)
	if late := stop(); late != nil {
		if err == nil {
			PutBuffer(buf)
		}
		return nil, late
	}
	return buf, err
}

// Skip is called instead of reading when nothing needs the body. On HTTP/1.1 it discards a small
// body, within the client's deadline, because the server notices only after the end of the body
// that the client leaves. Any other body is left unread. Then left is true, and the connection is
// closed after the answer. Whoever waits for something then must call Options.WatchUnread.
//
// The error is a *Error or that of reading.
func (b *Body) Skip() (left bool, err error) {
	if b.Ended() || b.r.ProtoMajor != 1 {
		return false, nil
	}
	if size := b.r.ContentLength; size < 0 || size > maxSkipped || b.r.Header.Get("Expect") != "" {
		b.Leave()
		return true, nil
	}
	stop, err := b.Bound()
	if err != nil {
		return false, err
	}
	_, err = io.Copy(io.Discard, b)
	if late := stop(); late != nil {
		return false, late
	}
	return false, err
}

// Leave is called before an answer is written. If the body was not read to its end, it closes an
// HTTP/1.1 connection after the answer: otherwise the server would first read the rest, for as long
// as the client takes to send it, and it would ask a client for it that has said Expect:
// 100-continue.
func (b *Body) Leave() {
	if !b.Ended() {
		leave(b.w, b.r)
	}
}

// LeaveBody is Leave for a request of which nobody has read anything.
func LeaveBody(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength != 0 {
		leave(w, r)
	}
}

func leave(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor == 1 {
		w.Header().Set("Connection", "close")
	}
}

// Interrupt makes reading end now, even if another goroutine reads.
func (b *Body) Interrupt() {
	if http.NewResponseController(b.w).SetReadDeadline(time.Unix(1, 0)) != nil {
		_ = b.r.Body.Close()
	}
}

// Error turns an error of reading into the one that the client sees. A *Error stays what it is.
func (b *Body) Error(err error) error {
	var e *Error
	var most *http.MaxBytesError
	switch {
	case errors.As(err, &e):
		return e
	case errors.As(err, &most): // A limit that another handler has set.
		return Errorf(codes.ResourceExhausted, "the request body is larger than %d bytes", most.Limit).
			WithHTTP(http.StatusRequestEntityTooLarge)
	case b.r.Context().Err() != nil:
		return Errorf(codes.Canceled, "the client went away").WithCause(err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return Errorf(codes.DeadlineExceeded, "the request body did not arrive in time").WithCause(err)
	default:
		return Errorf(codes.InvalidArgument, "the request body is incomplete").WithCause(err)
	}
}
