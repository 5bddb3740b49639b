package pool

import (
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"
	"google.golang.org/grpc/connectivity"

	"github.com/caddy-grpc/gateway/internal/pool/balance"
	"github.com/caddy-grpc/gateway/internal/pool/wire"
)

// endpoint is an address to call and the connections to it. It lives from its first registration
// until it is drained.
//
// The fields up to the blank line are read and written by calls without the balancer's lock; those
// after it belong to the balancer's mutex.
type endpoint struct {
	// Endpoint is what the policies know of it.
	balance.Endpoint

	addr string
	// Usable connections: READY, and healthy if that is checked; nil or empty: none.
	ready    atomic.Pointer[[]*conn]
	picks    atomic.Uint64
	failures atomic.Uint64
	// lastError is nil once it is over.
	lastError atomic.Pointer[lastError]
	draining  atomic.Bool
	growing   atomic.Bool  // another connection is under way, or there are as many as there may be
	growUntil atomic.Int64 // on the balancer's clock: so long calls that find no room wait for it
	// Open connections, also those that grpc has given up and that have calls in flight.
	wires wire.Set
	cut   atomic.Bool   // its time to drain is over: what was in flight has been ended
	reads atomic.Uint64 // how often something came from it
	calls callList      // in flight

	registrations []registration
	weight        uint32 // the largest of its registrations; 0: the registry does not say
	conns         []*conn
	place         int       // in balancer.ready, -1 when not there
	connected     bool      // it has a READY connection
	usable        bool      // it has one that calls may be given to
	lost          time.Time // when it had such a one for the last time
	warmFrom      time.Time // when it started slowly
	cold          bool      // it is among those that start slowly
	ejected       bool
	ejectedAt     time.Time
	ejections     int       // in a row
	unejected     time.Time // when the last one ended
	// It has connections, or is to have some, and gets calls; false from the moment it drains.
	inUse     bool
	held      bool          // in use without a registration
	heldUntil time.Duration // on the clock of contact
	ranked    bool          // it takes part in choosing a subset
	score     uint64        // in that
	round     uint64        // in which it was chosen last
	waiting   time.Time     // since when it is in use and not usable
	lacking   bool          // for too long
	// No usable connection, and the last attempt of each failed, or its health check.
	failing  bool
	failedAt time.Time // since when
	state    connectivity.State
	since    time.Time // of state, or of draining
	connects uint64    // connections that became READY
	dialled  time.Time // the last time
	silence  silence
}

// lastError is what went wrong with an endpoint, and when.
type lastError struct {
	text string
	at   time.Time
}

// noteError notes an error. A call or a connection that works ends it.
func (ep *endpoint) noteError(err error) { ep.lastError.Store(&lastError{err.Error(), time.Now()}) }

// clearError notes that a call succeeded, or that the endpoint was connected. It is on the way of a call.
func (ep *endpoint) clearError() {
	if ep.lastError.Load() != nil {
		ep.lastError.Store(nil)
	}
}

// registration is an entry of the registry that led to an endpoint.
type registration struct {
	id     string
	weight uint32
}

// newEndpoint returns one without registrations.
func newEndpoint(addr string, now time.Time) *endpoint {
	ep := &endpoint{addr: addr, place: -1, since: now}
	ep.Seed = xxhash.Sum64String(addr)
	ep.Capacity = ep
	return ep
}

// HasRoom implements balance.Capacity.
//
// Called on the call path; takes no lock of the balancer.
func (ep *endpoint) HasRoom() bool {
	_, room := ep.pickConn()
	return room
}

// Caller must hold b.mu.
func (ep *endpoint) registered() bool { return len(ep.registrations) > 0 }

// pickConn gives the READY connection with the fewest calls, nil when there is none, and whether it
// takes one more.
//
// Called on the call path; takes no lock of the balancer.
func (ep *endpoint) pickConn() (best *conn, room bool) {
	ready := ep.ready.Load()
	if ready == nil || len(*ready) == 0 {
		return nil, false
	}
	best = (*ready)[0]
	fewest := best.inFlight.Load()
	for _, c := range (*ready)[1:] {
		if n := c.inFlight.Load(); n < fewest {
			best, fewest = c, n
		}
	}
	limit := best.limit.Load()
	return best, limit == 0 || fewest < int64(limit)
}

// add notes a registration and reports whether its ID is new to the endpoint.
//
// Caller must hold b.mu.
func (ep *endpoint) add(id string, weight uint32) (fresh bool) {
	for i := range ep.registrations {
		if ep.registrations[i].id == id {
			ep.registrations[i].weight = weight
			return false
		}
	}
	ep.registrations = append(ep.registrations, registration{id: id, weight: weight})
	return true
}

// remove forgets a registration.
//
// Caller must hold b.mu.
func (ep *endpoint) remove(id string) {
	for i := range ep.registrations {
		if ep.registrations[i].id == id {
			ep.registrations = append(ep.registrations[:i], ep.registrations[i+1:]...)
			return
		}
	}
}

// registeredWeight is the largest weight of the registrations: the second registration of an
// instance that is being replaced at the same address must not double its share.
//
// Caller must hold b.mu.
func (ep *endpoint) registeredWeight() uint32 {
	var w uint32
	for _, r := range ep.registrations {
		w = max(w, r.weight)
	}
	return w
}
