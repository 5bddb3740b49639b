package frontend

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// drainWrite is how long a client may take to read the rest when the server stops. It must be
// enough even for a busy process that ends thousands of streams at once.
const drainWrite = 20 * time.Second

// Drain tells streams that the server stops. It is closed on exit, never by a reload. A nil Drain
// is never closed. Safe for concurrent use.
type Drain struct {
	ctx  context.Context
	stop context.CancelFunc
}

// NewDrain returns a Drain that is not closed.
func NewDrain() *Drain {
	ctx, stop := context.WithCancel(context.Background())
	return &Drain{ctx: ctx, stop: stop}
}

// Close ends the streams. Further calls do nothing.
func (d *Drain) Close() { d.stop() }

// Done is closed by Close.
func (d *Drain) Done() <-chan struct{} {
	if d == nil {
		return nil
	}
	return d.ctx.Done()
}

// AfterFunc calls fn in its own goroutine when Close is called, unless stop is called before. It
// costs no goroutine until then.
func (d *Drain) AfterFunc(fn func()) (stop func() bool) {
	if d == nil {
		return func() bool { return true }
	}
	return context.AfterFunc(d.ctx, fn)
}

// BoundWrites keeps a client that does not read from delaying the exit of the server: a blocked
// write fails some seconds after the delay that streams have. stop must be called before the
// handler returns, because the ResponseWriter belongs to the server afterwards.
//
// The goroutine that sets the deadline is not the one that writes. ResponseWriters of net/http
// allow that, but those that Caddy wraps around them do not. So it is set on the innermost one.
func (d *Drain) BoundWrites(w http.ResponseWriter, delay time.Duration) (stop func()) {
	if d == nil {
		return func() {}
	}
	server := innermost(w)
	done := make(chan struct{})
	cancel := d.AfterFunc(func() {
		defer close(done)
		_ = http.NewResponseController(server).SetWriteDeadline(WriteDeadline(delay))
	})
	return sync.OnceFunc(func() {
		if !cancel() {
			<-done
		}
	})
}

// WriteDeadline is the deadline of writes if the server begins to stop now.
func WriteDeadline(delay time.Duration) time.Time { return time.Now().Add(delay + drainWrite) }

func innermost(w http.ResponseWriter) http.ResponseWriter {
	for {
		wrapper, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return w
		}
		w = wrapper.Unwrap()
	}
}
