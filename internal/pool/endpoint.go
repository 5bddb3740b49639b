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
// Calls read and write the fields up to registrations without the balancer's lock. The fields from
// there on belong to the balancer's mutex.
type endpoint struct {
	// Endpoint is what the policies know of it.
	balance.Endpoint

	addr string
	// ready has the usable connections: READY, and healthy if that is checked. It may be nil.
	ready    atomic.Pointer[[]*conn]
	picks    atomic.Uint64
	failures atomic.Uint64
	// lastError is nil after something has worked again.
	lastError atomic.Pointer[lastError]
	draining  atomic.Bool
	// growing is true while another connection is being made, or if no more connections are
	// allowed.
	growing atomic.Bool
	// growUntil is how long calls that find no room wait for another connection, on the balancer's
	// clock.
	growUntil atomic.Int64
	// wires has the open connections. They include those that grpc has given up and that still have
	// calls in flight.
	wires wire.Set
	// cut is true once the drain timeout has ended the calls in flight.
	cut atomic.Bool
	// reads counts how often something came from the endpoint.
	reads atomic.Uint64
	// calls are the calls in flight.
	calls callList

	registrations []registration
	// weight is the largest weight of the registrations. 0: the registry does not say.
	weight uint32
	conns  []*conn
	// place is the index in balancer.ready. -1: the endpoint is not there.
	place int
	// connected is true if a connection is READY.
	connected bool
	// usable is true if calls may be given to a connection.
	usable bool
	// lost is when the endpoint was last usable.
	lost time.Time
	// warmFrom is when the slow start began.
	warmFrom time.Time
	// cold is true during the slow start.
	cold      bool
	ejected   bool
	ejectedAt time.Time
	// ejections is the number of ejections in a row.
	ejections int
	// unejected is when the last ejection ended.
	unejected time.Time
	// inUse is true if the endpoint gets calls and has connections, or will have some. It is false
	// as soon as the endpoint drains.
	inUse bool
	// held is true if the endpoint is in use without a registration.
	held bool
	// heldUntil is when the hold ends, on the contact clock.
	heldUntil time.Duration
	// ranked is true if the endpoint takes part in the choice of the subset.
	ranked bool
	// score is the endpoint's score in that choice.
	score uint64
	// round is the last choice that made the endpoint a member.
	round uint64
	// waiting is since when the endpoint has been in use and not usable.
	waiting time.Time
	// lacking is true if it has been so for too long.
	lacking bool
	// failing is true if no connection is usable, and the last attempt or the health check of each
	// has failed.
	failing  bool
	failedAt time.Time
	state    connectivity.State
	// since is when state, or draining, began.
	since time.Time
	// connects counts the connections that became READY.
	connects uint64
	// fallbackUntil is until when new connections are grpc-go's although the setting is wire. See
	// violated.
	fallbackUntil time.Time
	// dialled is when the endpoint was last dialled.
	dialled time.Time
	silence silence
}

// lastError is the last error of an endpoint, and its time.
type lastError struct {
	text string
	at   time.Time
}

// noteError notes an error. A call or a connection that works clears it.
func (ep *endpoint) noteError(err error) { ep.lastError.Store(&lastError{err.Error(), time.Now()}) }

// clearError notes that a call succeeded or that the endpoint was connected. Calls use it.
func (ep *endpoint) clearError() {
	if ep.lastError.Load() != nil {
		ep.lastError.Store(nil)
	}
}

// registration is an entry of the registry that names the endpoint's address.
type registration struct {
	id     string
	weight uint32
}

// newEndpoint returns an endpoint without registrations.
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

// registered reports whether the endpoint has a registration.
//
// Caller must hold b.mu.
func (ep *endpoint) registered() bool { return len(ep.registrations) > 0 }

// pickConn returns the READY connection with the fewest calls, and whether that connection takes
// one more. It returns nil if no connection is READY.
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

// add notes a registration. It reports whether the ID is new to the endpoint.
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

// registeredWeight returns the largest weight of the registrations. It is not their sum: while an
// instance is being replaced at the same address, its second registration must not double its
// share.
//
// Caller must hold b.mu.
func (ep *endpoint) registeredWeight() uint32 {
	var w uint32
	for _, r := range ep.registrations {
		w = max(w, r.weight)
	}
	return w
}
