package pool

import (
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	grpcbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/resolver"

	"github.com/caddy-grpc/gateway/internal/pool/wire"
)

const (
	// dialSpacing is the least time between two dials to an endpoint that were not spaced by the
	// backoff: when it closes connections as soon as they are up, and when its registration flaps.
	dialSpacing = time.Second
	// warnAfter is how long an endpoint must have been out of reach for the log to say so.
	warnAfter = time.Second
)

// conn is one connection to an endpoint over its life: a SubConn of grpc, which dials again when it
// is lost. The fields up to the blank line are for calls, without a lock; the others belong to the
// balancer's mutex. sub never changes once it is READY for the first time.
type conn struct {
	balancer *balancer
	endpoint *endpoint
	inFlight atomic.Int64
	limit    atomic.Uint32 // of concurrent calls; 0: not known, or none

	sub     grpcbalancer.SubConn // nil until it is dialled for the first time
	state   connectivity.State
	failed  bool // the last attempt failed; stays true through the backoff and the next attempt
	queued  bool // waits for its turn to dial
	dialing bool // counts towards balancer.dialing
	gone    bool // dropped
	dialled time.Time
	health  connHealth
}

// newConn gives the endpoint another connection, not yet dialled.
//
// Caller must hold b.mu.
func (b *balancer) newConn(ep *endpoint) *conn {
	c := &conn{balancer: b, endpoint: ep, state: connectivity.Idle}
	ep.conns = append(ep.conns, c)
	return c
}

// dial lets the connection be set up as soon as it is its turn.
//
// Caller must hold b.mu.
func (b *balancer) dial(c *conn) {
	if c.gone || c.queued || c.state != connectivity.Idle {
		return
	}
	c.queued = true
	if c.endpoint.connects > 0 {
		b.again.push(c) // it served calls, or serves more than it can
	} else {
		b.queue.push(c)
	}
	b.pump()
}

// dialAt does so at a later time, unless it is dropped until then.
//
// Caller must hold b.mu.
func (b *balancer) dialAt(at time.Time, c *conn) {
	if !at.After(time.Now()) {
		b.dial(c)
		return
	}
	b.at(at, func() { b.dial(c) })
}

// pump starts queued dials while there is room, and while calls are served no faster than the pace.
//
// Caller must hold b.mu.
func (b *balancer) pump() {
	if b.cc == nil {
		return // attach goes on
	}
	most, _ := b.pace.Limits(b.serving(), runtime.GOMAXPROCS(0))
	for b.dialing < most {
		queue := &b.again
		if queue.empty() {
			queue = &b.queue
		}
		if queue.empty() || !b.mayDial() {
			return
		}
		c := queue.pop()
		c.queued = false
		if !c.gone {
			b.connect(c)
		}
	}
}

// connect has grpc dial.
//
// Caller must hold b.mu.
func (b *balancer) connect(c *conn) {
	if c.sub == nil && !b.subscribe(c) {
		return
	}
	c.dialled = time.Now()
	c.endpoint.dialled = c.dialled
	// Grpc will say so, too; until then it must not be dialled again.
	c.state = connectivity.Connecting
	c.dialing = true
	b.dialing++
	dialled := c.dialled
	_, countsFor := b.pace.Limits(b.serving(), runtime.GOMAXPROCS(0))
	b.at(dialled.Add(countsFor), func() {
		if c.dialled.Equal(dialled) {
			b.endDial(c)
		}
	})
	c.sub.Connect()
}

// subscribe makes the SubConn. It fails when the channel is being closed, and then there is nothing
// left to do.
//
// Caller must hold b.mu.
func (b *balancer) subscribe(c *conn) bool {
	if b.cc == nil {
		return false
	}
	addr := resolver.Address{
		Addr:       c.endpoint.addr,
		ServerName: b.settings.ServerName,
		Attributes: wire.Attributes(c),
	}
	if addr.ServerName == "" {
		addr.ServerName = c.endpoint.addr
	}
	//nolint:staticcheck // what is deprecated is to give it several addresses
	sub, err := b.cc.NewSubConn([]resolver.Address{addr}, grpcbalancer.NewSubConnOptions{
		StateListener: func(s grpcbalancer.SubConnState) { b.onConnState(c, s) },
	})
	if err != nil {
		b.events.notConnected(c.endpoint.addr, err)
		return false
	}
	c.sub = sub
	return true
}

// Wires implements wire.Owner.
func (c *conn) Wires() *wire.Set { return &c.endpoint.wires }

// Reads implements wire.Owner.
func (c *conn) Reads() *atomic.Uint64 { return &c.endpoint.reads }

// StreamLimit implements wire.Owner.
func (c *conn) StreamLimit() *atomic.Uint32 { return &c.limit }

// TooManyPings implements wire.Owner. It takes no lock.
//
// Called on the call path; takes no lock of the balancer.
func (c *conn) TooManyPings() {
	b := c.balancer
	b.ask(func() { b.events.tooManyPings(b.service, c.endpoint.addr, b.settings.KeepaliveTime) })
}

// endDial returns the connection's place among those being set up.
//
// Caller must hold b.mu.
func (b *balancer) endDial(c *conn) {
	if !c.dialing {
		return
	}
	c.dialing = false
	b.dialing--
	b.pump()
}

// onConnState is told by grpc how the connection fares.
func (b *balancer) onConnState(c *conn, s grpcbalancer.SubConnState) {
	b.lock()
	defer b.publishAndUnlock()
	if c.gone {
		return
	}
	was := c.state
	c.state = s.ConnectivityState
	if c.state != connectivity.Connecting {
		b.endDial(c)
	}
	b.checkHealth(c)
	switch c.state {
	case connectivity.Ready:
		c.failed = false
		b.pace.Dialled(time.Since(c.dialled))
		c.endpoint.connects++
		b.connects++
	case connectivity.TransientFailure:
		c.failed = true
		b.failed(c, s.ConnectionError)
		b.notGrown(c.endpoint)
	case connectivity.Idle:
		b.idle(c, was)
	case connectivity.Connecting, connectivity.Shutdown:
	}
	b.refresh(c.endpoint)
	b.losesHold(c.endpoint)
}

// idle decides about a connection that was lost, or whose backoff is over.
//
// Caller must hold b.mu.
func (b *balancer) idle(c *conn, was connectivity.State) {
	if !c.endpoint.inUse || !c.endpoint.registered() {
		b.drop(c)
		return
	}
	if was == connectivity.TransientFailure {
		b.dial(c)
		return
	}
	// It was up. One that had just come up would else be dialled in a tight loop: a successful dial
	// resets the backoff.
	b.dialAt(c.dialled.Add(dialSpacing), c)
}

// failed notes why an attempt failed.
//
// Caller must hold b.mu.
func (b *balancer) failed(c *conn, err error) {
	if err == nil {
		return
	}
	c.endpoint.noteError(err)
	b.lastError = err
	if c.endpoint.failing {
		return
	}
	// Not at once: an instance that stops is often deregistered in the next moment, and then
	// nothing is wrong.
	ep, now := c.endpoint, time.Now()
	ep.failedAt = now
	b.at(now.Add(warnAfter), func() {
		if ep.failing && ep.failedAt.Equal(now) {
			b.events.notConnected(ep.addr, err)
		}
	})
}

// renew forgets the backoff of connections that are down: somebody registered the endpoint, so it
// is worth a try. grpc has no way to reset the backoff of one SubConn, so new ones take their
// place.
//
// Caller must hold b.mu.
func (b *balancer) renew(ep *endpoint) {
	for _, c := range slices.Clone(ep.conns) {
		// An attempt that is only just under way is as good as a new one.
		if c.state == connectivity.Ready || c.queued || c.state == connectivity.Connecting && time.Since(c.dialled) < dialSpacing {
			continue
		}
		b.drop(c)
		b.dialAt(ep.dialled.Add(dialSpacing), b.newConn(ep))
	}
}

// drop gives up a connection. Its calls in flight finish, and then grpc closes it.
//
// Caller must hold b.mu.
func (b *balancer) drop(c *conn) {
	c.gone = true
	b.endDial(c)
	c.endHealth()
	if c.sub != nil {
		// It may wait for a GOAWAY to be written, to a peer that does not read.
		b.work.Go(c.sub.Shutdown)
	}
	if i := slices.Index(c.endpoint.conns, c); i >= 0 {
		c.endpoint.conns = slices.Delete(c.endpoint.conns, i, i+1)
		b.grown(c.endpoint) // it may have been the one that calls asked for
	}
}

// connQueue holds the connections that wait for their turn to dial, in order.
type connQueue struct {
	conns []*conn
	head  int
}

func (q *connQueue) empty() bool { return q.head == len(q.conns) }

func (q *connQueue) push(c *conn) { q.conns = append(q.conns, c) }

// pop is for a queue that is not empty.
func (q *connQueue) pop() *conn {
	c := q.conns[q.head]
	q.conns[q.head] = nil
	if q.head++; q.empty() {
		q.conns, q.head = nil, 0
	}
	return c
}
