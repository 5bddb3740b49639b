package consul

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/caddy-grpc/gateway/discovery"
)

// A catalog follows the list of services by one blocking query, and each service by one more. An
// agent takes 200 connections of one client address by default, so the queries are limited. If
// there are more services than that, they take turns.

const (
	// firstReads is how many services are read for the first time at once. These queries do not
	// block, and so do not wait for those that do.
	firstReads = 8
	// turn is how long Consul may hold a query if services take turns.
	turn = time.Second
	// patience is how often in a row a service may fail to be read, while the list of services can
	// be had. From then on the others do not wait for it. With the backoff it is about 90 s.
	patience = 8
	// own is the name under which Consul's servers register themselves.
	own = "consul"
)

// registry is what a catalog asks Consul. Both questions block until there is something newer than
// index, for wait at most.
type registry struct {
	services  func(ctx context.Context, index uint64, wait time.Duration) (map[string][]string, *api.QueryMeta, error)
	instances func(ctx context.Context, service string, index uint64, wait time.Duration) ([]*api.ServiceEntry, *api.QueryMeta, error)
}

// catalog follows all services. It is used for one run.
type catalog struct {
	registry registry
	// tags are those that a service must have to be followed, all of them.
	tags []string
	// blocking has room for the queries that block, and reading for those that do not.
	blocking, reading chan struct{}
	// dirty has a value if there is something to publish.
	dirty chan struct{}

	followers sync.WaitGroup

	mu      sync.Mutex
	known   map[string]*followed // by name
	refused []discovery.Skipped  // names that cannot be asked for
	state   discovery.State      // without the lists, which publish collects
	// long ends the queries that may block for waitTime, when there are too many of them. Nil: the
	// services take turns already.
	long    context.Context //nolint:containedctx // It is that of many queries.
	endLong context.CancelFunc
}

// followed is a service that is followed.
type followed struct {
	cancel context.CancelFunc
	// again is closed and replaced when Consul is well again: the service is to be read at once.
	again chan struct{}

	// read says that Consul has answered, if only that it does not tell.
	read bool
	list list
	err  error
	// failures counts the errors in a row while the list of services could be had.
	failures int
}

func newCatalog(r registry, tags []string, queries int) *catalog {
	return &catalog{
		registry: r, tags: tags, blocking: make(chan struct{}, queries), reading: make(chan struct{}, firstReads),
		dirty: make(chan struct{}, 1), known: make(map[string]*followed),
	}
}

// run follows Consul until ctx is done.
func (c *catalog) run(ctx context.Context, publish func(discovery.State)) {
	c.long, c.endLong = context.WithCancel(ctx)
	c.followers.Go(func() { c.followServices(ctx) })
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-c.dirty:
			if s, ok := c.collect(); ok {
				publish(s)
			}
		}
	}
	c.followers.Wait() // The list of services has ended before, so none is added.
	c.endLong()
}

// changed tells run that there is something to publish.
func (c *catalog) changed() {
	select {
	case c.dirty <- struct{}{}:
	default:
	}
}

// followServices follows the list of services.
func (c *catalog) followServices(ctx context.Context) {
	var p poller
	for ctx.Err() == nil {
		asked := time.Now()
		var found map[string][]string
		meta, err := p.ask(ctx, waitTime, func(ctx context.Context, index uint64) (meta *api.QueryMeta, err error) {
			found, meta, err = c.registry.services(ctx, index, waitTime)
			return meta, err
		})
		if ctx.Err() != nil {
			return
		}
		c.mu.Lock()
		if err != nil {
			c.state.Err = fmt.Errorf("asking Consul for the services: %w", err)
		} else {
			c.setServices(ctx, found, meta)
		}
		c.mu.Unlock()
		c.changed()
		p.rest(ctx, asked, err, nil)
	}
}

// setServices takes the list of services, which Consul has just told.
//
// Caller must hold c.mu.
func (c *catalog) setServices(ctx context.Context, found map[string][]string, meta *api.QueryMeta) {
	recovered := c.state.Err != nil
	c.state.Err = nil
	c.state.LastContact = time.Now()
	c.state.Stale = !meta.KnownLeader
	c.state.Revision = int64(meta.LastIndex) // An index of raft.
	c.refused = nil
	names := make(map[string]bool, len(found))
	for name, tags := range found {
		if name == own || !hasAll(tags, c.tags) {
			continue
		}
		if err := checkName(name); err != nil {
			c.refused = append(c.refused, discovery.Skipped{ID: name, Reason: err.Error()})
			continue
		}
		names[name] = true
	}
	for name, f := range c.known {
		switch {
		case !names[name]:
			f.cancel()
			delete(c.known, name)
		case recovered:
			f.failures = 0
			close(f.again)
			f.again = make(chan struct{})
		}
	}
	for name := range names {
		if c.known[name] == nil {
			c.follow(ctx, name)
		}
	}
	c.setTurns(ctx)
}

// checkName returns an error if Consul cannot be asked for the service: the name becomes a part of
// a path, and must not make it another one.
func checkName(name string) error {
	if err := discovery.CheckService(name); err != nil {
		return err
	}
	if strings.ContainsAny(name, `/?#%\`) || strings.Trim(name, ".") == "" {
		return fmt.Errorf("expected the name of a service that can be a part of a path, found %s", discovery.Excerpt(name))
	}
	return nil
}

func hasAll(tags, wanted []string) bool {
	return !slices.ContainsFunc(wanted, func(tag string) bool { return !slices.Contains(tags, tag) })
}

// setTurns lets services take turns while there are more of them than queries that may block.
//
// Caller must hold c.mu.
func (c *catalog) setTurns(ctx context.Context) {
	many := len(c.known) > cap(c.blocking)
	switch {
	case many && c.long != nil:
		c.endLong()
		c.long = nil
	case !many && c.long == nil:
		c.long, c.endLong = context.WithCancel(ctx)
	}
}

// follow begins to follow a service.
//
// Caller must hold c.mu.
func (c *catalog) follow(ctx context.Context, name string) {
	ctx, cancel := context.WithCancel(ctx)
	f := &followed{cancel: cancel, again: make(chan struct{})}
	c.known[name] = f
	c.followers.Go(func() {
		defer cancel()
		c.followService(ctx, name, f)
	})
}

// followService follows the instances of a service.
func (c *catalog) followService(ctx context.Context, name string, f *followed) {
	var p poller
	again := c.signal(f)
	for ctx.Err() == nil {
		asked := time.Now()
		entries, err := c.askInstances(ctx, name, &p)
		if ctx.Err() != nil {
			return
		}
		if !errors.Is(err, errTurns) {
			c.setInstances(name, f, entries, err)
		} else {
			err = nil
		}
		p.rest(ctx, asked, err, again)
		if next := c.signal(f); next != again {
			// Consul was away. Its index may mean something else now, and the answer should come at
			// once, to show that all is well.
			again, p = next, poller{}
		}
	}
}

func (c *catalog) signal(f *followed) chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return f.again
}

// errTurns ends a query because services have begun to take turns.
var errTurns = errors.New("the services take turns now")

// askInstances asks for the instances of a service, when there is room.
func (c *catalog) askInstances(ctx context.Context, name string, p *poller) (entries []*api.ServiceEntry, err error) {
	room := c.blocking
	if p.index == 0 {
		room = c.reading
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case room <- struct{}{}:
	}
	defer func() { <-room }()
	c.mu.Lock()
	long := c.long
	c.mu.Unlock()
	wait := turn
	query, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	index := p.index
	if long != nil {
		wait = waitTime
		defer context.AfterFunc(long, func() { cancel(errTurns) })()
	}
	_, err = p.ask(query, wait, func(ctx context.Context, index uint64) (meta *api.QueryMeta, err error) {
		entries, meta, err = c.registry.instances(ctx, name, index, wait)
		return meta, err
	})
	if err != nil && ctx.Err() == nil && errors.Is(context.Cause(query), errTurns) {
		p.index = index
		return nil, errTurns
	}
	return entries, err
}

// setInstances takes what Consul said of a service. An error keeps the last list.
func (c *catalog) setInstances(name string, f *followed, entries []*api.ServiceEntry, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.changed()
	if err == nil {
		f.read, f.err, f.failures, f.list = true, nil, 0, convertService(name, entries)
		c.state.LastContact = time.Now()
		return
	}
	var status api.StatusError
	refused := errors.As(err, &status) && (status.Code == http.StatusBadRequest || status.Code == http.StatusNotFound)
	if c.state.Err == nil {
		f.failures++
	}
	if !refused && f.failures < patience {
		f.err = fmt.Errorf("asking Consul for the instances of %s: %w", name, err)
		return
	}
	// Only this service cannot be had.
	f.read, f.err = true, nil
	f.list.skipped = []discovery.Skipped{{ID: name, Reason: err.Error()}}
}

// collect returns the state. It is false while a list is not complete and there is no trouble:
// there is nothing to say yet.
func (c *catalog) collect() (discovery.State, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.state
	complete := !s.LastContact.IsZero()
	var all list
	all.skipped = slices.Clone(c.refused)
	for _, name := range slices.Sorted(maps.Keys(c.known)) {
		f := c.known[name]
		s.Err = cmp.Or(s.Err, f.err)
		// A newcomer that was not read yet does not hold up the others.
		complete = complete && (f.read || c.state.Synced)
		all.endpoints = append(all.endpoints, f.list.endpoints...)
		all.withdrawn = append(all.withdrawn, f.list.withdrawn...)
		all.skipped = append(all.skipped, f.list.skipped...)
	}
	if s.Err != nil {
		// The last good list stays. The next one shows what has changed meanwhile.
		return s, true
	}
	if !complete {
		return s, false
	}
	slices.SortFunc(all.endpoints, byID)
	slices.SortFunc(all.withdrawn, byID)
	slices.SortFunc(all.skipped, func(a, b discovery.Skipped) int { return cmp.Compare(a.ID, b.ID) })
	s.Synced, s.Endpoints, s.Withdrawn, s.Skipped = true, all.endpoints, all.withdrawn, all.skipped
	c.state = s
	return s, true
}

// convertService makes the list of one service of a catalog. Its name makes the IDs of its
// instances unique. What Consul's service mesh registers beside a service is not an instance.
func convertService(name string, entries []*api.ServiceEntry) list {
	entries = slices.DeleteFunc(entries, func(e *api.ServiceEntry) bool {
		return e != nil && e.Service != nil && e.Service.Kind != api.ServiceKindTypical
	})
	l := convert(entries)
	for _, endpoints := range [][]discovery.Endpoint{l.endpoints, l.withdrawn} {
		for i := range endpoints {
			e := &endpoints[i]
			e.ID, e.Service, e.Created = name+"/"+e.ID, name, e.Registration
		}
	}
	for i := range l.skipped {
		l.skipped[i].ID = name + "/" + l.skipped[i].ID
	}
	return l
}
