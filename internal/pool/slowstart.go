package pool

import (
	"time"

	"github.com/caddy-grpc/gateway/internal/pool/balance"
)

const (
	// slowStartSteps is in how many steps the share of a cold endpoint grows.
	slowStartSteps = 10
	// coldAfter is how long an endpoint must have been without a connection to count as cold. One
	// that only renews its connection is not.
	coldAfter = time.Second
)

// joinCold has an endpoint that has become ready start slowly, unless it has been in use long
// enough.
//
// Caller must hold f.mu.
func (f *fleet) joinCold(ep *endpoint) {
	if ep.place >= 0 && !ep.cold && time.Since(ep.warmFrom) < balance.SlowStart {
		ep.cold = true
		f.cold++
		f.watchCold()
	}
}

// leaveCold has an endpoint no longer count as one that starts slowly.
//
// Caller must hold f.mu.
func (f *fleet) leaveCold(ep *endpoint) {
	if ep.cold {
		ep.cold = false
		f.cold--
	}
}

// watchCold replaces the picker now and then while there are cold endpoints.
//
// Caller must hold f.mu.
func (f *fleet) watchCold() {
	if f.coldDue || f.cold == 0 {
		return
	}
	f.coldDue = true
	f.at(time.Now().Add(balance.SlowStart/slowStartSteps), func() {
		f.coldDue = false
		mixed := f.mixed()
		for _, ep := range f.ready {
			if time.Since(ep.warmFrom) >= balance.SlowStart {
				f.leaveCold(ep)
			}
		}
		if mixed || f.mixed() {
			f.changed(false)
		}
		f.watchCold()
	})
}

// mixed is true while there are cold and warm endpoints. When all are cold, as at the start, there
// is nobody to take calls off them.
//
// Caller must hold f.mu.
func (f *fleet) mixed() bool { return f.cold > 0 && f.cold < len(f.ready) }

// weightsOf are the weights of ready endpoints as they count now.
//
// Caller must hold f.mu.
func (f *fleet) weightsOf(endpoints []*endpoint) []uint32 {
	weights := make([]uint32, len(endpoints))
	for i, ep := range endpoints {
		weights[i] = ep.weight
	}
	weights = f.weights.Effective(weights)
	if !f.mixed() {
		return weights
	}
	now := time.Now()
	for i, ep := range endpoints {
		warmth := uint32(balance.FullWarmth)
		if ep.cold {
			warmth = balance.Warmth(now.Sub(ep.warmFrom))
		}
		weights[i] *= warmth
	}
	return weights
}
