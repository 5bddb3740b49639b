package pool

import (
	"time"

	"github.com/caddy-grpc/gateway/internal/pool/balance"
)

const (
	// slowStartSteps is the number of steps in which the share of a cold endpoint grows.
	slowStartSteps = 10
	// coldAfter is how long an endpoint must have been without a connection to count as cold. An
	// endpoint that only renews its connection is not cold.
	coldAfter = time.Second
)

// joinCold makes an endpoint that has become ready start slowly, unless it has been in use long
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

// leaveCold ends the slow start of an endpoint.
//
// Caller must hold b.mu.
func (b *balancer) leaveCold(ep *endpoint) {
	if ep.cold {
		ep.cold = false
		b.cold--
	}
}

// watchCold replaces the picker from time to time while there are cold endpoints.
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

// mixed reports whether there are both cold and warm endpoints. If all are cold, as at the start,
// no warm endpoint can take calls from them.
//
// Caller must hold b.mu.
func (b *balancer) mixed() bool { return b.cold > 0 && b.cold < len(b.ready) }

// weightsOf returns the current weights of ready endpoints. They include the slow start.
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
