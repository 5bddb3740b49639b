package pool

import "time"

const (
	// maxEjections bounds how often the time of an ejection grows, by the configured time each.
	maxEjections = 10
	// goodConduct is how long an endpoint must not have been ejected for its next ejection to count as the first one.
	goodConduct = 5 * time.Minute
	// patientCall is how long a call must have waited for its DEADLINE_EXCEEDED to speak against the endpoint.
	patientCall = time.Second
)

// suspect counts a call that failed at the endpoint, and ejects it when too many did in a row. It is on the way of a call.
func (f *fleet) suspect(ep *endpoint) {
	n := ep.streak.Add(1)
	ep.avoid(f.clock(), n)
	if limit := f.settings.EjectFailures; limit > 0 && int(n)%limit == 0 {
		f.ask(func() { f.eject(ep) })
	}
}

// endStreak notes that the endpoint answers.
func (ep *endpoint) endStreak() {
	if ep.streak.Load() != 0 {
		ep.streak.Store(0)
	}
	if ep.avoided.Load() != 0 {
		ep.avoided.Store(0)
	}
}

// eject takes an endpoint out of the picker for a while, unless too many are out already, or no other one is left.
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
			f.readmit(ep)
		}
	})
}

// mayEject tells whether the endpoint gets calls, and it does no harm that it gets none.
func (f *fleet) mayEject(ep *endpoint) bool {
	return ep.place >= 0 && len(f.ready) >= 2 && 100*(f.ejected+1) <= f.settings.EjectMaxPercent*f.active
}

// takeOut has an endpoint get no calls any more, and says how long that should last.
func (f *fleet) takeOut(ep *endpoint) time.Duration {
	now := time.Now()
	if now.Sub(ep.pardoned) > goodConduct {
		ep.ejections = 0
	}
	ep.ejections = min(ep.ejections+1, maxEjections)
	ep.ejected, ep.ejectedAt, ep.since = true, now, now
	f.ejected++
	f.ejections++
	f.changed(true)
	f.settle(ep)
	return time.Duration(ep.ejections) * f.settings.EjectTime
}

// readmit gives an ejected endpoint calls again, few at first.
func (f *fleet) readmit(ep *endpoint) {
	if !ep.ejected {
		return
	}
	f.acquit(ep)
	f.events.readmitted(ep.addr)
	ep.pardoned = time.Now()
	ep.since = ep.pardoned
	ep.warmFrom = ep.pardoned
	f.settle(ep)
}

// acquit forgets that an endpoint is ejected.
func (f *fleet) acquit(ep *endpoint) {
	if ep.ejected {
		ep.ejected = false
		ep.streak.Store(0)
		f.ejected--
	}
	if ep.silence.stalled {
		ep.silence.stalled = false
		ep.endProbe()
	}
}

// pardon readmits all endpoints: there are no others left, and calls that may fail are better than calls that must.
func (f *fleet) pardon() {
	if f.ejected == 0 {
		return
	}
	f.changed(true)
	for _, ep := range f.endpoints {
		f.readmit(ep)
	}
}
