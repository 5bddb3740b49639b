package pool

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// leash ends an attempt of a whole call: at its deadline, when its caller is gone, or when its instance stalls. It is a context with the
// timer of a deadline, and is used again by other attempts until it has ended one: what a context allocates to have a child, and to be
// waited for, is there already then.
type leash struct {
	ctx    context.Context // without values, which the attempt has from its caller
	cancel context.CancelFunc
	timer  *time.Timer
	late   atomic.Bool // the timer has ended it

	deadline time.Time // of the attempt; zero: none, and the timer is not set
}

func newLeash() *leash {
	h := new(leash)
	h.ctx, h.cancel = context.WithCancel(context.Background())
	h.timer = time.AfterFunc(time.Hour, func() {
		h.late.Store(true)
		h.cancel()
	})
	h.timer.Stop()
	return h
}

// tie gives the attempt a leash, with a deadline unless that is zero.
func (l *lease) tie(deadline time.Time) {
	l.leash, _ = l.channel.leashes.Get().(*leash)
	if l.leash == nil {
		l.leash = newLeash()
	}
	l.leash.deadline = deadline
	if !deadline.IsZero() {
		l.leash.timer.Reset(time.Until(deadline))
	}
	l.untie = context.AfterFunc(l.Context, l.leash.cancel)
}

// release takes the leash off when the attempt is over and nobody uses its context any more, and says how it ended. It is kept only if
// it is certain that nothing will pull it: neither caller nor timer has, and an instance that stalls gives up only what is in its list.
func (l *lease) release(err error) error {
	h := l.leash
	idle := l.untie()
	if !h.deadline.IsZero() {
		idle = h.timer.Stop() && idle
	}
	if idle && err == nil && h.ctx.Err() == nil {
		l.channel.leashes.Put(h)
		return nil
	}
	h.cancel()
	l.late = h.late.Load()
	if status.Code(err) == codes.Canceled && errors.Is(l.callerErr(), context.DeadlineExceeded) {
		return status.FromContextError(context.DeadlineExceeded).Err() // a context that is ended by hand tells no reason
	}
	return err
}

// Done implements context.Context.
func (l *lease) Done() <-chan struct{} {
	if l.leash == nil {
		return l.Context.Done()
	}
	return l.leash.ctx.Done()
}

// Err implements context.Context.
func (l *lease) Err() error {
	switch {
	case l.leash == nil:
		return l.Context.Err()
	case l.leash.late.Load():
		return context.DeadlineExceeded
	case l.leash.ctx.Err() == nil:
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
	if l.leash == nil || l.leash.deadline.IsZero() || ok && at.Before(l.leash.deadline) {
		return at, ok
	}
	return l.leash.deadline, true
}
