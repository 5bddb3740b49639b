package pool

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// attemptContext ends an attempt of a whole call: at its deadline, when its caller is gone, or when
// its instance stalls. It is a context with the timer of a deadline, and is used again by other
// attempts until it has ended one: what a context allocates to have a child, and to be waited for,
// is there already then.
type attemptContext struct {
	ctx    context.Context // without values, which the attempt has from its caller
	cancel context.CancelFunc
	timer  *time.Timer
	late   atomic.Bool // the timer has ended it

	deadline time.Time // of the attempt; zero: none, and the timer is not set
}

func newAttemptContext() *attemptContext {
	h := new(attemptContext)
	h.ctx, h.cancel = context.WithCancel(context.Background())
	h.timer = time.AfterFunc(time.Hour, func() {
		h.late.Store(true)
		h.cancel()
	})
	h.timer.Stop()
	return h
}

// bindContext gives the attempt a context of its own, with a deadline unless that is zero.
//
// Called on the call path; takes no lock of the balancer.
func (l *lease) bindContext(deadline time.Time) {
	l.own, _ = l.channel.contexts.Get().(*attemptContext)
	if l.own == nil {
		l.own = newAttemptContext()
	}
	l.own.deadline = deadline
	if !deadline.IsZero() {
		l.own.timer.Reset(time.Until(deadline))
	}
	l.unbind = context.AfterFunc(l.Context, l.own.cancel)
}

// releaseContext takes the context off when the attempt is over and nobody uses its context any more, and
// says how it ended. It is kept only if it is certain that nothing will pull it: neither caller nor
// timer has, and an instance that stalls gives up only what is in its list.
//
// Called on the call path; takes no lock of the balancer.
func (l *lease) releaseContext(err error) error {
	h := l.own
	idle := l.unbind()
	if !h.deadline.IsZero() {
		idle = h.timer.Stop() && idle
	}
	if idle && err == nil && h.ctx.Err() == nil {
		l.channel.contexts.Put(h)
		return nil
	}
	h.cancel()
	l.late = h.late.Load()
	if status.Code(err) == codes.Canceled && errors.Is(l.callerErr(), context.DeadlineExceeded) {
		// A context that is ended by hand tells no reason.
		return status.FromContextError(context.DeadlineExceeded).Err()
	}
	return err
}

// Done implements context.Context.
func (l *lease) Done() <-chan struct{} {
	if l.own == nil {
		return l.Context.Done()
	}
	return l.own.ctx.Done()
}

// Err implements context.Context.
func (l *lease) Err() error {
	switch {
	case l.own == nil:
		return l.Context.Err()
	case l.own.late.Load():
		return context.DeadlineExceeded
	case l.own.ctx.Err() == nil:
		return nil
	case l.Context.Err() != nil:
		return l.Context.Err()
	default:
		return context.Canceled
	}
}

// Deadline implements context.Context.
func (l *lease) Deadline() (time.Time, bool) {
	at, ok := l.Context.Deadline()
	if l.own == nil || l.own.deadline.IsZero() || ok && at.Before(l.own.deadline) {
		return at, ok
	}
	return l.own.deadline, true
}
