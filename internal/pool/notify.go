package pool

import (
	"fmt"
	"sync"
)

// listener calls a function for endpoints that became READY, in a goroutine of its own.
type listener struct {
	fn   func(addr string)
	wake chan struct{}
	stop chan struct{}
	once sync.Once

	mu      sync.Mutex
	waiting []string
	// known has the addresses in waiting. An endpoint that comes and goes waits only once.
	known map[string]struct{}
}

// listen starts a listener.
func (b *balancer) listen(fn func(addr string)) (stop func()) {
	l := &listener{fn: fn, wake: make(chan struct{}, 1), stop: make(chan struct{}), known: make(map[string]struct{})}
	b.lock()
	defer b.unlock()
	if b.closing {
		return func() {}
	}
	b.listeners[l] = struct{}{}
	b.work.Go(l.run)
	return func() {
		b.lock()
		defer b.unlock()
		delete(b.listeners, l)
		l.end()
	}
}

// announce tells all listeners about an endpoint.
//
// Caller must hold b.mu.
func (b *balancer) announce(addr string) {
	for l := range b.listeners {
		l.tell(addr)
	}
}

func (l *listener) end() { l.once.Do(func() { close(l.stop) }) }

func (l *listener) tell(addr string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.known[addr]; ok {
		return
	}
	l.known[addr] = struct{}{}
	l.waiting = append(l.waiting, addr)
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *listener) run() {
	for {
		select {
		case <-l.stop:
			return
		case <-l.wake:
		}
		for addr, ok := l.next(); ok; addr, ok = l.next() {
			l.fn(addr)
		}
	}
}

// next returns the next endpoint to tell about. It returns false if there is none or the listener
// has ended.
func (l *listener) next() (addr string, ok bool) {
	select {
	case <-l.stop:
		return "", false
	default:
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 {
		return "", false
	}
	addr = l.waiting[0]
	l.waiting = l.waiting[1:]
	delete(l.known, addr)
	return addr, true
}

// notReady explains why WaitReady gave up.
//
// Caller must hold b.mu.
func (b *balancer) notReady(err error) error {
	if trouble := b.trouble(); trouble != nil {
		return fmt.Errorf("waiting for an instance to be ready: %w: %w", err, trouble)
	}
	return fmt.Errorf("waiting for an instance to be ready: %w: service %s: %d instances, none of them connected yet", err, b.service, b.active)
}
