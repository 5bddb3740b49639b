package pool

import (
	"sync"
	"time"
)

// at puts a task on the agenda.
//
// Caller must hold b.mu.
func (b *balancer) at(t time.Time, run func()) {
	if b.agenda.add(t, run) {
		select {
		case b.wake <- struct{}{}:
		default:
		}
	}
}

// run does what is on the agenda until the balancer closes.
func (b *balancer) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		wait := b.due()
		if wait < 0 {
			return
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-b.wake:
		case do := <-b.asked:
			b.lock()
			do()
			b.publishAndUnlock()
		}
	}
}

// ask makes run do something with the lock held. Calls use it, because they must not wait for the
// lock. It returns false if too many are asking. Then a later call will ask again.
//
// Called on the call path; takes no lock of the balancer.
func (b *balancer) ask(do func()) bool {
	select {
	case b.asked <- do:
		return true
	default:
		return false
	}
}

// mustAsk is ask for what no later call would ask for again. It is for calls.
//
// Called on the call path; takes no lock of the balancer.
func (b *balancer) mustAsk(do func()) {
	if b.ask(do) {
		return
	}
	b.overflow.mu.Lock()
	b.overflow.do = append(b.overflow.do, do)
	b.overflow.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// overflow has what calls asked for while too many were asking.
type overflow struct {
	mu sync.Mutex
	do []func()
}

func (o *overflow) take() []func() {
	o.mu.Lock()
	defer o.mu.Unlock()
	do := o.do
	o.do = nil
	return do
}

// due runs the tasks that are due. It returns the time until the next one, or -1 to end run.
func (b *balancer) due() time.Duration {
	b.lock()
	defer b.publishAndUnlock()
	for _, do := range b.overflow.take() {
		do()
	}
	for !b.closing {
		task, wait := b.agenda.next(time.Now())
		switch {
		case task != nil:
			task()
		case wait < 0:
			return time.Hour
		default:
			return wait
		}
	}
	return -1
}
