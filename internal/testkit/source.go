package testkit

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddy-grpc/gateway/discovery"
)

// Source is a discovery.Source that a test drives by hand. Safe for concurrent use.
type Source struct {
	id string

	mu       sync.Mutex
	state    discovery.State
	changed  chan struct{} // closed and replaced on every change
	watchers int
}

var _ discovery.Source = (*Source)(nil)

// NewSource makes a source that has these endpoints. Without any it publishes a state that is not
// synced, as a source does that has not reached its registry.
func NewSource(id string, addrs ...string) *Source {
	s := &Source{id: id, changed: make(chan struct{})}
	if len(addrs) > 0 {
		s.SetAddrs(addrs...)
	}
	return s
}

// ID implements discovery.Source.
func (s *Source) ID() string { return s.id }

// SetAddrs sets a good list of endpoints whose IDs are their addresses.
func (s *Source) SetAddrs(addrs ...string) {
	endpoints := make([]discovery.Endpoint, len(addrs))
	for i, a := range addrs {
		endpoints[i] = discovery.Endpoint{ID: a, Addr: a}
	}
	s.Set(endpoints...)
}

// Set sets a good list of endpoints, which may be empty, and clears the error.
func (s *Source) Set(endpoints ...discovery.Endpoint) {
	endpoints = slices.Clone(endpoints)
	slices.SortFunc(endpoints, func(a, b discovery.Endpoint) int { return strings.Compare(a.ID, b.ID) })
	s.update(func(st *discovery.State) {
		*st = discovery.State{Synced: true, Endpoints: endpoints, Revision: st.Revision + 1, LastContact: time.Now()}
	})
}

// SetError publishes trouble with the registry, or with nil its end; the list stays.
func (s *Source) SetError(err error) { s.update(func(st *discovery.State) { st.Err = err }) }

// SetState publishes any state.
func (s *Source) SetState(st discovery.State) { s.update(func(old *discovery.State) { *old = st }) }

func (s *Source) update(fn func(*discovery.State)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fn(&s.state)
	close(s.changed)
	s.changed = make(chan struct{})
}

// Watchers is the number of Watch calls running.
func (s *Source) Watchers() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.watchers
}

// Watch implements discovery.Source. A slow subscriber sees the newest state, not each.
func (s *Source) Watch(ctx context.Context, publish func(discovery.State)) {
	s.watching(1)
	defer s.watching(-1)
	for {
		s.mu.Lock()
		st, changed := s.state, s.changed
		s.mu.Unlock()
		publish(st)
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

func (s *Source) watching(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watchers += n
}
