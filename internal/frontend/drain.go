package frontend

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// drainWrite is how long a client may take to read what is left when the server stops. It has to be enough for a busy process that ends
// thousands of streams at once, too.
const drainWrite = 20 * time.Second

// Drain tells streams that the server stops. It is closed once, on exit and never by a reload. A nil Drain is never closed.
// Safe for concurrent use.
type Drain struct {
	ctx  context.Context
	stop context.CancelFunc
}

// NewDrain returns one that is not closed.
func NewDrain() *Drain {
	ctx, stop := context.WithCancel(context.Background())
	return &Drain{ctx: ctx, stop: stop}
}

// Close ends the streams. More than one call does no more.
func (d *Drain) Close() { d.stop() }

// Done is closed by Close.
func (d *Drain) Done() <-chan struct{} {
	if d == nil {
		return nil
	}
	return d.ctx.Done()
}

// AfterFunc calls fn in a goroutine of its own once Close was called, unless stop is called before. It costs no goroutine until then.
func (d *Drain) AfterFunc(fn func()) (stop func() bool) {
	if d == nil {
		return func() bool { return true }
	}
	return context.AfterFunc(d.ctx, fn)
}

// BoundWrites sees to it that a client that does not read cannot hold up the exit of the server: a write that is blocked fails some
// seconds after the delay that streams are given. stop must be called before the handler returns, because the ResponseWriter is not ours afterwards.
//
// The deadline is set from another goroutine than the one that writes, which ResponseWriters of net/http allow and those that Caddy wraps
// around them do not: hence it is set on the innermost.
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

// WriteDeadline is until when may be written once the server has begun to stop, which is now.
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
