package pool

import (
	"context"
	"time"

	"google.golang.org/grpc/connectivity"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// An instance that is frozen (SIGSTOP, a stalled virtual machine, a deadlock) closes nothing, and
// its kernel goes on acknowledging what is sent to it. HTTP/2 pings would tell, but stock servers
// allow one in five minutes. So the balancer looks at the endpoints that have calls in flight: one
// from which nothing has been read for a while, though calls wait for it, is asked something that
// every server answers at once, and when nothing comes even then it is stalled.
//
// Silence alone proves nothing, since calls may be slow, and so the question is an ordinary RPC on
// the connection that is silent. Whatever comes proves life, also UNIMPLEMENTED, and the bytes of
// anything else.
const (
	// lookEvery is how often the balancer looks while there are calls in flight.
	lookEvery = 500 * time.Millisecond
	// stallAfter is how long a call must have waited, and nothing have come from the endpoint,
	// before it is asked.
	stallAfter = time.Second
	// probeTimeout is how long something must come from it then.
	probeTimeout = time.Second
	// probeEvery is the least time between two questions to an endpoint.
	probeEvery = 2 * time.Second
)

// silence is what the balancer knows of an endpoint that says nothing. Its times are on the clock
// of calls.
type silence struct {
	reads uint64 // of the endpoint, when it was looked at
	since int64  // when these were seen first
	// When the last probe began: calls that were picked before it are known to be slow and need no
	// other.
	probed  int64
	end     context.CancelFunc // of the probe; nil: none is under way
	stalled bool               // it is ejected for its silence
}

// watch has the balancer look after its endpoints from now on. It is on the way of a call.
//
// Called on the call path; takes no lock of the balancer.
func (b *balancer) watch() {
	if b.looking.CompareAndSwap(false, true) && !b.ask(b.lookLater) {
		b.looking.Store(false)
	}
}

// Caller must hold b.mu.
func (b *balancer) lookLater() { b.at(time.Now().Add(lookEvery), b.lookForSilence) }

// lookForSilence goes over the endpoints, and goes on doing so while there are calls in flight.
//
// Caller must hold b.mu.
func (b *balancer) lookForSilence() {
	now, busy := b.clock(), false
	for _, ep := range b.ready {
		if ep.InFlight.Load() > 0 {
			busy = true
			b.lookForSilenceOf(ep, now)
		}
	}
	if !busy {
		// A call that came since then either sees that nobody looks, or is seen here.
		b.looking.Store(false)
		if !b.anyInFlight() || !b.looking.CompareAndSwap(false, true) {
			return
		}
	}
	b.lookLater()
}

// Caller must hold b.mu.
func (b *balancer) anyInFlight() bool {
	for _, ep := range b.ready {
		if ep.InFlight.Load() > 0 {
			return true
		}
	}
	return false
}

// lookForSilenceOf has an endpoint probed if that is due.
//
// Caller must hold b.mu.
func (b *balancer) lookForSilenceOf(ep *endpoint, now int64) {
	s := &ep.silence
	if s.end != nil {
		return
	}
	if reads := ep.reads.Load(); reads != s.reads {
		s.reads, s.since = reads, now
		return
	}
	if now-s.since < int64(stallAfter) || s.probed > 0 && now-s.probed < int64(probeEvery) || !b.mayEject(ep) {
		return
	}
	if c := ep.calls.pickedBetween(s.probed, now-int64(stallAfter)); c != nil && b.probe(ep, c) {
		probed := s.probed
		b.at(time.Now().Add(probeTimeout), func() { b.ejectIfSilent(ep, probed) })
	}
}

// probe asks on a connection, until there is an answer or endProbe is called. It is false when it
// cannot: beyond the limit of concurrent calls the question would wait in grpc, and be no proof.
//
// Caller must hold b.mu.
func (b *balancer) probe(ep *endpoint, c *conn) bool {
	if c.gone || c.state != connectivity.Ready {
		return false
	}
	if n, limit := c.inFlight.Add(1), c.limit.Load(); limit > 0 && n > int64(limit) {
		c.inFlight.Add(-1)
		return false
	}
	on, s := c.rpc(), &ep.silence
	ctx, end := context.WithCancel(b.life)
	s.reads, s.probed, s.end = ep.reads.Load(), b.clock(), end
	probed := s.probed
	b.work.Go(func() {
		defer end()
		// What it says does not matter: that bytes came is counted where they are read.
		_ = on.Invoke(ctx, healthpb.Health_Check_FullMethodName, &healthpb.HealthCheckRequest{}, &healthpb.HealthCheckResponse{})
		c.inFlight.Add(-1)
		b.lock()
		defer b.publishAndUnlock()
		if s.probed == probed {
			s.end = nil
		}
	})
	return true
}

// probeAny asks on any connection.
//
// Caller must hold b.mu.
func (b *balancer) probeAny(ep *endpoint) bool {
	ready := ep.ready.Load()
	return ready != nil && len(*ready) > 0 && b.probe(ep, (*ready)[0])
}

// endProbe ends the question that is under way, if there is one.
//
// Caller must hold b.mu.
func (ep *endpoint) endProbe() {
	if end := ep.silence.end; end != nil {
		ep.silence.end = nil
		end()
	}
}

// ejectIfSilent decides what the silence after a probe means. One that has ended without anything
// having been read lost its connection, and is no proof.
//
// Caller must hold b.mu.
func (b *balancer) ejectIfSilent(ep *endpoint, probed int64) {
	s := &ep.silence
	if s.end == nil || s.probed != probed {
		return
	}
	if ep.reads.Load() != s.reads || !b.mayEject(ep) {
		ep.endProbe()
		return
	}
	b.stall(ep)
}

// stall ejects an endpoint that does not answer. The calls that wait for it and may be made again
// are, elsewhere; the others go on waiting, since it may have begun to execute them. The probe
// stays under way: its answer is what brings the endpoint back.
//
// Caller must hold b.mu.
func (b *balancer) stall(ep *endpoint) {
	silent := time.Duration(b.clock() - ep.silence.since).Round(100 * time.Millisecond)
	ep.silence.stalled = true
	b.takeOut(ep)
	again := ep.calls.giveUp()
	b.events.stalled(ep.addr, stalledText, silent, again, b.leastOut(ep))
	b.awaitLife(ep, b.leastOut(ep) == 0)
}

// stalledText is the error of a stalled endpoint, for operators.
const stalledText = "it does not answer, not even a health check on the same connection"

// awaitLife readmits a stalled endpoint when something comes from it: the first time at once, else
// after one ejection time less than an endpoint whose calls fail. Then it is asked anew, so that no
// call finds out that it stalled again. asked is whether it has been.
//
// Caller must hold b.mu.
func (b *balancer) awaitLife(ep *endpoint, asked bool) {
	ejected := ep.ejectedAt
	b.at(time.Now().Add(lookEvery), func() {
		s := &ep.silence
		if !s.stalled || !ep.ejectedAt.Equal(ejected) {
			return
		}
		alive := ep.reads.Load() != s.reads
		if !alive {
			ep.calls.giveUp() // what was picked while the picker was being replaced
		}
		out := time.Since(ejected)
		switch {
		case out < b.leastOut(ep):
		case asked && alive:
			b.uneject(ep)
			b.events.recovered(ep.addr, out)
			return
		case s.end == nil && b.clock()-s.probed >= int64(probeEvery):
			asked = b.probeAny(ep)
		default:
			// The question that is under way has no answer yet.
			asked, s.reads = true, ep.reads.Load()
		}
		b.awaitLife(ep, asked)
	})
}

// leastOut is how long a stalled endpoint stays ejected at least.
//
// Caller must hold b.mu.
func (b *balancer) leastOut(ep *endpoint) time.Duration {
	return time.Duration(ep.ejections-1) * b.settings.EjectTime
}
