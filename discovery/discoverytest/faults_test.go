package discoverytest

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-grpc/gateway/discovery"
)

// memory is a registry in memory.
type memory struct {
	mu      sync.Mutex
	list    []Instance
	spoiled bool
	failing bool
	changed chan struct{} // closed and replaced at each change
}

func newMemory() *memory { return &memory{changed: make(chan struct{})} }

func (m *memory) change(fn func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	fn()
	close(m.changed)
	m.changed = make(chan struct{})
}

func (m *memory) Set(list ...Instance) { m.change(func() { m.list = slices.Clone(list) }) }
func (m *memory) Fail()                { m.change(func() { m.failing = true }) }
func (m *memory) Heal()                { m.change(func() { m.failing = false }) }
func (m *memory) Spoil()               { m.change(func() { m.spoiled = true }) }

// read returns the list, and a channel that is closed when it has changed.
func (m *memory) read() ([]Instance, bool, <-chan struct{}, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failing {
		return nil, false, m.changed, errors.New("no leader")
	}
	return slices.Clone(m.list), m.spoiled, m.changed, nil
}

// source is a source that keeps the contract, unless a fault is planted.
type source struct {
	registry *memory
	catalog  bool
	fault    func(*planted)
}

// planted is what a fault may change. Each field is a part of what source does.
type planted struct {
	id       func() string
	publish  func(publish func(discovery.State), s discovery.State)
	failed   func(s *discovery.State, err error) // after an error
	read     func(s *discovery.State)            // after a list
	returns  func(ctx context.Context, err error) bool
	wait     func(ctx context.Context, changed <-chan struct{})
	started  func(ctx context.Context, publish func(discovery.State))
	ended    func(publish func(discovery.State), s discovery.State)
	endpoint func(e *discovery.Endpoint, in Instance)
}

func (s *source) planted() *planted {
	p := &planted{
		id:       func() string { return "memory://" },
		publish:  func(publish func(discovery.State), s discovery.State) { publish(s) },
		failed:   func(s *discovery.State, err error) { s.Err = err },
		read:     func(*discovery.State) {},
		returns:  func(context.Context, error) bool { return false },
		started:  func(context.Context, func(discovery.State)) {},
		ended:    func(func(discovery.State), discovery.State) {},
		endpoint: func(*discovery.Endpoint, Instance) {},
		wait: func(ctx context.Context, changed <-chan struct{}) {
			select {
			case <-ctx.Done():
			case <-changed:
			}
		},
	}
	if s.fault != nil {
		s.fault(p)
	}
	return p
}

func (s *source) ID() string { return s.planted().id() }

func (s *source) Watch(ctx context.Context, publish func(discovery.State)) {
	p := s.planted()
	p.started(ctx, publish)
	var state discovery.State
	for ctx.Err() == nil {
		list, spoiled, changed, err := s.registry.read()
		if err != nil {
			p.failed(&state, err)
		} else {
			s.take(p, &state, list, spoiled)
		}
		p.publish(publish, state)
		if p.returns(ctx, err) {
			return
		}
		p.wait(ctx, changed)
	}
	p.ended(publish, state)
}

func (s *source) take(p *planted, state *discovery.State, list []Instance, spoiled bool) {
	*state = discovery.State{Synced: true, LastContact: time.Now()}
	for _, in := range list {
		e := discovery.Endpoint{ID: in.Service + "/" + in.ID, Addr: in.Addr, Service: in.Service, Metadata: map[string]string{"zone": "a"}}
		p.endpoint(&e, in)
		state.Endpoints = append(state.Endpoints, e)
	}
	slices.SortFunc(state.Endpoints, func(a, b discovery.Endpoint) int { return strings.Compare(a.ID, b.ID) })
	if spoiled {
		state.Skipped = []discovery.Skipped{{ID: "junk", Reason: "expected host:port, found nothing"}}
	}
	p.read(state)
}

// subject is a source with a fault.
func subject(catalog bool, fault func(*planted)) Subject {
	return Subject{
		Catalog: catalog, Patience: 300 * time.Millisecond, Quiet: 20 * time.Millisecond,
		New: func(testing.TB) (discovery.Source, Registry) {
			m := newMemory()
			return &source{m, catalog, fault}, m
		},
	}
}

// TestGoodSources runs the kit against sources that keep the contract.
func TestGoodSources(t *testing.T) {
	for name, catalog := range map[string]bool{"source": false, "catalog": true} {
		t.Run(name, func(t *testing.T) {
			s := subject(catalog, nil)
			s.Patience = 20 * time.Second
			Run(t, s)
		})
	}
	t.Run("fixed", func(t *testing.T) {
		Run(t, Subject{Fixed: true, New: func(testing.TB) (discovery.Source, Registry) { return fixed{}, nil }})
	})
}

type fixed struct{}

func (fixed) ID() string { return "fixed" }
func (fixed) Fixed()     {}
func (fixed) Watch(ctx context.Context, publish func(discovery.State)) {
	publish(discovery.State{Synced: true, Endpoints: []discovery.Endpoint{{ID: "a:1", Addr: "a:1"}}})
	<-ctx.Done()
}

// TestPlantedFaults plants one fault at a time. The check that is meant for it must find it.
func TestPlantedFaults(t *testing.T) {
	for name, tt := range map[string]struct {
		catalog bool
		check   string
		want    string
		fault   func(*planted)
	}{
		"forgets errors": {false, "the list outlives an error", "without an error after the registry has failed", func(p *planted) {
			p.failed = func(*discovery.State, error) {}
		}},
		"drops the list after an error": {false, "the list outlives an error", "the last good list must stay", func(p *planted) {
			p.failed = func(s *discovery.State, err error) { s.Err, s.Endpoints = err, nil }
		}},
		"is not Synced after an error": {false, "the list outlives an error", "not Synced: a list that was known must stay", func(p *planted) {
			p.failed = func(s *discovery.State, err error) { *s = discovery.State{Err: err} }
		}},
		"keeps the error": {false, "the list outlives an error", "without the list without an error", func(p *planted) {
			var first error
			p.failed = func(s *discovery.State, err error) { first, s.Err = err, err }
			p.read = func(s *discovery.State) { s.Err = first }
		}},
		"gives up after an error": {false, "trouble at the start is told", "Watch returned before its context was done", func(p *planted) {
			p.returns = func(_ context.Context, err error) bool { return err != nil }
		}},
		"publishes unsorted lists": {false, "the first list is published", "not sorted by ID", func(p *planted) {
			p.read = func(s *discovery.State) { slices.Reverse(s.Endpoints) }
		}},
		"has one ID twice": {false, "the first list is published", "two endpoints have the ID", func(p *planted) {
			p.endpoint = func(e *discovery.Endpoint, _ Instance) { e.ID = "same" }
		}},
		"has no ID for an endpoint": {false, "the first list is published", "has no ID", func(p *planted) {
			p.endpoint = func(e *discovery.Endpoint, _ Instance) { e.ID = "" }
		}},
		"publishes what cannot be dialled": {false, "the first list is published", "belongs into Skipped", func(p *planted) {
			p.endpoint = func(e *discovery.Endpoint, _ Instance) { e.Addr = "0.0.0.0:80" }
		}},
		"ignores its context": {false, "Watch ends with its context", "has not returned", func(p *planted) {
			stuck := make(chan struct{})
			p.wait = func(context.Context, <-chan struct{}) { <-stuck }
		}},
		"ignores its context in trouble": {false, "Watch ends while the registry fails", "has not returned", func(p *planted) {
			stuck, failed := make(chan struct{}), false
			p.failed = func(s *discovery.State, err error) { s.Err, failed = err, true }
			wait := p.wait
			p.wait = func(ctx context.Context, changed <-chan struct{}) {
				if failed {
					<-stuck
				}
				wait(ctx, changed)
			}
		}},
		"leaks a goroutine": {false, "Watch ends with its context", "a goroutine is left over", func(p *planted) {
			p.started = func(context.Context, func(discovery.State)) { go func() { select {} }() }
		}},
		"publishes after the end": {false, "Watch ends with its context", "after Watch had returned", func(p *planted) {
			p.ended = func(publish func(discovery.State), s discovery.State) {
				time.AfterFunc(5*time.Millisecond, func() { publish(s) })
			}
		}},
		"publishes from two goroutines": {false, "Watch ends with its context", "one goroutine at a time", func(p *planted) {
			p.publish = func(publish func(discovery.State), s discovery.State) {
				var both sync.WaitGroup
				for range 64 {
					both.Go(func() { publish(s) })
				}
				both.Wait()
			}
		}},
		"writes to what it published": {false, "a changed value replaces the endpoint", "written to after it was published", func(p *planted) {
			var last []discovery.Endpoint
			p.read = func(s *discovery.State) {
				for i := range last {
					maps.Copy(last[i].Metadata, map[string]string{"zone": "b"})
				}
				last = s.Endpoints
			}
		}},
		"never says that a list is complete": {false, "an empty list is published", "without an empty list with Synced", func(p *planted) {
			p.read = func(s *discovery.State) { s.Synced, s.Endpoints = false, nil }
		}},
		"takes an empty list for an error": {false, "an empty list is published", "without", func(p *planted) {
			p.read = func(s *discovery.State) {
				if len(s.Endpoints) == 0 {
					s.Err = errors.New("no instances")
				}
			}
		}},
		"says nothing until it has a list": {false, "trouble at the start is told", "without an error", func(p *planted) {
			p.publish = func(publish func(discovery.State), s discovery.State) {
				if s.Synced {
					publish(s)
				}
			}
		}},
		"misses changes during an error": {false, "changes during an error are seen after it", "without the changes", func(p *planted) {
			var before []discovery.Endpoint
			failed := false
			p.failed = func(s *discovery.State, err error) { before, failed, s.Err = s.Endpoints, true, err }
			p.read = func(s *discovery.State) {
				if failed {
					s.Endpoints = before
				}
			}
		}},
		"drops unusable entries silently": {false, "unusable entries are skipped", "without the entry in Skipped", func(p *planted) {
			p.read = func(s *discovery.State) { s.Skipped = nil }
		}},
		"skips without a reason": {false, "unusable entries are skipped", "without a reason", func(p *planted) {
			p.read = func(s *discovery.State) {
				for i := range s.Skipped {
					s.Skipped[i].Reason = ""
				}
			}
		}},
		"has another ID each time": {false, "ID names what is watched", "it changed from", func(p *planted) {
			p.id = func() string { return time.Now().String() }
		}},
		"panics": {false, "the first list is published", "Watch panicked", func(p *planted) {
			p.read = func(*discovery.State) { panic("nil map") }
		}},
		"does not say when it had contact": {false, "the first list is published", "LastContact is zero", func(p *planted) {
			p.read = func(s *discovery.State) { s.LastContact = time.Time{} }
		}},
		"does not name the service": {true, "endpoints name their service", "expected the name of a service", func(p *planted) {
			p.endpoint = func(e *discovery.Endpoint, _ Instance) { e.Service = "" }
		}},
		"takes two services for one": {true, "one service does not affect another", "two endpoints have the ID", func(p *planted) {
			p.endpoint = func(e *discovery.Endpoint, in Instance) { e.ID = in.ID }
		}},
	} {
		t.Run(name, func(t *testing.T) {
			i := slices.IndexFunc(checks, func(c check) bool { return c.name == tt.check })
			if i < 0 {
				t.Fatalf("there is no check %q", tt.check)
			}
			err := checks[i].verify(t, subject(tt.catalog, tt.fault))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}
