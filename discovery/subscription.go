package discovery

import "sync"

// subscription runs the fn of one subscriber in its own goroutine, so that a slow subscriber holds
// up nobody else. It keeps only the newest state.
type subscription struct {
	fn   func(State)
	wake chan struct{} // capacity 1
	stop chan struct{}
	done chan struct{}
	once sync.Once

	mu      sync.Mutex
	state   State
	serial  uint64 // of state
	started uint64 // serial of the last state that fn was called with
}

// Subscribe calls fn with the current state, if there is one, and with each later state. Calls come
// one at a time and in order. A slow fn misses states in between and gets the newest. A closed feed
// calls nobody.
//
// cancel ends the subscription and waits for a running fn, so fn must not call it. It may be called
// more than once, and after Close.
func (f *Feed) Subscribe(fn func(State)) (cancel func()) {
	s := &subscription{
		fn:   fn,
		wake: make(chan struct{}, 1),
		stop: make(chan struct{}),
		done: make(chan struct{}),
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return func() {}
	}
	f.subs[s] = struct{}{}
	go s.run()
	if f.serial > 0 {
		s.offer(f.state, f.serial)
	}
	return func() {
		f.mu.Lock()
		delete(f.subs, s)
		f.mu.Unlock()
		s.end()
	}
}

func (s *subscription) offer(state State, serial uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if serial > s.serial {
		s.state, s.serial = state, serial
		signal(s.wake)
	}
}

func (s *subscription) run() {
	defer close(s.done)
	for {
		select {
		case <-s.stop:
			return
		case <-s.wake:
		}
		select {
		case <-s.stop: // Even if both were ready.
			return
		default:
		}
		if state, ok := s.take(); ok {
			s.fn(state)
		}
	}
}

func (s *subscription) take() (State, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started == s.serial {
		return State{}, false
	}
	s.started = s.serial
	return s.state, true
}

func (s *subscription) end() {
	s.once.Do(func() { close(s.stop) })
	<-s.done
}
