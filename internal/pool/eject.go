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
// Called on the call path; takes no lock of the fleet.
func (f *fleet) recordFailure(ep *endpoint) {
	n := ep.Fail(f.clock())
	if limit := f.settings.EjectFailures; limit > 0 && n%limit == 0 {
		f.ask(func() { f.eject(ep) })
	}
}

// eject takes an endpoint out of the picker for a while, unless too many are out already, or no
// other one is left.
//
// Caller must hold f.mu.
func (f *fleet) eject(ep *endpoint) {
	if !f.mayEject(ep) {
		return
	}
	d := f.takeOut(ep)
	why := ""
	if last := ep.lastError.Load(); last != nil {
		why = last.text
	}
	f.events.ejected(ep.addr, why, d)
	ejected := ep.ejectedAt
	f.at(ejected.Add(d), func() {
		if ep.ejectedAt.Equal(ejected) {
			f.uneject(ep)
		}
	})
}

// mayEject tells whether the endpoint gets calls, and it does no harm that it gets none.
//
// Caller must hold f.mu.
func (f *fleet) mayEject(ep *endpoint) bool {
	return ep.place >= 0 && len(f.ready) >= 2 && 100*(f.ejected+1) <= f.settings.EjectMaxPercent*f.active
}

// takeOut has an endpoint get no calls any more, and says how long that should last.
//
// Caller must hold f.mu.
func (f *fleet) takeOut(ep *endpoint) time.Duration {
	now := time.Now()
	if now.Sub(ep.unejected) > goodConduct {
		ep.ejections = 0
	}
	ep.ejections = min(ep.ejections+1, maxEjections)
	ep.ejected, ep.ejectedAt, ep.since = true, now, now
	f.ejected++
	f.ejections++
	f.changed(true)
	f.refresh(ep)
	return time.Duration(ep.ejections) * f.settings.EjectTime
}

// uneject gives an ejected endpoint calls again, few at first.
//
// Caller must hold f.mu.
func (f *fleet) uneject(ep *endpoint) {
	if !ep.ejected {
		return
	}
	f.clearEjection(ep)
	f.events.readmitted(ep.addr)
	ep.unejected = time.Now()
	ep.since = ep.unejected
	ep.warmFrom = ep.unejected
	f.refresh(ep)
}

// clearEjection forgets that an endpoint is ejected.
//
// Caller must hold f.mu.
func (f *fleet) clearEjection(ep *endpoint) {
	if ep.ejected {
		ep.ejected = false
		ep.EndStreak()
		f.ejected--
	}
	if ep.silence.stalled {
		ep.silence.stalled = false
		ep.endProbe()
	}
}

// unejectAll readmits all endpoints: there are no others left, and calls that may fail are better
// than calls that must.
//
// Caller must hold f.mu.
func (f *fleet) unejectAll() {
	if f.ejected == 0 {
		return
	}
	f.changed(true)
	for _, ep := range f.endpoints {
		f.uneject(ep)
	}
}
