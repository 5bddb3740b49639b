package balance

import (
	"slices"
	"sync/atomic"
)

// RoundRobin gives calls to the endpoints in turn. With weights, each round goes over all
// endpoints. An endpoint with less than the largest weight is passed over in some rounds, as its
// weight demands. These rounds are evenly spread.
type RoundRobin struct {
	Set

	turn    *atomic.Uint64
	largest uint64
}

// NewRoundRobin returns the policy. The turn is kept from policy to policy, so that a new one does
// not start at the first endpoint again.
func NewRoundRobin(s Set, turn *atomic.Uint64) *RoundRobin {
	r := &RoundRobin{Set: s, turn: turn}
	if s.Weights != nil {
		r.largest = uint64(slices.Max(s.Weights))
	}
	return r
}

// Choose implements Policy.
func (r *RoundRobin) Choose(Call) int {
	n := uint64(len(r.Endpoints))
	for {
		turn := r.turn.Add(1)
		i := turn % n
		if r.Weights == nil || r.due(i, turn/n) {
			return int(i)
		}
	}
}

// due reports whether the endpoint takes its turn in a round. Each round credits its weight, and a
// turn costs the largest weight. Each next endpoint starts with half a turn more of credit. That
// spreads the turns over the rounds.
func (r *RoundRobin) due(i, round uint64) bool {
	w := uint64(r.Weights[i])
	credit := (round%r.largest)*w + i*r.largest/2
	return credit%r.largest+w >= r.largest
}
