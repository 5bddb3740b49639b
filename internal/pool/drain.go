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
// Caller must hold f.mu.
func (f *fleet) drain(ep *endpoint) {
	now := time.Now()
	f.active--
	ep.inUse = false
	ep.lacking = false
	f.weights.Remove(ep.weight)
	f.changed(true)
	ep.draining.Store(true)
	ep.since = now
	f.clearEjection(ep)
	f.dropUnready(ep)
	f.refresh(ep)
	f.at(now.Add(f.drainLinger()), func() { f.release(ep) })
	addr := ep.addr
	f.at(now.Add(f.settings.DrainTimeout), func() {
		// Looked up by its address, so that the agenda does not keep the memory of what is
		// forgotten long before.
		if ep := f.endpoints[addr]; ep != nil && ep.draining.Load() && ep.since.Equal(now) {
			f.cut(ep)
		}
	})
}

// drainLinger is how long the connections of a removed endpoint are kept at least. Where many that
// vanish are held, those that went first can be taken back when it turns out that they were the
// first of many.
//
// Caller must hold f.mu.
func (f *fleet) drainLinger() time.Duration {
	if f.hold.time > 0 {
		return lossWindow
	}
	return drainLinger
}

// dropUnready drops the connections that are not up.
//
// Caller must hold f.mu.
func (f *fleet) dropUnready(ep *endpoint) {
	for i := len(ep.conns) - 1; i >= 0; i-- {
		if c := ep.conns[i]; c.state != connectivity.Ready {
			f.drop(c)
		}
	}
}

// drained is called when the last call in flight at a draining endpoint has ended.
//
// Called on the call path; takes no lock of the fleet.
func (f *fleet) drained(ep *endpoint) {
	f.mustAsk(func() {
		if !f.closing {
			f.release(ep)
		}
	})
}

// release lets a draining endpoint go if nothing holds it any more.
//
// Caller must hold f.mu.
func (f *fleet) release(ep *endpoint) {
	if ep.draining.Load() && ep.InFlight.Load() == 0 && f.endpoints[ep.addr] == ep && time.Since(ep.since) >= f.drainLinger() {
		f.forget(ep)
	}
}

// cut ends the calls that are still in flight at a draining endpoint by closing its connections
// under them.
//
// Caller must hold f.mu.
func (f *fleet) cut(ep *endpoint) {
	ep.cut.Store(true)
	if n := ep.InFlight.Load(); n > 0 {
		f.events.cut(ep.addr, n, f.settings.DrainTimeout)
	}
	f.forget(ep)
	ep.wires.Sever()
}

// forget drops the endpoint's connections, and the endpoint unless it is registered.
//
// Caller must hold f.mu.
func (f *fleet) forget(ep *endpoint) {
	for len(ep.conns) > 0 {
		f.drop(ep.conns[len(ep.conns)-1])
	}
	f.refresh(ep)
	ep.draining.Store(false)
	if ep.registered() {
		return // it is not in the subset any more
	}
	delete(f.endpoints, ep.addr)
	f.past.picks += ep.picks.Load()
	f.past.failures += ep.failures.Load()
}
