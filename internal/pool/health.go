package pool

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	grpcbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/caddy-grpc/gateway/internal/pool/balance"
)

// Active health checks follow gRPC's protocol for clients
// (https://github.com/grpc/grpc/blob/master/doc/health-checking.md): one Watch stream on each
// connection. grpc-go has the same for its own policies, but tells a policy neither that a server
// does not implement the service nor what it answered, and waits up to two minutes before it asks
// again. So the balancer watches by itself, on the means that grpc gives policies to call over one
// SubConn (grpcbalancer.ProducerBuilder).

// healthState is what is known of the health of a connection.
type healthState int

const (
	healthAwaited healthState = iota // no answer yet; gets no calls
	healthBad
	healthGood
)

// connHealth is a connection's health, and its watch. It belongs to the balancer's mutex.
type connHealth struct {
	state healthState
	text  string             // for operators
	stop  context.CancelFunc // of the watch; nil: there is none
}

const (
	healthNoAnswer      = "no answer yet"
	healthUnimplemented = "UNIMPLEMENTED, which counts as SERVING"
)

// healthBackoffMax is the longest pause before a watch that failed is tried again.
const healthBackoffMax = 30 * time.Second

// usable tells whether calls may be given to the connection.
//
// Caller must hold b.mu.
func (b *balancer) usable(c *conn) bool {
	return c.state == connectivity.Ready && (!b.settings.HealthCheck || c.health.state == healthGood)
}

// checkHealth begins to watch a connection that has come up, and ends the watch of one that is not
// up any more: a server that shuts down gracefully waits for its end.
//
// Caller must hold b.mu.
func (b *balancer) checkHealth(c *conn) {
	c.endHealth()
	if !b.settings.HealthCheck || c.state != connectivity.Ready {
		return
	}
	on := c.rpc()
	if on == nil {
		return
	}
	ctx, stop := context.WithCancel(b.life)
	c.health = connHealth{text: healthNoAnswer, stop: stop}
	w := &healthWatch{balancer: b, conn: c, ctx: ctx, on: on}
	b.work.Go(w.run)
}

// Caller must hold b.mu.
func (c *conn) endHealth() {
	if c.health.stop != nil {
		c.health.stop()
	}
	c.health = connHealth{}
}

// rpc is a way to make calls on the connection, beside the policy.
func (c *conn) rpc() grpc.ClientConnInterface {
	made, release := c.sub.GetOrBuildProducer(connOfSubConn{})
	defer release()
	on, _ := made.(grpc.ClientConnInterface)
	return on
}

// connOfSubConn builds nothing: it takes what grpc gives to build with, a grpc.ClientConnInterface
// to the SubConn.
type connOfSubConn struct{}

// Build is called by grpc.
func (connOfSubConn) Build(cc any) (grpcbalancer.Producer, func()) { return cc, func() {} }

// healthWatch watches one connection, in a goroutine of its own.
type healthWatch struct {
	balancer *balancer
	conn     *conn
	ctx      context.Context
	on       grpc.ClientConnInterface
	failed   int // streams in a row that ended without an answer
}

func (w *healthWatch) run() {
	for {
		answers, err := w.watch()
		if w.ctx.Err() != nil {
			return
		}
		if status.Code(err) == codes.Unimplemented {
			w.report(healthGood, healthUnimplemented)
			return
		}
		if w.failed++; answers > 0 {
			// Something ended a stream that worked, as proxies do after a while: its last answer
			// holds until asking again fails, too.
			w.failed = 0
		} else {
			w.report(healthBad, err.Error())
		}
		timer := time.NewTimer(w.pause())
		select {
		case <-timer.C:
		case <-w.ctx.Done():
			timer.Stop()
			return
		}
	}
}

// pause before the next stream: that between attempts to connect, growing, with 20 % jitter.
func (w *healthWatch) pause() time.Duration {
	d := w.balancer.settings.BackoffBase
	for i := 1; i < w.failed && d < healthBackoffMax; i++ {
		d = d * 8 / 5
	}
	d = min(d, healthBackoffMax)
	return d - d/5 + time.Duration(balance.Below(uint32(w.balancer.random()), int(2*d/5)))
}

// watch is one stream, from its start to its end.
func (w *healthWatch) watch() (answers int, err error) {
	ctx, cancel := context.WithCancel(w.ctx)
	defer cancel()
	w.conn.inFlight.Add(1) // the stream counts for the instance's limit
	defer w.conn.inFlight.Add(-1)
	s, err := w.on.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, healthpb.Health_Watch_FullMethodName)
	if err != nil {
		return 0, err
	}
	if s.SendMsg(&healthpb.HealthCheckRequest{Service: w.balancer.settings.HealthService}) == nil {
		_ = s.CloseSend() // if this fails, so will receiving, with the reason
	}
	for {
		answer := new(healthpb.HealthCheckResponse)
		if err := s.RecvMsg(answer); err != nil {
			return answers, fmt.Errorf("watching the health: %w", err)
		}
		answers++
		state := healthBad
		if answer.GetStatus() == healthpb.HealthCheckResponse_SERVING {
			state = healthGood
		}
		w.report(state, answer.GetStatus().String())
	}
}

// report takes over what the watch has found out.
func (w *healthWatch) report(state healthState, text string) {
	b, c := w.balancer, w.conn
	b.lock()
	defer b.publishAndUnlock()
	if w.ctx.Err() != nil {
		return // the connection has gone, or was made anew
	}
	before := c.health
	c.health.state, c.health.text = state, text
	switch {
	case text == healthUnimplemented && !b.noHealth:
		b.noHealth = true
		b.events.noHealth(c.endpoint.addr)
	case state == healthBad:
		b.lastUnhealthy = errors.New("health check: " + text)
		if before.state != healthBad {
			b.events.unhealthy(c.endpoint.addr, text)
		}
	case before.state == healthBad:
		b.events.healthy(c.endpoint.addr)
	}
	if state != before.state {
		// The connections that are up have not changed, so calls that are in flight go on; new ones
		// must not come.
		b.changed(state == healthBad)
		b.refresh(c.endpoint)
	}
}

// health is that of the endpoint for operators: the best of its connections'; "" when none is up,
// or nothing is checked.
//
// Caller must hold b.mu.
func (ep *endpoint) health() string {
	var best connHealth
	for _, c := range ep.conns {
		if c.health.stop != nil && c.health.state >= best.state {
			best = c.health
		}
	}
	return best.text
}
