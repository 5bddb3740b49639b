package pool

import (
	"cmp"
	"slices"
	"time"

	"google.golang.org/grpc/connectivity"
)

// Snapshot is what the admin API shows of a pool. Its JSON is public.
type Snapshot struct {
	// Leases is the number of calls in flight or waiting for an instance.
	Leases int `json:"leases"`
	// Retiring is true if no config uses the pool any more. Its last calls finish.
	Retiring bool `json:"retiring,omitempty"`
	// Picks counts the calls given to instances. Instances that are gone count as well.
	Picks uint64 `json:"picks"`
	// Failures counts those calls that ended with UNAVAILABLE, DEADLINE_EXCEEDED, INTERNAL or
	// DATA_LOSS.
	Failures uint64 `json:"failures"`
	// Connects counts the connections made since the start.
	Connects uint64 `json:"connects"`
	// Retries counts the calls that were made again at another instance.
	Retries uint64 `json:"retries"`
	// Ejections counts the ejections since the start.
	Ejections uint64 `json:"ejections"`
	// Down says why no instance takes calls. It is absent while one does, and in the first moments
	// without one.
	Down string `json:"down,omitempty"`
	// DownSince is when the last instance was lost, or when the first was expected.
	DownSince time.Time `json:"down_since,omitzero"`
	// Held is the number of instances in use that vanished from the registry in a suspicious way.
	Held int `json:"held,omitempty"`
	// Subset is nil if every instance is used.
	Subset *SubsetSnapshot `json:"subset,omitempty"`
	// LastError is the last error of connecting, while instances are failing.
	LastError string `json:"last_error,omitempty"`
	// Endpoints are sorted by address.
	Endpoints []EndpointSnapshot `json:"endpoints"`
}

// State is the state of an instance, for operators. See docs/pool.md for what each state means.
type State string

// The states. Calls go to instances that are READY or held.
const (
	StateIdle       State = "IDLE"
	StateConnecting State = "CONNECTING"
	StateReady      State = "READY"
	StateFailing    State = "TRANSIENT_FAILURE"
	StateUnhealthy  State = "unhealthy"
	StateEjected    State = "ejected"
	StateHeld       State = "held"
	StateDraining   State = "draining"
)

// EndpointSnapshot is one endpoint of a Snapshot.
type EndpointSnapshot struct {
	Address string   `json:"address"`
	IDs     []string `json:"ids"`
	// Weight is the registered weight. 0: the registry does not say.
	Weight uint32 `json:"weight"`
	State  State  `json:"state"`
	// Connections is the number of connections that are READY.
	Connections int `json:"connections"`
	// WireConnections is the number of those that use the transport "wire".
	WireConnections int `json:"wire_connections,omitempty"`
	// Connects counts the connections made since the endpoint was added.
	Connects uint64 `json:"connects"`
	InFlight int64  `json:"in_flight"`
	Picks    uint64 `json:"picks"`
	Failures uint64 `json:"failures"`
	// Health is what the instance answers to health checks, or why that is not known.
	Health string `json:"health,omitempty"`
	// LastError says what is wrong with the instance. It is absent once the instance works again.
	LastError string `json:"last_error,omitempty"`
	// LastErrorAt is when LastError was last seen. It is absent once the instance works again.
	LastErrorAt time.Time `json:"last_error_at,omitzero"`
	// Since is when the state began.
	Since time.Time `json:"since"`
}

// totals are counts of endpoints that are gone.
type totals struct{ picks, failures uint64 }

// snapshot returns the balancer's part of a Snapshot.
func (b *balancer) snapshot() Snapshot {
	b.lock()
	defer b.unlock()
	s := Snapshot{
		Picks: b.past.picks, Failures: b.past.failures, Connects: b.connects, Ejections: b.ejections, Held: b.hold.held,
		Endpoints: make([]EndpointSnapshot, 0, b.active),
	}
	if b.lastError != nil && b.failing > 0 {
		s.LastError = b.lastError.Error()
	}
	if b.outage.down {
		s.Down, s.DownSince = b.outage.why, b.outage.watched
	}
	if b.settings.Subset > 0 {
		s.Subset = &SubsetSnapshot{Known: b.registered, InUse: b.active}
	}
	for _, ep := range b.endpoints {
		e := ep.snapshot()
		s.Picks += e.Picks
		s.Failures += e.Failures
		if !ep.inUse && !ep.draining.Load() {
			continue
		}
		s.Endpoints = append(s.Endpoints, e)
	}
	slices.SortFunc(s.Endpoints, func(x, y EndpointSnapshot) int { return cmp.Compare(x.Address, y.Address) })
	return s
}

// snapshot returns the endpoint's part of a Snapshot.
//
// Caller must hold b.mu.
func (ep *endpoint) snapshot() EndpointSnapshot {
	s := EndpointSnapshot{
		Address: ep.addr, IDs: make([]string, 0, len(ep.registrations)), Weight: ep.weight,
		State: State(ep.state.String()), Since: ep.since, Connects: ep.connects,
		InFlight: ep.InFlight.Load(), Picks: ep.picks.Load(), Failures: ep.failures.Load(),
	}
	for _, r := range ep.registrations {
		s.IDs = append(s.IDs, r.id)
	}
	for _, c := range ep.conns {
		if c.state != connectivity.Ready {
			continue
		}
		if s.Connections++; c.transport() == TransportWire {
			s.WireConnections++
		}
	}
	if last := ep.lastError.Load(); last != nil {
		s.LastError, s.LastErrorAt = last.text, last.at
	}
	if ep.silence.stalled {
		s.LastError = stalledText // this says more than the deadlines of calls that waited there
	}
	s.Health = ep.health()
	switch {
	case !ep.inUse:
		s.State = StateDraining
	case ep.connected && !ep.usable && s.Health == healthNoAnswer:
		s.State = StateConnecting
	case ep.connected && !ep.usable:
		s.State = StateUnhealthy
	case ep.ejected:
		s.State = StateEjected
	case ep.held:
		s.State = StateHeld
	}
	return s
}
