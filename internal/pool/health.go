package pool

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/caddy-grpc/gateway/internal/pool/balance"
)

// Active health checks follow gRPC's protocol for clients
// (https://github.com/grpc/grpc/blob/master/doc/health-checking.md). There is one Watch stream on
// each connection.
//
// Grpc-go has health checks for its own policies. But it does not tell a policy what a server
// answered, or that it does not implement the service. And it waits up to two minutes before it
// asks again. So the balancer watches by itself. It uses what grpc offers to policies for calls
// over one SubConn (grpcbalancer.ProducerBuilder).

// healthState is what is known about the health of a connection.
type healthState int

const (
	// healthAwaited means that there is no answer yet. The connection gets no calls.
	healthAwaited healthState = iota
	healthBad
	healthGood
)

// connHealth is a connection's health and its watch. It belongs to the balancer's mutex.
type connHealth struct {
	state healthState
	// text is for operators.
	text string
	// stop ends the watch. Nil: there is no watch.
	stop context.CancelFunc
}

const (
	healthNoAnswer      = "no answer yet"
	healthUnimplemented = "UNIMPLEMENTED, which counts as SERVING"
)

// healthBackoffMax is the longest pause before a failed watch is tried again.
const healthBackoffMax = 30 * time.Second

// usable reports whether calls may be given to the connection.
//
// Caller must hold b.mu.
func (b *balancer) usable(c *conn) bool {
	return c.state == connectivity.Ready && (!b.settings.HealthCheck || c.health.state == healthGood)
}

// checkHealth begins to watch a connection that has come up. It ends the watch of a connection that
// is down, because a server that shuts down gracefully waits for that.
//
// Caller must hold b.mu.
func (b *balancer) checkHealth(c *conn) {
	c.endHealth()
	if !b.settings.HealthCheck || c.state != connectivity.Ready {
		return
	}
	on := c.link.calls()
	if on == nil {
		return
	}
	ctx, stop := context.WithCancel(b.life)
	c.health = connHealth{text: healthNoAnswer, stop: stop}
	w := &healthWatch{balancer: b, conn: c, ctx: ctx, on: on}
	b.work.Go(w.run)
}

// endHealth ends the watch and forgets the health.
//
// Caller must hold b.mu.
func (c *conn) endHealth() {
	if c.health.stop != nil {
		c.health.stop()
	}
	c.health = connHealth{}
}

// healthWatch watches one connection, in a goroutine of its own.
type healthWatch struct {
	balancer *balancer
	conn     *conn
	ctx      context.Context
	on       grpc.ClientConnInterface
	// failed is the number of streams in a row that ended without an answer.
	failed int
}

// run repeats the watch until its context ends, or until the instance says that it has no health
// service.
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
			// Something ended a stream that worked, as proxies do after a while. Its last answer
			// holds until the next attempt fails as well.
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

// pause returns the pause before the next stream. It starts at the base of the backoff between
// attempts to connect, grows with each failure, and has 20 % jitter.
func (w *healthWatch) pause() time.Duration {
	d := w.balancer.settings.BackoffBase
	for i := 1; i < w.failed && d < healthBackoffMax; i++ {
		d = d * 8 / 5
	}
	d = min(d, healthBackoffMax)
	return d - d/5 + time.Duration(balance.Below(uint32(w.balancer.random()), int(2*d/5)))
}

// watch runs one stream, from its start to its end.
func (w *healthWatch) watch() (answers int, err error) {
	ctx, cancel := context.WithCancel(w.ctx)
	defer cancel()
	w.conn.inFlight.Add(1) // the stream counts towards the instance's limit
	defer w.conn.inFlight.Add(-1)
	s, err := w.on.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, healthpb.Health_Watch_FullMethodName)
	if err != nil {
		return 0, err
	}
	if s.SendMsg(&healthpb.HealthCheckRequest{Service: w.balancer.settings.HealthService}) == nil {
		_ = s.CloseSend() // if this fails, receiving fails with the reason
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

// report applies what the watch has found out.
func (w *healthWatch) report(state healthState, text string) {
	b, c := w.balancer, w.conn
	b.lock()
	defer b.publishAndUnlock()
	if w.ctx.Err() != nil {
		return // the connection is gone, or was made again
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
		// An unhealthy endpoint must not get new calls. Its connections stay up, so calls in flight
		// go on.
		b.changed(state == healthBad)
		b.refresh(c.endpoint)
	}
}

// health returns the endpoint's health for operators, which is the best of its connections. It is
// "" if none is up or health is not checked.
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
