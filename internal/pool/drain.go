package pool

import (
	"time"

	"google.golang.org/grpc/connectivity"
)

// drainLinger is how long the connections of a removed endpoint are kept at least, in case it comes
// back: a registration that flaps costs no dial.
const drainLinger = time.Second

// drain takes an endpoint out of use: no new calls from now on, those in flight finish. Its
// connections close once they have, or at the drain timeout, which ends the calls that remain.
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
		// Looked up by its address, so that the agenda does not keep the memory of what is
		// forgotten long before.
		if ep := b.endpoints[addr]; ep != nil && ep.draining.Load() && ep.since.Equal(now) {
			b.cut(ep)
		}
	})
}

// drainLinger is how long the connections of a removed endpoint are kept at least. Where many that
// vanish are held, those that went first can be taken back when it turns out that they were the
// first of many.
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

// cut ends the calls that are still in flight at a draining endpoint by closing its connections
// under them.
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

// forget drops the endpoint's connections, and the endpoint unless it is registered.
//
// Caller must hold b.mu.
func (b *balancer) forget(ep *endpoint) {
	for len(ep.conns) > 0 {
		b.drop(ep.conns[len(ep.conns)-1])
	}
	b.refresh(ep)
	ep.draining.Store(false)
	if ep.registered() {
		return // it is not in the subset any more
	}
	delete(b.endpoints, ep.addr)
	b.past.picks += ep.picks.Load()
	b.past.failures += ep.failures.Load()
}
