package module

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-grpc/gateway/internal/pool"
)

// pools collects what pools and registries know when a scrape asks for it.
var pools = &poolCollector{
	inFlight:    newGauge("in_flight", "Calls in flight or waiting for an instance.", "upstream"),
	endpoints:   newGauge("endpoints", "Instances by state, as in the admin API.", "upstream", "state"),
	connections: newGauge("connections", "Connections by state.", "upstream", "state"),
	transports:  newGauge("transport_connections", "READY connections by transport, grpc or wire.", "upstream", "transport"),
	lastContact: newGauge("registry_last_contact_seconds", "Time since the registry last answered.", "upstream"),
	down:        newGauge("upstream_down", "1 while no instance takes calls, else 0.", "upstream"),
	stale:       newGauge("registry_stale", "1 while the list of instances may be out of date, else 0.", "upstream"),

	connects:  newCounter("connects_total", "Connections made to instances.", "upstream"),
	retries:   newCounter("retries_total", "Calls made again at another instance.", "upstream"),
	refusals:  newCounter("refusals_total", "Instances and connections refused because of their address.", "upstream"),
	ejections: newCounter("ejections_total", "Instances ejected because calls failed there or were not answered.", "upstream"),
	events:    newCounter("registry_events_total", "Changes of the list of instances or of what is known about it.", "upstream"),

	losses:   newCounter("registry_losses_total", "Times that trouble with the registry began.", "upstream"),
	restores: newCounter("registry_restores_total", "Times that trouble with the registry ended.", "upstream"),
	skipped:  newGauge("registry_skipped_entries", "Entries of the registry that cannot be used.", "upstream"),

	services:        newGauge("catalog_services", "Services of a catalog by state, as in the admin API.", "catalog", "state"),
	servicesAdded:   newCounter("catalog_services_added_total", "Services that a catalog has opened.", "catalog"),
	servicesRemoved: newCounter("catalog_services_removed_total", "Services of a catalog that were retired.", "catalog"),

	carried: make(map[carryKey]uint64),
}

// poolCollector is a prometheus.Collector over the upstreams of the config in force. Upstreams that
// share a pool each show it. Channels come and go with configs, while counts belong to names. So
// Collect adds what a channel has counted since the last time.
type poolCollector struct {
	inFlight, endpoints, connections, transports, down, lastContact, stale *prometheus.Desc
	connects, retries, ejections, refusals, events                         *prometheus.CounterVec
	losses, restores, servicesAdded, servicesRemoved                       *prometheus.CounterVec
	skipped, services                                                      *prometheus.Desc

	mu      sync.Mutex
	carried map[carryKey]uint64 // the counts that have been added
}

// carryKey is a counter of a channel or a feed under the label of an upstream.
type carryKey struct {
	counter *prometheus.CounterVec
	label   string
	of      any // *sharedChannel or *sharedFeed
}

func newGauge(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(metricsNamespace, appName, name), help, labels, nil)
}

func (p *poolCollector) counters() []*prometheus.CounterVec {
	return []*prometheus.CounterVec{
		p.connects, p.retries, p.ejections, p.refusals, p.events, p.losses, p.restores, p.servicesAdded, p.servicesRemoved,
	}
}

// Describe implements prometheus.Collector.
func (p *poolCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{p.inFlight, p.endpoints, p.connections, p.transports, p.down, p.lastContact, p.stale, p.skipped, p.services} {
		ch <- d
	}
	for _, c := range p.counters() {
		c.Describe(ch)
	}
}

// Collect implements prometheus.Collector.
func (p *poolCollector) Collect(ch chan<- prometheus.Metric) {
	if app := running.newest(); app != nil {
		seen := make(map[string]bool)
		for _, u := range app.all() {
			if label := u.label(); !seen[label] {
				seen[label] = true
				p.collect(ch, label, u)
			}
		}
		for _, c := range app.catalogs {
			p.collectCatalog(ch, c)
		}
	}
	for _, c := range draining.all() {
		if s, ok := c.snapshot(); ok {
			p.update(c, &s)
		}
	}
	for _, c := range p.counters() {
		c.Collect(ch)
	}
}

// stateRefused is the state of instances that the networks of the upstream exclude. The pool never
// sees them.
const stateRefused pool.State = "refused"

// metricStates are the states that are shown even if no instance has them.
var metricStates = [...]pool.State{
	pool.StateIdle, pool.StateConnecting, pool.StateReady, pool.StateFailing,
	pool.StateDraining, pool.StateHeld, pool.StateEjected, pool.StateUnhealthy, stateRefused,
}

// collect collects the metrics of one upstream.
func (p *poolCollector) collect(ch chan<- prometheus.Metric, label string, u *upstream) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, append([]string{label}, labels...)...)
	}
	if u.feed.whole == nil { // For a catalog the registry is shown once.
		p.collectRegistry(ch, label, u.feed)
	}
	p.add(p.events, label, u.feed, u.feed.events.Load())
	s, ok := u.channel.snapshot()
	if !ok {
		return
	}
	gauge(p.inFlight, float64(s.Leases))
	down := 0.
	if s.Down != "" {
		down = 1
	}
	gauge(p.down, down)
	states := make(map[pool.State]int, len(metricStates))
	for _, state := range metricStates {
		states[state] = 0
	}
	states[stateRefused] = len(u.channel.admission.views())
	connections, wire := 0, 0
	for i := range s.Endpoints {
		states[s.Endpoints[i].State]++
		connections += s.Endpoints[i].Connections
		wire += s.Endpoints[i].WireConnections
	}
	for state, n := range states {
		gauge(p.endpoints, float64(n), string(state))
	}
	gauge(p.connections, float64(connections), string(pool.StateReady))
	gauge(p.transports, float64(connections-wire), pool.TransportGRPC)
	gauge(p.transports, float64(wire), pool.TransportWire)
	p.add(p.connects, label, u.channel, s.Connects)
	p.add(p.retries, label, u.channel, s.Retries)
	p.add(p.ejections, label, u.channel, s.Ejections)
	p.add(p.refusals, label, u.channel, u.channel.admission.count.Load())
}

// collectRegistry collects the metrics of a registry.
func (p *poolCollector) collectRegistry(ch chan<- prometheus.Metric, label string, f *sharedFeed) {
	gauge := func(d *prometheus.Desc, v float64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, label)
	}
	registry := f.state()
	if last := registry.LastContact; !last.IsZero() {
		gauge(p.lastContact, time.Since(last).Seconds())
	}
	if registry.Synced {
		stale := 0.
		if isStale(registry) {
			stale = 1
		}
		gauge(p.stale, stale)
		skipped := len(registry.Skipped)
		if f.division != nil {
			skipped = len(f.division.skipped())
		}
		gauge(p.skipped, float64(skipped))
	}
	p.add(p.losses, label, f, f.losses.Load())
	p.add(p.restores, label, f, f.restores.Load())
}

// collectCatalog collects the metrics of a catalog and its registry.
func (p *poolCollector) collectCatalog(ch chan<- prometheus.Metric, c *catalog) {
	p.collectRegistry(ch, c.label(), c.feed)
	p.add(p.events, c.label(), c.feed, c.feed.events.Load())
	for state, n := range c.count() {
		ch <- prometheus.MustNewConstMetric(p.services, prometheus.GaugeValue, float64(n), c.name, state)
	}
}

// add brings a counter up to what its source has counted.
func (p *poolCollector) add(counter *prometheus.CounterVec, label string, of any, value uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := carryKey{counter, label, of}
	last := p.carried[key]
	p.carried[key] = max(last, value)
	counter.WithLabelValues(label).Add(float64(max(last, value) - last))
}

// update brings the counters of a channel that no config refers to up to date, under the labels
// that it had.
func (p *poolCollector) update(c *sharedChannel, s *pool.Snapshot) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := map[*prometheus.CounterVec]uint64{p.connects: s.Connects, p.retries: s.Retries, p.ejections: s.Ejections, p.refusals: c.admission.count.Load()}
	for key, last := range p.carried {
		if key.of == any(c) && now[key.counter] > last {
			p.carried[key] = now[key.counter]
			key.counter.WithLabelValues(key.label).Add(float64(now[key.counter] - last))
		}
	}
}

// forget ends the counting of a channel or a feed that has ended.
func (p *poolCollector) forget(of any) {
	if c, ok := of.(*sharedChannel); ok {
		if s, ok := c.snapshot(); ok {
			p.update(c, &s)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for key := range p.carried {
		if key.of == of {
			delete(p.carried, key)
			if isPart(of) {
				forgetUpstream(key.label)
			}
		}
	}
}

// isPart reports whether a channel or a feed is that of a service of a catalog. Their names come
// from a registry, so what is counted under them must end with them.
func isPart(of any) bool {
	switch of := of.(type) {
	case *sharedChannel:
		return of.feed.whole != nil
	case *sharedFeed:
		return of.whole != nil
	}
	return false
}

// forgetUpstream removes what was counted for an upstream.
func forgetUpstream(label string) {
	match := prometheus.Labels{"upstream": label}
	for _, c := range []*prometheus.CounterVec{pools.connects, pools.retries, pools.ejections, pools.refusals, pools.events, requestsTotal} {
		c.DeletePartialMatch(match)
	}
	requestDuration.DeletePartialMatch(match)
}

// Interface guard.
var _ prometheus.Collector = (*poolCollector)(nil)
