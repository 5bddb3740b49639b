package pool

import (
	"time"

	"google.golang.org/grpc/connectivity"
)

// drainLinger is the minimum time for which the connections of a removed endpoint are kept. If the
// endpoint comes back, no dial is needed. So a registration that flaps costs no dials.
const drainLinger = time.Second

// drain takes an endpoint out of use. It gets no new calls. Its calls in flight may finish, and
// then its connections close. At the drain timeout the remaining calls end.
//
// Caller must hold b.mu.
func (b *balancer) drain(ep *endpoint) {
	now := time.Now()
	b.active--
	ep.inUse = false
	ep.lacking = false
	b.weights.Remove(ep.weight)
	b.changed(true)
	ep.draining.Store(true)
	ep.since = now
	b.clearEjection(ep)
	b.dropUnready(ep)
	b.refresh(ep)
	b.at(now.Add(b.drainLinger()), func() { b.release(ep) })
	addr := ep.addr
	b.at(now.Add(b.settings.DrainTimeout), func() {
		// The lookup by address is needed so that the agenda does not keep the memory of an
		// endpoint that was forgotten long before.
		if ep := b.endpoints[addr]; ep != nil && ep.draining.Load() && ep.since.Equal(now) {
			b.cut(ep)
		}
	})
}

// drainLinger returns the minimum time for which the connections of a removed endpoint are kept. If
// many lost instances are held, it is longer. Then the first ones that vanished can be taken back
// when it turns out that many follow.
//
// Caller must hold b.mu.
func (b *balancer) drainLinger() time.Duration {
	if b.hold.time > 0 {
		return lossWindow
	}
	return drainLinger
}

// dropUnready drops the connections that are not up.
//
// Caller must hold b.mu.
func (b *balancer) dropUnready(ep *endpoint) {
	for i := len(ep.conns) - 1; i >= 0; i-- {
		if c := ep.conns[i]; c.state != connectivity.Ready {
			b.drop(c)
		}
	}
}

// drained is called when the last call in flight at a draining endpoint has ended.
//
// Called on the call path; takes no lock of the balancer.
func (b *balancer) drained(ep *endpoint) {
	b.mustAsk(func() {
		if !b.closing {
			b.release(ep)
		}
	})
}

// release lets a draining endpoint go if nothing holds it any more.
//
// Caller must hold b.mu.
func (b *balancer) release(ep *endpoint) {
	if ep.draining.Load() && ep.InFlight.Load() == 0 && b.endpoints[ep.addr] == ep && time.Since(ep.since) >= b.drainLinger() {
		b.forget(ep)
	}
}

// cut ends the calls that are still in flight at a draining endpoint. It closes the TCP connections
// that they use.
//
// Caller must hold b.mu.
func (b *balancer) cut(ep *endpoint) {
	ep.cut.Store(true)
	if n := ep.InFlight.Load(); n > 0 {
		b.events.cut(ep.addr, n, b.settings.DrainTimeout)
	}
	b.forget(ep)
	ep.wires.Sever()
}

// forget drops the endpoint's connections. It also drops the endpoint, unless it is registered.
//
// Caller must hold b.mu.
func (b *balancer) forget(ep *endpoint) {
	for len(ep.conns) > 0 {
		b.drop(ep.conns[len(ep.conns)-1])
	}
	b.refresh(ep)
	ep.draining.Store(false)
	if ep.registered() {
		return // the endpoint has left the subset, but is still registered
	}
	delete(b.endpoints, ep.addr)
	b.past.picks += ep.picks.Load()
	b.past.failures += ep.failures.Load()
}
