package pool

import (
	"time"

	"google.golang.org/grpc/connectivity"
)

const (
	// growWait is how long calls that find every connection full wait for another connection. After
	// that they queue in grpc, as they always would without this file.
	growWait = time.Second
	// shrinkAfter is the minimum time for which an added connection is kept.
	shrinkAfter = 5 * time.Minute
)

// nearlyFull reports whether an endpoint needs another connection. n is the number of calls on its
// least busy one. It needs one before that is full, so that the new connection is ready in time.
func nearlyFull(n int64, limit uint32) bool { return 4*n >= 3*int64(limit) }

// wantMore asks for another connection. Calls use it, so it leaves the work to run.
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
		ep.growUntil.Store(0) // growing stays true, because asking again would be useless
		b.changed(true)       // calls may be waiting
		return
	}
	b.dial(b.newConn(ep))
	now := time.Now()
	b.at(now.Add(growWait), func() { b.changed(true) })
	b.at(now.Add(shrinkAfter), func() { b.shrink(ep) })
}

// grown allows an endpoint to ask for more connections once all that it has are up. At the maximum,
// calls do not wait for another connection.
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

// notGrown is used when a connection could not be added. Calls that wait for it queue on the
// existing ones instead.
//
// Caller must hold b.mu.
func (b *balancer) notGrown(ep *endpoint) {
	if ep.growUntil.Swap(0) > 0 {
		b.changed(true)
	}
}

// shrink drops an added connection if the others have enough room for all calls. It repeats this
// until only the configured number is left.
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
			n = -1 // drop it before one that is up
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
