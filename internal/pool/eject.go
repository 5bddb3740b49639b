package pool

import "time"

const (
	// maxEjections limits how long an ejection gets. Each ejection in a row lasts one EjectTime
	// longer than the one before, up to this many.
	maxEjections = 10
	// goodConduct is how long an endpoint must go without an ejection before the next one counts as
	// the first.
	goodConduct = 5 * time.Minute
	// patientCall is the minimum time that a call must have waited. Otherwise its DEADLINE_EXCEEDED
	// does not count as a failure of the endpoint.
	patientCall = time.Second
)

// recordFailure counts a failed call. It ejects the endpoint if too many calls in a row have
// failed. Calls use it.
//
// Called on the call path; takes no lock of the balancer.
func (b *balancer) recordFailure(ep *endpoint) {
	n := ep.Fail(b.clock())
	if limit := b.settings.EjectFailures; limit > 0 && n%limit == 0 {
		b.ask(func() { b.eject(ep) })
	}
}

// eject takes an endpoint out of the picker for a while. It does nothing if too many are out
// already, or if no other endpoint is left.
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

// mayEject reports whether the endpoint gets calls now and may be ejected.
//
// Caller must hold b.mu.
func (b *balancer) mayEject(ep *endpoint) bool {
	return ep.place >= 0 && len(b.ready) >= 2 && 100*(b.ejected+1) <= b.settings.EjectMaxPercent*b.active
}

// takeOut stops calls to an endpoint. It returns how long that should last.
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

// unejectAll ends all ejections. It is used when no other endpoint is left. Calls that may fail are
// better than calls that must fail.
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
