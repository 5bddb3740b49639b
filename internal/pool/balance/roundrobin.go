package balance

import (
	"slices"
	"sync/atomic"
)

// RoundRobin gives calls to the endpoints in turn. With weights, each round goes over all
// endpoints, and one whose weight is less than the largest is passed over in as many rounds as its
// weight demands, evenly spread.
type RoundRobin struct {
	Set

	turn    *atomic.Uint64
	largest uint64
}

// NewRoundRobin returns the policy. The turn is kept over policies, so that a new one does not
// start at the first endpoint again.
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

// due tells whether the endpoint takes its turn in a round. Its weight is credited in each round,
// and a turn costs the largest weight. Half a turn more of credit for each next endpoint spreads
// the turns over the rounds.
func (r *RoundRobin) due(i, round uint64) bool {
	w := uint64(r.Weights[i])
	credit := (round%r.largest)*w + i*r.largest/2
	return credit%r.largest+w >= r.largest
}
