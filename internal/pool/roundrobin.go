package pool

import (
	"slices"

	"google.golang.org/grpc/balancer"
)

// roundRobin gives calls to the endpoints in turn. With weights, each round goes over all endpoints, and one whose weight is
// less than the largest is passed over in as many rounds as its weight demands, evenly spread.
type roundRobin struct {
	candidates
	largest uint64
}

func newRoundRobin(c candidates) *roundRobin {
	r := &roundRobin{candidates: c}
	if c.weights != nil {
		r.largest = uint64(slices.Max(c.weights))
	}
	return r
}

// Pick is called by grpc for each attempt of a call.
func (r *roundRobin) Pick(info balancer.PickInfo) (balancer.PickResult, error) {
	return r.take(r.next(), leaseFrom(info.Ctx), r.fleet.clock())
}

func (r *roundRobin) next() int {
	n := uint64(len(r.endpoints))
	for {
		turn := r.fleet.turn.Add(1)
		i := turn % n
		if r.weights == nil || r.due(i, turn/n) {
			return int(i)
		}
	}
}

// due tells whether the endpoint takes its turn in a round. Its weight is credited in each round, and a turn costs the largest
// weight; half a turn more of credit for each next endpoint spreads the turns over the rounds.
func (r *roundRobin) due(i, round uint64) bool {
	w := uint64(r.weights[i])
	credit := (round%r.largest)*w + i*r.largest/2
	return credit%r.largest+w >= r.largest
}
