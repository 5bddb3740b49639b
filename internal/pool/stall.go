package pool

import (
	"context"
	"time"

	"google.golang.org/grpc/connectivity"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// A frozen instance (SIGSTOP, a stalled virtual machine, a deadlock) closes nothing, and its kernel
// goes on acknowledging what is sent to it. HTTP/2 pings would show this, but stock servers allow
// one ping in five minutes.
//
// So the balancer looks at the endpoints that have calls in flight. If nothing was read from one
// for a while although calls wait there, it is probed: it gets a call that every server answers at
// once. If nothing comes even then, it is stalled.
//
// Silence alone proves nothing, because calls may be slow. That is why the probe is an ordinary RPC
// on the silent connection. Any bytes from the endpoint prove that it lives, even UNIMPLEMENTED or
// bytes of another call.
const (
	// lookEvery is how often the balancer looks while there are calls in flight.
	lookEvery = 500 * time.Millisecond
	// stallAfter is how long the endpoint must have been silent, and a call have waited there,
	// before the endpoint is probed.
	stallAfter = time.Second
	// probeTimeout is how long the endpoint may stay silent after a probe.
	probeTimeout = time.Second
	// probeEvery is the minimum time between two probes of an endpoint.
	probeEvery = 2 * time.Second
)

// silence is what the balancer knows about a silent endpoint. Its times are on the clock of calls.
type silence struct {
	// reads is what endpoint.reads was when the balancer looked.
	reads uint64
	// since is when that value was first seen.
	since int64
	// probed is when the last probe began. Calls that were picked before it are known to be slow
	// and need no other probe.
	probed int64
	// end ends the probe. Nil: no probe is under way.
	end context.CancelFunc
	// stalled is true while the endpoint is ejected because it is silent.
	stalled bool
}

// watch makes the balancer look for silent endpoints from now on. Calls use it.
//
// Called on the call path; takes no lock of the balancer.
func (b *balancer) watch() {
	if b.looking.CompareAndSwap(false, true) && !b.ask(b.lookLater) {
		b.looking.Store(false)
	}
}

// lookLater puts the next look on the agenda.
//
// Caller must hold b.mu.
func (b *balancer) lookLater() { b.at(time.Now().Add(lookEvery), b.lookForSilence) }

// lookForSilence looks at all endpoints. It repeats this while there are calls in flight.
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
		// A new call either sees that nobody looks and calls watch, or anyInFlight sees the call.
		b.looking.Store(false)
		if !b.anyInFlight() || !b.looking.CompareAndSwap(false, true) {
			return
		}
	}
	b.lookLater()
}

// anyInFlight reports whether a ready endpoint has calls in flight.
//
// Caller must hold b.mu.
func (b *balancer) anyInFlight() bool {
	for _, ep := range b.ready {
		if ep.InFlight.Load() > 0 {
			return true
		}
	}
	return false
}

// lookForSilenceOf probes an endpoint if that is due.
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

// probe sends a health check on a connection. It ends when there is an answer or endProbe is
// called. It returns false if it cannot send one. At the limit of concurrent calls, the probe would
// wait inside grpc and prove nothing.
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
	on, s := c.link.calls(), &ep.silence
	ctx, end := context.WithCancel(b.life)
	s.reads, s.probed, s.end = ep.reads.Load(), b.clock(), end
	probed := s.probed
	b.work.Go(func() {
		defer end()
		// The answer does not matter. Its bytes are counted where they are read.
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

// probeAny probes on any connection.
//
// Caller must hold b.mu.
func (b *balancer) probeAny(ep *endpoint) bool {
	ready := ep.ready.Load()
	return ready != nil && len(*ready) > 0 && b.probe(ep, (*ready)[0])
}

// endProbe ends the probe that is under way, if there is one.
//
// Caller must hold b.mu.
func (ep *endpoint) endProbe() {
	if end := ep.silence.end; end != nil {
		ep.silence.end = nil
		end()
	}
}

// ejectIfSilent ejects the endpoint if it stayed silent after a probe. A probe that ended although
// nothing was read has lost its connection, and proves nothing.
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

// stall ejects an endpoint that does not answer. Calls that wait there and may be made again are
// made again elsewhere. Other calls go on waiting, because the endpoint may have begun to execute
// them. The probe stays under way. Its answer brings the endpoint back.
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

// awaitLife ends the ejection of a stalled endpoint when something comes from it. The first
// ejection can end at once. Further ones last one ejection time less than those of an endpoint
// whose calls fail. After such a time the endpoint is probed again first, so that no call finds out
// that it is still stalled. asked reports whether that probe was sent.
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
			ep.calls.giveUp() // these calls were picked while the picker was being replaced
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
			// The probe that is under way has no answer yet.
			asked, s.reads = true, ep.reads.Load()
		}
		b.awaitLife(ep, asked)
	})
}

// leastOut returns the minimum time for which a stalled endpoint stays ejected.
//
// Caller must hold b.mu.
func (b *balancer) leastOut(ep *endpoint) time.Duration {
	return time.Duration(ep.ejections-1) * b.settings.EjectTime
}
