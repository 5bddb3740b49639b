package pool

import (
	"cmp"
	"slices"
	"time"

	"google.golang.org/grpc/connectivity"
)

// Snapshot is what the admin API shows of a pool. Its JSON is public.
type Snapshot struct {
	// Calls in flight or waiting for an instance.
	Leases int `json:"leases"`
	// No config uses it any more; its last calls finish.
	Retiring bool `json:"retiring,omitempty"`
	// Calls given to instances, those that are gone included.
	Picks uint64 `json:"picks"`
	// Of those, how many ended with UNAVAILABLE, DEADLINE_EXCEEDED, INTERNAL or DATA_LOSS.
	Failures  uint64 `json:"failures"`
	Connects  uint64 `json:"connects"`  // connections made since the start
	Retries   uint64 `json:"retries"`   // calls made again at another instance
	Ejections uint64 `json:"ejections"` // instances ejected since the start
	// Instances in use that vanished from the registry in a suspicious way.
	Held      int                `json:"held,omitempty"`
	Subset    *SubsetSnapshot    `json:"subset,omitempty"` // nil: every instance is used
	LastError string             `json:"last_error,omitempty"`
	Endpoints []EndpointSnapshot `json:"endpoints"` // by address
}

// State is that of an instance for operators. docs/pool.md says what each means.
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
	Address     string   `json:"address"`
	IDs         []string `json:"ids"`
	Weight      uint32   `json:"weight"` // 0: the registry does not say
	State       State    `json:"state"`
	Connections int      `json:"connections"`
	Connects    uint64   `json:"connects"` // connections made since it was added
	InFlight    int64    `json:"in_flight"`
	Picks       uint64   `json:"picks"`
	Failures    uint64   `json:"failures"`
	// Health is what the instance answers to health checks, or why that is not known.
	Health string `json:"health,omitempty"`
	// LastError is what is wrong with the instance, and LastErrorAt since when the last sign of it
	// is known. Both are absent once the instance works again.
	LastError   string    `json:"last_error,omitempty"`
	LastErrorAt time.Time `json:"last_error_at,omitzero"`
	Since       time.Time `json:"since"` // of the state
}

// totals are counts that outlive the endpoints they belong to.
type totals struct{ picks, failures uint64 }

// snapshot is the balancer's part of a Snapshot.
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
		if c.state == connectivity.Ready {
			s.Connections++
		}
	}
	if last := ep.lastError.Load(); last != nil {
		s.LastError, s.LastErrorAt = last.text, last.at
	}
	if ep.silence.stalled {
		s.LastError = stalledText // that calls run into their deadlines there says less
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
