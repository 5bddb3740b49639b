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
// Caller must hold b.mu.
func (b *balancer) joinCold(ep *endpoint) {
	if ep.place >= 0 && !ep.cold && time.Since(ep.warmFrom) < balance.SlowStart {
		ep.cold = true
		b.cold++
		b.watchCold()
	}
}

// leaveCold has an endpoint no longer count as one that starts slowly.
//
// Caller must hold b.mu.
func (b *balancer) leaveCold(ep *endpoint) {
	if ep.cold {
		ep.cold = false
		b.cold--
	}
}

// watchCold replaces the picker now and then while there are cold endpoints.
//
// Caller must hold b.mu.
func (b *balancer) watchCold() {
	if b.coldDue || b.cold == 0 {
		return
	}
	b.coldDue = true
	b.at(time.Now().Add(balance.SlowStart/slowStartSteps), func() {
		b.coldDue = false
		mixed := b.mixed()
		for _, ep := range b.ready {
			if time.Since(ep.warmFrom) >= balance.SlowStart {
				b.leaveCold(ep)
			}
		}
		if mixed || b.mixed() {
			b.changed(false)
		}
		b.watchCold()
	})
}

// mixed is true while there are cold and warm endpoints. When all are cold, as at the start, there
// is nobody to take calls off them.
//
// Caller must hold b.mu.
func (b *balancer) mixed() bool { return b.cold > 0 && b.cold < len(b.ready) }

// weightsOf are the weights of ready endpoints as they count now.
//
// Caller must hold b.mu.
func (b *balancer) weightsOf(endpoints []*endpoint) []uint32 {
	weights := make([]uint32, len(endpoints))
	for i, ep := range endpoints {
		weights[i] = ep.weight
	}
	weights = b.weights.Effective(weights)
	if !b.mixed() {
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
