package pool

import (
	"time"

	"google.golang.org/grpc/connectivity"
)

const (
	// growWait is how long calls that find every connection full wait for another one. After that
	// they queue in grpc, as they would without all this.
	growWait = time.Second
	// shrinkAfter is how long a connection that was added is kept at least.
	shrinkAfter = 5 * time.Minute
)

// nearlyFull says when an endpoint whose least busy connection has n calls needs another one:
// before it is full, so that it is there in time.
func nearlyFull(n int64, limit uint32) bool { return 4*n >= 3*int64(limit) }

// wantMore asks for another connection. It is on the way of a call, so it leaves the work to run.
//
// Called on the call path; takes no lock of the balancer.
func (b *balancer) wantMore(ep *endpoint, now int64) {
	if !ep.growing.CompareAndSwap(false, true) {
		return
	}
	ep.growUntil.Store(now + int64(growWait))
	if !b.ask(func() { b.grow(ep) }) {
		ep.growUntil.Store(0)
		ep.growing.Store(false)
	}
}

// grow adds a connection to an endpoint, up to the configured maximum.
//
// Caller must hold b.mu.
func (b *balancer) grow(ep *endpoint) {
	if !ep.inUse {
		ep.growing.Store(false) // it may come back
		b.notGrown(ep)
		return
	}
	if len(ep.conns) >= b.settings.MaxConnections {
		ep.growUntil.Store(0) // growing stays: there is no use in asking again
		b.changed(true)       // some may wait
		return
	}
	b.dial(b.newConn(ep))
	now := time.Now()
	b.at(now.Add(growWait), func() { b.changed(true) })
	b.at(now.Add(shrinkAfter), func() { b.shrink(ep) })
}

// grown lets an endpoint ask for more connections once all it has are up. With as many as it may
// have, calls wait for no other one.
//
// Caller must hold b.mu.
func (b *balancer) grown(ep *endpoint) {
	for _, c := range ep.conns {
		if c.state != connectivity.Ready {
			return
		}
	}
	if len(ep.conns) < b.settings.MaxConnections {
		ep.growing.Store(false)
	} else {
		ep.growUntil.Store(0)
	}
}

// notGrown lets calls that wait for another connection queue on those there are: it could not be
// made.
//
// Caller must hold b.mu.
func (b *balancer) notGrown(ep *endpoint) {
	if ep.growUntil.Swap(0) > 0 {
		b.changed(true)
	}
}

// shrink takes away a connection that was added if the others have room enough for everything, and
// keeps looking until there are no more than configured.
//
// Caller must hold b.mu.
func (b *balancer) shrink(ep *endpoint) {
	if !ep.inUse || len(ep.conns) <= b.settings.Connections {
		return
	}
	var (
		idlest *conn
		fewest int64
		calls  int64
		room   int64
	)
	for _, c := range ep.conns {
		n := c.inFlight.Load()
		calls += n
		room += int64(c.limit.Load())
		if c.state != connectivity.Ready {
			n = -1 // goes before one that is up
		}
		if idlest == nil || n <= fewest {
			idlest, fewest = c, n
		}
	}
	if 2*calls < room-int64(idlest.limit.Load()) || calls == 0 {
		b.drop(idlest)
		b.refresh(ep)
	}
	b.at(time.Now().Add(shrinkAfter), func() { b.shrink(ep) })
}
