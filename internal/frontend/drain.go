package frontend

import "context"

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
