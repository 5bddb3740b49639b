package pool

import "time"

const (
	// maxEjections bounds how often the time of an ejection grows, by the configured time each.
	maxEjections = 10
	// goodConduct is how long an endpoint must not have been ejected for its next ejection to count
	// as the first one.
	goodConduct = 5 * time.Minute
	// patientCall is how long a call must have waited for its DEADLINE_EXCEEDED to speak against
	// the endpoint.
	patientCall = time.Second
)

// recordFailure counts a call that failed at the endpoint, and ejects it when too many did in a
// row. It is on the way of a call.
//
// Called on the call path; takes no lock of the balancer.
func (b *balancer) recordFailure(ep *endpoint) {
	n := ep.Fail(b.clock())
	if limit := b.settings.EjectFailures; limit > 0 && n%limit == 0 {
		b.ask(func() { b.eject(ep) })
	}
}

// eject takes an endpoint out of the picker for a while, unless too many are out already, or no
// other one is left.
//
// Caller must hold b.mu.
func (b *balancer) eject(ep *endpoint) {
	if !b.mayEject(ep) {
		return
	}
	d := b.takeOut(ep)
	why := ""
	if last := ep.lastError.Load(); last != nil {
		why = last.text
	}
	b.events.ejected(ep.addr, why, d)
	ejected := ep.ejectedAt
	b.at(ejected.Add(d), func() {
		if ep.ejectedAt.Equal(ejected) {
			b.uneject(ep)
		}
	})
}

// mayEject tells whether the endpoint gets calls, and it does no harm that it gets none.
//
// Caller must hold b.mu.
func (b *balancer) mayEject(ep *endpoint) bool {
	return ep.place >= 0 && len(b.ready) >= 2 && 100*(b.ejected+1) <= b.settings.EjectMaxPercent*b.active
}

// takeOut has an endpoint get no calls any more, and says how long that should last.
//
// Caller must hold b.mu.
func (b *balancer) takeOut(ep *endpoint) time.Duration {
	now := time.Now()
	if now.Sub(ep.unejected) > goodConduct {
		ep.ejections = 0
	}
	ep.ejections = min(ep.ejections+1, maxEjections)
	ep.ejected, ep.ejectedAt, ep.since = true, now, now
	b.ejected++
	b.ejections++
	b.changed(true)
	b.refresh(ep)
	return time.Duration(ep.ejections) * b.settings.EjectTime
}

// uneject gives an ejected endpoint calls again, few at first.
//
// Caller must hold b.mu.
func (b *balancer) uneject(ep *endpoint) {
	if !ep.ejected {
		return
	}
	b.clearEjection(ep)
	b.events.readmitted(ep.addr)
	ep.unejected = time.Now()
	ep.since = ep.unejected
	ep.warmFrom = ep.unejected
	b.refresh(ep)
}

// clearEjection forgets that an endpoint is ejected.
//
// Caller must hold b.mu.
func (b *balancer) clearEjection(ep *endpoint) {
	if ep.ejected {
		ep.ejected = false
		ep.EndStreak()
		b.ejected--
	}
	if ep.silence.stalled {
		ep.silence.stalled = false
		ep.endProbe()
	}
}

// unejectAll readmits all endpoints: there are no others left, and calls that may fail are better
// than calls that must.
//
// Caller must hold b.mu.
func (b *balancer) unejectAll() {
	if b.ejected == 0 {
		return
	}
	b.changed(true)
	for _, ep := range b.endpoints {
		b.uneject(ep)
	}
}
