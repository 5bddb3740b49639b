package discovery

import (
	"cmp"
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"
)

// Changes are collected until the source is quiet for quietTime, or for collectTime at most. Then
// the subscribers are told. An instance that leaves and comes back under another key within that
// time is not a change, and a thousand instances that start together are one change.
const (
	quietTime   = 50 * time.Millisecond
	collectTime = 500 * time.Millisecond
)

// Feed shares one watch of a source among any number of subscribers and remembers the last state.
//
// It keeps the promises of the contract even if the source breaks them. A source that panics or
// returns early is started again with backoff, and the last list stays. Endpoints are sorted. An
// empty list that is not Synced never replaces a known list. (A panic in a goroutine that the
// source started itself cannot be caught.)
//
// The first state and the first Synced state are handed on at once. Others are handed on when the
// source is quiet, see quietTime.
type Feed struct {
	src    Source
	id     string
	cancel context.CancelFunc
	wg     sync.WaitGroup // The watch and the dispatcher.
	wake   chan struct{}  // Capacity 1: there is something to hand on.

	mu     sync.Mutex
	state  State
	serial uint64 // of state, 0 before the first
	subs   map[*subscription]struct{}
	closed bool
}

// NewFeed makes a feed, which starts to watch at once in the background. The caller closes it.
func NewFeed(src Source) *Feed {
	ctx, cancel := context.WithCancel(context.Background())
	f := &Feed{
		src:    src,
		id:     src.ID(),
		cancel: cancel,
		wake:   make(chan struct{}, 1),
		subs:   make(map[*subscription]struct{}),
	}
	f.wg.Go(func() { f.run(ctx) })
	f.wg.Go(func() { f.dispatch(ctx) })
	return f
}

// ID returns the ID of the source.
func (f *Feed) ID() string { return f.id }

// State returns the last published state. Before the first one it is the zero State.
func (f *Feed) State() State {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state
}

// Close stops the watch and all subscriptions, and waits for them. It must not be called from the
// fn of a subscriber.
func (f *Feed) Close() {
	f.cancel()
	f.wg.Wait()
	f.mu.Lock()
	f.closed = true
	subs := f.subs
	f.subs = nil
	f.mu.Unlock()
	for s := range subs {
		s.end()
	}
}

// run keeps the source watching until ctx is done.
func (f *Feed) run(ctx context.Context) {
	var backoff Backoff
	for {
		started := time.Now()
		err := f.watch(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(started) > time.Minute {
			backoff.Reset()
		}
		f.fail(err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(backoff.Next()):
		}
	}
}

// PanicError is the State.Err after a source has panicked.
type PanicError struct {
	// Source is the ID of the source.
	Source string
	// Value is the value of the panic.
	Value any
	Stack []byte
}

// Error leaves out the stack, which is for the log.
func (e *PanicError) Error() string {
	return fmt.Sprintf("source %s panicked: %v", e.Source, e.Value)
}

func (f *Feed) watch(ctx context.Context) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Source: f.id, Value: v, Stack: debug.Stack()}
		}
	}()
	f.src.Watch(ctx, f.publish)
	return fmt.Errorf("source %s stopped watching by itself", f.id)
}

// fail publishes the last state with an error.
func (f *Feed) fail(err error) {
	s := f.State()
	s.Err = err
	f.publish(s)
}

func (f *Feed) publish(s State) {
	byID := func(a, b Endpoint) int { return cmp.Compare(a.ID, b.ID) }
	if !slices.IsSortedFunc(s.Endpoints, byID) {
		s.Endpoints = slices.SortedFunc(slices.Values(s.Endpoints), byID)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if last := f.state; last.Synced && !s.Synced && len(s.Endpoints) == 0 {
		s.Synced, s.Endpoints, s.Skipped, s.Revision, s.Stale = true, last.Endpoints, last.Skipped, last.Revision, true
		if s.LastContact.IsZero() {
			s.LastContact = last.LastContact
		}
	}
	f.state = s
	f.serial++
	signal(f.wake)
}

// dispatch hands published states to the subscribers.
func (f *Feed) dispatch(ctx context.Context) {
	synced := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.wake:
		}
		if synced && !f.collect(ctx) {
			return
		}
		synced = f.handOn()
	}
}

// collect returns when the source has been quiet for quietTime, or after collectTime. It returns
// false when ctx is done.
func (f *Feed) collect(ctx context.Context) bool {
	quiet := time.NewTimer(quietTime)
	defer quiet.Stop()
	enough := time.NewTimer(collectTime)
	defer enough.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-f.wake:
			quiet.Reset(quietTime)
		case <-quiet.C:
			return true
		case <-enough.C:
			return true
		}
	}
}

// handOn offers the present state to every subscriber and reports whether that state is Synced.
func (f *Feed) handOn() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for s := range f.subs {
		s.offer(f.state, f.serial)
	}
	return f.state.Synced
}

// signal wakes the reader of a channel of capacity 1, once for any number of signals.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
