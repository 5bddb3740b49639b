package pool

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	grpcbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/mem"

	"github.com/caddy-grpc/gateway/internal/pool/wire"
	"github.com/caddy-grpc/gateway/internal/rpcwire"
)

// wireLink is a link of the gateway's own transport, package rpcwire.
//
// Each attempt to connect has a goroutine, which ends when the connection is up or the backoff is
// over. A connection that is up has the two goroutines of rpcwire. They report that it is lost.
type wireLink struct {
	balancer *balancer
	conn     *conn
	// life ends with shutdown, and when the channel begins to close. No state is reported after
	// that.
	life context.Context
	end  context.CancelFunc
	// current is the connection that takes calls. Nil: there is none.
	current atomic.Pointer[wireConn]
	// failures is the number of attempts in a row that have failed. It belongs to the attempt.
	failures int
	// tell is told the states, which is onConnState of the balancer.
	tell func(grpcbalancer.SubConnState)
}

// wireParts is what the wireLinks of a balancer share. Their calls use it without the balancer's
// lock.
type wireParts struct {
	// dialer and security make the connections of wireLinks. They are set before the first one.
	dialer   dialFunc
	security wire.Credentials
	// wireConns has the open connections of wireLinks.
	wireConns wireConns
	// wireStreams has the streams over wireLinks that are not over.
	wireStreams wireStreams
	// buffers is where wireLinks get the buffers of received messages.
	buffers mem.BufferPool
	// admission makes large requests wait while much waits to be written over wireLinks.
	admission *rpcwire.Admission
	// pings is the keepalive time that instances have forced, in nanoseconds. 0: none.
	pings atomic.Int64
}

func (w *wireParts) init() {
	w.buffers, w.admission = received, rpcwire.NewAdmission(backlogShare)
}

func newWireLink(b *balancer, c *conn) *wireLink {
	life, end := context.WithCancel(b.life)
	tell := func(s grpcbalancer.SubConnState) { b.onConnState(c, s) }
	return &wireLink{balancer: b, conn: c, life: life, end: end, tell: tell}
}

func (k *wireLink) connect() { k.balancer.work.Go(k.attempt) }

// attempt makes a connection, or waits until it is time for the next attempt.
func (k *wireLink) attempt() {
	k.report(connectivity.Connecting, nil)
	pause := k.backoff()
	ctx, cancel := context.WithTimeout(k.life, max(k.balancer.settings.ConnectTimeout, pause))
	defer cancel()
	c := &wireConn{link: k}
	if err := k.dial(ctx, c); err != nil {
		k.failed(err, pause)
		return
	}
	k.failures = 0
	if !c.ready() {
		<-c.conn.Done()
	}
}

// failed reports that an attempt has failed. It waits for the backoff.
func (k *wireLink) failed(err error, pause time.Duration) {
	k.failures++
	if k.life.Err() != nil {
		return
	}
	k.checkViolation(err)
	k.report(connectivity.TransientFailure, err)
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		k.report(connectivity.Idle, nil)
	case <-k.life.Done():
	}
}

// backoff returns the pause after this attempt if it fails. It is grpc-go's backoff with the
// factors of dialOptions.
func (k *wireLink) backoff() time.Duration {
	s := &k.balancer.settings
	if k.failures == 0 {
		return s.BackoffBase
	}
	pause := min(float64(s.BackoffBase)*math.Pow(backoffMultiplier, float64(k.failures)), float64(s.BackoffMax))
	random := float64(k.balancer.random()>>11) / (1 << 53)
	return time.Duration(pause * (1 + backoffJitter*(2*random-1)))
}

// report reports a state of the connection, unless the link was shut down.
func (k *wireLink) report(state connectivity.State, err error) {
	if k.life.Err() == nil {
		k.tell(grpcbalancer.SubConnState{ConnectivityState: state, ConnectionError: err})
	}
}

func (k *wireLink) shutdown() {
	k.end()
	if c := k.current.Load(); c != nil {
		c.conn.Drain()
	}
}

func (k *wireLink) calls() grpc.ClientConnInterface { return wireCalls{k} }

// wireConn is a connection of a link. It is told what happens to the connection below.
type wireConn struct {
	link *wireLink
	conn *rpcwire.Conn
	// keepalive is the time after which the connection is pinged.
	keepalive time.Duration

	// mu keeps what is reported in order. It comes before the lock of the balancer.
	mu sync.Mutex
	// up is true once the connection was reported as READY.
	up bool
	// down is true once no calls may begin on the connection.
	down bool
	// closed is true once the connection has ended.
	closed bool
	// limited is true once the instance has changed its limit of streams.
	limited bool
}

// channelClosedText says why a connection is closed with its channel.
const channelClosedText = "the channel is closed"

// ready reports the connection as READY. If it was lost meanwhile, it reports that as well. It
// returns false if the connection has ended, or is about to end.
func (c *wireConn) ready() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.link
	if c.closed {
		k.report(connectivity.Ready, nil)
		k.report(connectivity.Idle, nil)
		return false
	}
	if !k.balancer.wireConns.add(c) {
		c.conn.Close(channelClosedText)
		return false
	}
	if !c.limited {
		k.conn.setStreamLimit(c.conn.StreamLimit())
	}
	c.up = true
	k.current.Store(c)
	if k.life.Err() != nil {
		c.conn.Drain() // shutdown may have come before the line above
	}
	k.report(connectivity.Ready, nil)
	if c.down {
		c.reportDown()
	}
	return true
}

// StreamLimit implements rpcwire.Events.
func (c *wireConn) StreamLimit(n uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.limited = true
	if !c.down {
		c.link.conn.setStreamLimit(n)
	}
}

// Draining implements rpcwire.Events. Calls in flight may finish on the connection.
func (c *wireConn) Draining(g rpcwire.GoAway) {
	if g.TooManyPings() {
		c.link.balancer.slowDownPings(c.keepalive)
		c.link.conn.TooManyPings()
	}
	c.lost()
}

// Closed implements rpcwire.Events.
func (c *wireConn) Closed(err *rpcwire.ConnError) {
	c.link.checkViolation(err)
	c.lost()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.up {
		c.link.balancer.wireConns.leave(c, &c.link.balancer.work)
	}
}

// lost notes that no more calls may begin, and reports it once.
func (c *wireConn) lost() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.down {
		return
	}
	c.down = true
	if c.up {
		c.reportDown()
	}
}

// reportDown reports that the connection is lost for new calls. It is called with c.mu held.
func (c *wireConn) reportDown() {
	c.link.current.CompareAndSwap(c, nil)
	c.link.report(connectivity.Idle, nil)
}

// setStreamLimit notes how many concurrent calls the instance allows on the connection.
func (c *conn) setStreamLimit(n uint32) {
	if n == math.MaxUint32 {
		n = 0 // there is no limit
	}
	c.limit.Store(n)
}

// wireConns has the open connections of a channel's wireLinks. They include those that were given
// up and still have calls in flight.
type wireConns struct {
	mu     sync.Mutex
	open   map[*wireConn]struct{}
	closed bool
}

// add adds a connection. It returns false if the channel is closed.
func (w *wireConns) add(c *wireConn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return false
	}
	if w.open == nil {
		w.open = make(map[*wireConn]struct{})
	}
	w.open[c] = struct{}{}
	return true
}

// leave removes a connection that has ended when its goroutines have ended as well. When the
// channel closes, close waits for them.
func (w *wireConns) leave(c *wireConn, work *sync.WaitGroup) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	work.Go(func() {
		<-c.conn.Done()
		w.mu.Lock()
		defer w.mu.Unlock()
		if !w.closed {
			delete(w.open, c)
		}
	})
}

// close closes all connections, which ends their calls. It waits for the connections.
func (w *wireConns) close() {
	w.mu.Lock()
	w.closed = true
	open := w.open
	w.open = nil
	w.mu.Unlock()
	for c := range open {
		c.conn.Close(channelClosedText)
	}
	for c := range open {
		<-c.conn.Done()
	}
}
