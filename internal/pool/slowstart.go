package pool

import "time"

const (
	// slowStart is how long an endpoint that was not in use takes to get its full share: caches are cold, and just-in-time
	// compilers have not run.
	slowStart = 10 * time.Second
	// slowStartSteps is in how many steps the share grows.
	slowStartSteps = 10
	// coldAfter is how long an endpoint must have been without a connection to count as cold: one that only renews its connection
	// is not.
	coldAfter = time.Second
	// firstShare is the part of its share that a cold endpoint starts with, of fullWarmth.
	firstShare = 10
)

// joinCold has an endpoint that has become ready start slowly, unless it has been in use long enough.
func (f *fleet) joinCold(ep *endpoint) {
	if ep.place >= 0 && !ep.cold && time.Since(ep.warmFrom) < slowStart {
		ep.cold = true
		f.cold++
		f.watchCold()
	}
}

// leaveCold has an endpoint no longer count as one that starts slowly.
func (f *fleet) leaveCold(ep *endpoint) {
	if ep.cold {
		ep.cold = false
		f.cold--
	}
}

// watchCold replaces the picker now and then while there are cold endpoints.
func (f *fleet) watchCold() {
	if f.coldDue || f.cold == 0 {
		return
	}
	f.coldDue = true
	f.at(time.Now().Add(slowStart/slowStartSteps), func() {
		f.coldDue = false
		mixed := f.mixed()
		for _, ep := range f.ready {
			if time.Since(ep.warmFrom) >= slowStart {
				f.leaveCold(ep)
			}
		}
		if mixed || f.mixed() {
			f.changed(false)
		}
		f.watchCold()
	})
}

// mixed is true while there are cold and warm endpoints. When all are cold, as at the start, there is nobody to take calls off them.
func (f *fleet) mixed() bool { return f.cold > 0 && f.cold < len(f.ready) }

// warmth is the factor of the endpoint's weight, up to fullWarmth.
func (ep *endpoint) warmth(now time.Time) uint32 {
	if !ep.cold {
		return fullWarmth
	}
	part := min(1, float64(now.Sub(ep.warmFrom))/float64(slowStart))
	return firstShare + uint32(part*(fullWarmth-firstShare))
}
