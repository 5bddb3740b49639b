package module

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-grpc/gateway/discovery"
	"github.com/caddy-grpc/gateway/internal/netpolicy"
	"github.com/caddy-grpc/gateway/internal/pool"
)

const (
	// goneFor is how long a service stays open after its last instance has gone. Clients of a
	// service that restarts get 503 meanwhile, and not 404. `hold` may make it longer.
	goneFor = 5 * time.Second
	// openAtOnce is how many services are opened before their routes are made known. A start with
	// hundreds of services does not make the first one wait for the last.
	openAtOnce = 32
	// lookEvery is how often services that have gone are looked at.
	lookEvery = time.Second
)

// catalog is the run-time form of a Catalog in one config. Its services come and go while the
// config is in force. What is shared, such as connections, outlives the config as that of any
// upstream does.
type catalog struct {
	name        string
	opened      time.Time
	limit       int
	idle        time.Duration
	filter      *filter
	settings    pool.Settings // of each upstream, with the three fields below
	tlsID       string
	networks    *netpolicy.Policy
	descriptors *Descriptors
	files       descriptorFiles
	timeout     time.Duration
	hashKey     string
	snapshot    bool
	feed        *sharedFeed // of the registry, with a reference
	log         *zap.Logger

	wake   chan struct{} // capacity 1: a schema was read
	cancel context.CancelFunc
	done   chan struct{} // closed when run has ended; nil before start
	// changed is called after each change of the services or of their schemas.
	changed func()

	mu       sync.Mutex
	services map[string]*service
	order    []*service // those of services, oldest first; a new slice at each change
	waiting  []*listed  // beyond the limit
	left     int        // services that the filter leaves out
	known    bool       // the registry was listed once, and the services of that list are open
	closed   bool
	// first are the services of the first list whose schema is being read.
	first []*service
	// settled is closed when the schemas of the first list were read, or could not be.
	settled chan struct{}
	notify  []func() // subscribers, by index; nil: gone
}

// openCatalog checks and compiles the config of a catalog, and takes a reference on the feed of its
// registry. It opens the services that another config knows already. It uses no network.
func openCatalog(ctx caddy.Context, name string, config *Catalog) (*catalog, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	mod, err := ctx.LoadModule(config, "RegistryRaw")
	if err != nil {
		return nil, fmt.Errorf("registry: %w", err)
	}
	source, ok := mod.(discovery.Catalog)
	if !ok {
		return nil, fmt.Errorf("registry: module %T is not a catalog of services", mod)
	}
	u := config.upstream()
	settings, tlsID, err := compileSettings(ctx, u)
	if err != nil {
		return nil, fmt.Errorf("upstream: %w", err)
	}
	files, err := findDescriptorFiles(ctx, u.Descriptors)
	if err != nil {
		return nil, fmt.Errorf("upstream: descriptors: %w", err)
	}
	c := &catalog{
		name:        name,
		opened:      time.Now(),
		limit:       cmp.Or(config.Limit, defaultLimit),
		idle:        time.Duration(config.Idle),
		filter:      &filter{config.Include, config.Exclude, config.Require},
		settings:    settings,
		tlsID:       tlsID,
		networks:    u.Networks.compile(source),
		descriptors: u.Descriptors,
		files:       files,
		timeout:     time.Duration(u.Timeout),
		hashKey:     u.HashKey,
		snapshot:    u.Snapshot == nil || *u.Snapshot,
		feed:        acquireCatalogFeed(registry{source}),
		log:         lastingLog().With(zap.String("catalog", name)),
		wake:        make(chan struct{}, 1),
		changed:     func() {},
		services:    make(map[string]*service),
		settled:     make(chan struct{}),
	}
	c.sync(time.Now(), c.limit)
	return c, nil
}

// start begins to watch the registry, to connect and to read schemas.
func (c *catalog) start(changed func()) {
	c.feed.start()
	ctx, cancel := context.WithCancel(context.Background())
	c.mu.Lock()
	c.cancel, c.changed, c.done = cancel, changed, make(chan struct{})
	for _, s := range c.order {
		s.start(func() { signal(c.wake) })
	}
	c.mu.Unlock()
	go c.run(ctx)
}

// close gives everything back. The services stay open if another config has them.
func (c *catalog) close() {
	if c.done != nil {
		c.cancel()
		<-c.done
	}
	c.mu.Lock()
	services := c.order
	c.services, c.order, c.first, c.closed = nil, nil, nil, true
	c.mu.Unlock()
	for _, s := range services {
		s.close()
	}
	c.feed.release()
}

// run follows the registry until ctx is done.
func (c *catalog) run(ctx context.Context) {
	defer close(c.done)
	listed, stop := c.feed.division.watch("")
	defer stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-listed:
		case <-c.wake:
		case <-timer.C:
		}
		timer.Reset(c.step(time.Now()))
	}
}

// step brings the services up to date, and returns when to do so again if nothing happens.
func (c *catalog) step(now time.Time) time.Duration {
	change := c.sync(now, openAtOnce)
	next := c.review(now)
	if change.more {
		next = time.Millisecond
	}
	c.rest(now)
	if len(change.added)+len(change.removed) > 0 {
		c.changed()
		c.tell(change)
	}
	c.mu.Lock()
	notify := slices.Clone(c.notify)
	c.mu.Unlock()
	for _, fn := range notify {
		if fn != nil {
			fn()
		}
	}
	return next
}

// change is what a sync has changed. more says that there are further services to open.
type change struct {
	added, removed []*service
	more           bool
}

// sync opens the services that the registry has, up to a number, and closes those that have gone.
func (c *catalog) sync(now time.Time, most int) (what change) {
	all, state := c.feed.division.all()
	if !state.Synced {
		return what
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	wanted := make([]*listed, 0, len(all))
	present := make(map[string]bool, len(all))
	for _, l := range all {
		if c.filter.allows(l.name) && slices.ContainsFunc(l.endpoints, func(e discovery.Endpoint) bool { return c.filter.wants(&e) }) {
			wanted = append(wanted, l)
			present[l.name] = true
		}
	}
	c.left = len(all) - len(wanted)
	for _, s := range c.order {
		c.noteGone(s, present[s.name], &state, now)
		if !s.gone.IsZero() && sure(&state) && s.mayClose(now) {
			delete(c.services, s.name)
			what.removed = append(what.removed, s)
		}
	}
	c.waiting = nil
	older := false // the age of a service was corrected
	for _, l := range wanted {
		if s := c.services[l.name]; s != nil {
			older = older || l.created < s.created
			s.created = min(s.created, l.created)
			continue
		}
		if len(c.services) >= c.limit {
			c.waiting = append(c.waiting, l)
			continue
		}
		if what.more = len(what.added) == most; what.more {
			break
		}
		s, err := c.open(l)
		if err != nil { // Only files can be wrong, and then reflection takes their place.
			c.log.Error("cannot open a service", zap.String("service", l.name), zap.Error(err))
			continue
		}
		c.services[l.name] = s
		what.added = append(what.added, s)
		if c.done != nil {
			s.start(func() { signal(c.wake) })
		}
	}
	if older || len(what.added)+len(what.removed) > 0 {
		c.reorder()
	}
	for _, s := range what.removed {
		s.close()
	}
	if !c.known && !what.more {
		c.known, c.first = true, c.order
	}
	return what
}

// sure reports whether the registry is well. Otherwise its list is kept, and nobody leaves.
func sure(s *discovery.State) bool { return s.Err == nil && !s.Stale }

// noteGone notes whether a service has instances.
func (c *catalog) noteGone(s *service, present bool, state *discovery.State, now time.Time) {
	switch {
	case present:
		s.gone = time.Time{}
	case s.gone.IsZero() || !sure(state):
		s.gone = now
	}
}

// reorder sorts the services by age. Caller must hold c.mu.
func (c *catalog) reorder() {
	order := make([]*service, 0, len(c.services))
	for _, s := range c.services {
		order = append(order, s)
	}
	slices.SortFunc(order, func(a, b *service) int {
		return cmp.Or(cmp.Compare(a.created, b.created), cmp.Compare(a.name, b.name))
	})
	c.order = order
}

// review looks at the state of the services, and returns when to look again.
func (c *catalog) review(now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := time.Minute
	if c.idle > 0 {
		next = min(next, max(c.idle/4, 250*time.Millisecond))
	}
	for _, s := range c.order {
		state, reason := s.status()
		switch {
		case state == serviceLeaving:
			next = min(next, lookEvery)
		case state == serviceFailed && !s.told:
			s.told = true
			unusable.add(s.upstream.label(), zap.String("reason", discovery.Printable(reason)))
		case state == serviceServing:
			s.told = false
		}
	}
	c.settle()
	return next
}

// settle closes settled when the schemas of the first list were read. Caller must hold c.mu.
func (c *catalog) settle() {
	if !c.known {
		return
	}
	c.first = slices.DeleteFunc(slices.Clone(c.first), func(s *service) bool {
		return s.settled() || c.services[s.name] != s || s.upstream.schema.current() != nil
	})
	if len(c.first) == 0 {
		select {
		case <-c.settled:
		default:
			close(c.settled)
		}
	}
}

// tell logs which services have come and gone, and posts an event for each.
func (c *catalog) tell(what change) {
	for _, s := range what.added {
		servicesAdded.add(s.upstream.label())
		c.post(eventServiceAdded, s)
	}
	for _, s := range what.removed {
		servicesRemoved.add(s.upstream.label())
		c.post(eventServiceRemoved, s)
	}
	pools.servicesAdded.WithLabelValues(c.name).Add(float64(len(what.added)))
	pools.servicesRemoved.WithLabelValues(c.name).Add(float64(len(what.removed)))
}

func (c *catalog) post(event string, s *service) {
	if bus.any() {
		bus.post(occurrence{event, c, map[string]any{"catalog": c.name, "service": s.name, "upstream": s.upstream.label()}})
	}
}

// subscribe makes fn be called after each change of the services or of their schemas. It must not
// block.
func (c *catalog) subscribe(fn func()) (stop func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := len(c.notify)
	c.notify = append(c.notify, fn)
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.notify[i] = nil
	}
}

// upstreams returns the upstreams of the services that are open, oldest first.
func (c *catalog) upstreams() []*upstream {
	order := c.all()
	all := make([]*upstream, len(order))
	for i, s := range order {
		all[i] = s.upstream
	}
	return all
}

// all returns the services that are open, oldest first.
func (c *catalog) all() []*service {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.order
}

// count returns the number of services by state.
func (c *catalog) count() map[string]int {
	n := map[string]int{serviceServing: 0, serviceReading: 0, serviceFailed: 0, serviceLeaving: 0, serviceWaiting: 0}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.order {
		state, _ := s.status()
		n[state]++
	}
	n[serviceWaiting] = len(c.waiting)
	return n
}

// label names the catalog where an upstream has its label.
func (c *catalog) label() string { return "catalog:" + c.name }

// trouble says why no service is known, in words for operators.
func (c *catalog) trouble() string {
	switch state := c.feed.state(); {
	case state.Err != nil:
		return state.Err.Error()
	case state.Synced:
		return "its services are being opened"
	default:
		return "the registry has not answered yet"
	}
}

// members returns what the catalog adds to a table: the services whose methods are known, and what
// is not known yet. A service that comes later is missing until its methods are known, so that
// nobody can make unknown paths pending.
func (c *catalog) members() []member {
	c.mu.Lock()
	defer c.mu.Unlock()
	settled := false
	select {
	case <-c.settled:
		settled = true
	default:
	}
	all := make([]member, 0, len(c.order)+1)
	for _, s := range c.order {
		m := member{upstream: s.upstream, label: s.upstream.label(), schema: s.upstream.schema.current(), listed: true}
		if m.schema == nil {
			if settled || s.settled() {
				continue
			}
			m.pending = s.upstream.schema.pending()
		}
		all = append(all, m)
	}
	if !c.known && !c.closed {
		all = append(all, member{catalog: c, label: c.label(), pending: "the services are not known yet", listed: true})
	}
	return all
}
