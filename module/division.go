package module

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"
	"sync"

	"github.com/caddy-grpc/gateway/discovery"
)

// registry is a catalog under an ID of its own, because the ID of a source may be equal.
type registry struct{ discovery.Catalog }

// ID implements discovery.Source.
func (r registry) ID() string { return "catalog " + r.Catalog.ID() }

// division divides the list of a registry among its services. It belongs to the feed of the
// registry, so all configs share it. A change wakes only those who watch a service that it affects.
type division struct {
	mu       sync.Mutex
	state    discovery.State    // of the whole registry
	services map[string]*listed // by name
	unnamed  []discovery.Skipped
	watchers map[*divisionWatch]struct{}
}

// listed is a service of a registry. It is immutable, and stays the same while nothing about the
// service changes.
type listed struct {
	name string
	// created is the age of the service: the smallest Created of its endpoints.
	created              int64
	endpoints, withdrawn []discovery.Endpoint
}

// divisionWatch wakes somebody when a service changes, or any service if the name is "".
type divisionWatch struct {
	service string
	wake    chan struct{} // capacity 1
}

func newDivision() *division {
	return &division{services: make(map[string]*listed), watchers: make(map[*divisionWatch]struct{})}
}

// watch returns a channel that gets a signal when the service or the state of the registry changes.
// If the service is "", it gets one when any service does.
func (d *division) watch(service string) (wake <-chan struct{}, stop func()) {
	w := &divisionWatch{service, make(chan struct{}, 1)}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.watchers[w] = struct{}{}
	return w.wake, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.watchers, w)
	}
}

// update takes a list of the registry.
func (d *division) update(s discovery.State) {
	next, unnamed := divide(&s)
	d.mu.Lock()
	defer d.mu.Unlock()
	changed := make(map[string]bool)
	for name, l := range next {
		if old := d.services[name]; old != nil && old.same(l) {
			next[name] = old
		} else {
			changed[name] = true
		}
	}
	for name := range d.services {
		if next[name] == nil {
			changed[name] = true
		}
	}
	all := !sameStatus(&d.state, &s)
	d.state, d.services, d.unnamed = s, next, unnamed
	for w := range d.watchers {
		if all || changed[w.service] || w.service == "" && len(changed) > 0 {
			signal(w.wake)
		}
	}
}

// sameStatus reports whether two states differ at most in their lists and in when the registry
// answered.
func sameStatus(a, b *discovery.State) bool {
	return a.Synced == b.Synced && a.Stale == b.Stale && a.Hold == b.Hold && a.Snapshot.Equal(b.Snapshot) && errorText(a.Err) == errorText(b.Err)
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// divide groups the endpoints of a list by their service. Endpoints without the name of a service,
// or with a bad one, are left out.
func divide(s *discovery.State) (map[string]*listed, []discovery.Skipped) {
	services := make(map[string]*listed)
	var unnamed []discovery.Skipped
	for _, e := range s.Endpoints {
		l := services[e.Service]
		if l == nil {
			if err := discovery.CheckService(e.Service); err != nil {
				unnamed = append(unnamed, discovery.Skipped{ID: e.ID, Reason: err.Error()})
				continue
			}
			l = &listed{name: e.Service, created: e.Created}
			services[e.Service] = l
		}
		l.created = min(l.created, e.Created)
		l.endpoints = append(l.endpoints, e)
	}
	for _, e := range s.Withdrawn {
		l := services[e.Service]
		if l == nil { // All its instances were taken out.
			l = &listed{name: e.Service}
			services[e.Service] = l
		}
		l.withdrawn = append(l.withdrawn, e)
	}
	return services, unnamed
}

func (l *listed) same(other *listed) bool {
	return l.created == other.created && slices.EqualFunc(l.endpoints, other.endpoints, sameEndpoint) &&
		slices.EqualFunc(l.withdrawn, other.withdrawn, sameEndpoint)
}

func sameEndpoint(a, b discovery.Endpoint) bool {
	return a.ID == b.ID && a.Addr == b.Addr && a.Weight == b.Weight && a.Registration == b.Registration && maps.Equal(a.Metadata, b.Metadata)
}

// all returns the services that have instances, oldest first, and the state of the registry.
func (d *division) all() ([]*listed, discovery.State) {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make([]*listed, 0, len(d.services))
	for _, l := range d.services {
		if len(l.endpoints) > 0 {
			all = append(all, l)
		}
	}
	slices.SortFunc(all, func(a, b *listed) int {
		return cmp.Or(cmp.Compare(a.created, b.created), cmp.Compare(a.name, b.name))
	})
	return all, d.state
}

// skipped returns the entries of the registry that are no instance of any service.
func (d *division) skipped() []discovery.Skipped {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Concat(d.state.Skipped, d.unnamed)
}

// of returns what a source of this service alone would publish.
func (d *division) of(service string, f *filter) discovery.State {
	d.mu.Lock()
	s, l := d.state, d.services[service]
	d.mu.Unlock()
	s.Endpoints, s.Withdrawn, s.Skipped = nil, nil, nil
	if l != nil {
		s.Endpoints, s.Withdrawn = l.endpoints, l.withdrawn
		if len(f.require) > 0 {
			s.Endpoints = slices.DeleteFunc(slices.Clone(l.endpoints), func(e discovery.Endpoint) bool { return !f.wants(&e) })
		}
	}
	return s
}

// part is a source of the instances of one service of a catalog. It has no watch of its own.
type part struct {
	whole   *sharedFeed
	service string
	filter  *filter // It outlives the config, so it refers to nothing else of it.
}

// ID implements discovery.Source.
func (p *part) ID() string {
	return p.whole.key + " service " + strconv.Quote(p.service) + p.filter.key()
}

// Watch implements discovery.Source.
func (p *part) Watch(ctx context.Context, publish func(discovery.State)) {
	wake, stop := p.whole.division.watch(p.service)
	defer stop()
	for {
		publish(p.whole.division.of(p.service, p.filter))
		select {
		case <-ctx.Done():
			return
		case <-wake:
		}
	}
}

// signal wakes the reader of a channel of capacity 1, once for any number of signals.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Interface guard.
var _ discovery.Source = (*part)(nil)
