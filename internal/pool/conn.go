package pool

import (
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	grpcbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/resolver"

	"github.com/caddy-grpc/gateway/discovery"
	"github.com/caddy-grpc/gateway/internal/pool/wire"
)

const (
	// dialSpacing is the minimum time between two dials to an endpoint when no backoff spaces them.
	// That is the case if the endpoint closes connections as soon as they are up, or if its
	// registration flaps.
	dialSpacing = time.Second
	// warnAfter is how long an endpoint must have been unreachable before the log says so.
	warnAfter = time.Second
)

// conn is one connection to an endpoint over its life. It has a link, which dials again after a
// loss.
//
// Calls use the fields up to limit without a lock. The other fields belong to the balancer's mutex.
// Calls may also use link and sub, because they never change after the first READY.
type conn struct {
	balancer *balancer
	endpoint *endpoint
	inFlight atomic.Int64
	// limit is the maximum number of concurrent calls. 0: there is none, or it is not known.
	limit atomic.Uint32

	// link is nil until the first dial.
	link link
	// sub is the SubConn of a link of grpc.
	sub   grpcbalancer.SubConn
	state connectivity.State
	// failed is true if the last attempt failed. It stays true during the backoff and the next
	// attempt.
	failed bool
	// queued is true while the connection waits for its turn to dial.
	queued bool
	// dialing is true while the connection counts towards balancer.dialing.
	dialing bool
	// gone is true once the connection was dropped.
	gone    bool
	dialled time.Time
	health  connHealth
}

// newConn gives the endpoint another connection, which is not dialled yet.
//
// Caller must hold b.mu.
func (b *balancer) newConn(ep *endpoint) *conn {
	c := &conn{balancer: b, endpoint: ep, state: connectivity.Idle}
	ep.conns = append(ep.conns, c)
	return c
}

// dial queues the connection. It is set up when it is its turn.
//
// Caller must hold b.mu.
func (b *balancer) dial(c *conn) {
	if c.gone || c.queued || c.state != connectivity.Idle {
		return
	}
	c.queued = true
	if c.endpoint.connects > 0 {
		b.again.push(c) // the endpoint served calls before, or needs another connection
	} else {
		b.queue.push(c)
	}
	b.pump()
}

// dialAt queues the connection at a later time, unless it is dropped by then.
//
// Caller must hold b.mu.
func (b *balancer) dialAt(at time.Time, c *conn) {
	if !at.After(time.Now()) {
		b.dial(c)
		return
	}
	b.at(at, func() { b.dial(c) })
}

// pump starts queued dials while there is room. While calls are served, it also keeps to the pace.
//
// Caller must hold b.mu.
func (b *balancer) pump() {
	if b.cc == nil {
		return // attach calls pump again
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

// connect makes the link dial.
//
// Caller must hold b.mu.
func (b *balancer) connect(c *conn) {
	if c.link == nil && !b.subscribe(c) {
		return
	}
	c.dialled = time.Now()
	c.endpoint.dialled = c.dialled
	// The link will report this state as well. Until then the connection must not be dialled again.
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
	c.link.connect()
}

// subscribe makes the link. It fails only if the channel is being closed. Then nothing is left
// to do.
//
// Caller must hold b.mu.
func (b *balancer) subscribe(c *conn) bool {
	if b.cc == nil {
		return false
	}
	if b.wantedTransport(c.endpoint) == TransportWire {
		c.link = newWireLink(b, c)
		return true
	}
	addr := resolver.Address{
		Addr:       c.endpoint.addr,
		ServerName: b.settings.Authority, // Grpc sends it as the :authority.
		Attributes: wire.Attributes(c),
	}
	if addr.ServerName == "" {
		addr.ServerName = c.ServerName()
	}
	//nolint:staticcheck // only a SubConn with several addresses is deprecated
	sub, err := b.cc.NewSubConn([]resolver.Address{addr}, grpcbalancer.NewSubConnOptions{
		StateListener: func(s grpcbalancer.SubConnState) { b.onConnState(c, s) },
	})
	if err != nil {
		b.events.notConnected(c.endpoint.addr, err, false)
		return false
	}
	c.sub = sub
	c.link = grpcLink{sub: sub, clientConn: b.clientConn}
	return true
}

// Wires implements wire.Owner.
func (c *conn) Wires() *wire.Set { return &c.endpoint.wires }

// Reads implements wire.Owner.
func (c *conn) Reads() *atomic.Uint64 { return &c.endpoint.reads }

// ServerName implements wire.Owner. A Unix socket is localhost, as for other gRPC clients.
func (c *conn) ServerName() string {
	if _, ok := discovery.UnixPath(c.endpoint.addr); ok {
		return "localhost"
	}
	return c.endpoint.addr
}

// StreamLimit implements wire.Owner.
func (c *conn) StreamLimit() *atomic.Uint32 { return &c.limit }

// TooManyPings implements wire.Owner.
//
// Called on the call path; takes no lock of the balancer.
func (c *conn) TooManyPings() {
	b := c.balancer
	b.ask(func() { b.events.tooManyPings(b.service, c.endpoint.addr, b.settings.KeepaliveTime) })
}

// endDial frees the connection's place among those that are being set up.
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

// onConnState takes a state of the connection from its link.
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

// idle decides what to do with a connection that was lost or whose backoff is over.
//
// Caller must hold b.mu.
func (b *balancer) idle(c *conn, was connectivity.State) {
	if !c.endpoint.inUse || !c.endpoint.registered() {
		b.drop(c)
		return
	}
	up := c.dialled
	c = b.withWantedLink(c)
	if was == connectivity.TransientFailure {
		b.dial(c)
		return
	}
	// The connection was up. A successful dial resets the backoff, so without this spacing an
	// endpoint that closes new connections would be dialled in a tight loop.
	b.dialAt(up.Add(dialSpacing), c)
}

// failed notes why an attempt failed.
//
// Caller must hold b.mu.
func (b *balancer) failed(c *conn, err error) {
	if err == nil {
		return
	}
	err = explainConnect(err, b.settings.TLS != nil)
	c.endpoint.noteError(err)
	b.lastError = err
	if c.endpoint.failing {
		return
	}
	// The warning waits. An instance that stops is often deregistered a moment later, and then
	// nothing is wrong.
	ep, now := c.endpoint, time.Now()
	ep.failedAt = now
	b.at(now.Add(warnAfter), func() {
		if ep.failing && ep.failedAt.Equal(now) {
			b.events.notConnected(ep.addr, err, len(b.ready) == 0)
		}
	})
}

// renew forgets the backoff of connections that are down. Somebody has registered the endpoint, so
// a dial is worth a try. Grpc cannot reset the backoff of one SubConn, so new SubConns replace the
// old ones.
//
// Caller must hold b.mu.
func (b *balancer) renew(ep *endpoint) {
	for _, c := range slices.Clone(ep.conns) {
		// An attempt that has just begun is as good as a new one.
		if c.state == connectivity.Ready || c.queued || c.state == connectivity.Connecting && time.Since(c.dialled) < dialSpacing {
			continue
		}
		b.drop(c)
		b.dialAt(ep.dialled.Add(dialSpacing), b.newConn(ep))
	}
}

// drop gives up a connection. Its link closes it when its calls in flight have finished.
//
// Caller must hold b.mu.
func (b *balancer) drop(c *conn) {
	c.gone = true
	b.endDial(c)
	c.endHealth()
	if c.link != nil {
		b.work.Go(c.link.shutdown)
	}
	if i := slices.Index(c.endpoint.conns, c); i >= 0 {
		c.endpoint.conns = slices.Delete(c.endpoint.conns, i, i+1)
		b.grown(c.endpoint) // this may be the connection that calls asked for
	}
}

// connQueue holds the connections that wait for their turn to dial, in order.
type connQueue struct {
	conns []*conn
	head  int
}

func (q *connQueue) empty() bool { return q.head == len(q.conns) }

func (q *connQueue) push(c *conn) { q.conns = append(q.conns, c) }

// pop takes the first connection. The queue must not be empty.
func (q *connQueue) pop() *conn {
	c := q.conns[q.head]
	q.conns[q.head] = nil
	if q.head++; q.empty() {
		q.conns, q.head = nil, 0
	}
	return c
}
