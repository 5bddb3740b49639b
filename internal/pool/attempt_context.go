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
// its instance stalls. It is a context with a timer for the deadline.
//
// Later attempts use it again until it has ended one. So it does not allocate again what a context
// needs for a child and for those who wait for it.
type attemptContext struct {
	// ctx has no values. The attempt has those of its caller.
	ctx    context.Context
	cancel context.CancelFunc
	timer  *time.Timer
	// late is true if the timer has ended the context.
	late atomic.Bool

	// deadline is that of the attempt. Zero: there is none, and the timer is not set.
	deadline time.Time
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

// bind gives the attempt a context of its own, if it needs one and has none. It needs one to wait
// for a picker, and for a link of grpc-go. A wireLink ends calls at their deadlines itself, and
// giveUp ends them in place.
//
// Called on the call path; takes no lock of the balancer.
func (l *lease) bind() {
	if l.own != nil || !l.mayFollow && l.deadline.IsZero() {
		return
	}
	l.bindContext(l.deadline)
	l.ending.context.Store(l.own)
	if l.givenUp() {
		l.own.cancel()
	}
}

// bindContext gives the attempt a context of its own. A zero deadline means none.
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

// releaseContext detaches the attempt's own context. The attempt is over, and nobody uses the
// context any more. It returns the attempt's error.
//
// The context is kept only if nothing can cancel it later. Neither the caller nor the timer has
// ended it, and a stalled instance gives up only attempts that are in its list.
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
		// grpc saw only that the context was cancelled, not that the timer did it.
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
	if l.deadline.IsZero() || ok && at.Before(l.deadline) {
		return at, ok
	}
	return l.deadline, true
}
