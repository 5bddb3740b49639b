package balance

import (
	"math"
	"math/bits"
)

// Hash sends equal keys to the same endpoint by rendezvous hashing. Each endpoint has a score for a
// key, and the highest score wins. So an endpoint that comes or goes moves no keys except its own.
// All gateways agree without talking to each other.
//
// A choice looks at every endpoint, which takes two or three nanoseconds each. Calls without a key
// go by P2C.
type Hash struct {
	*P2C

	// seeds are the seeds of the endpoints, in the same order.
	seeds []uint64
}

// NewHash returns the policy. The policy does not use room after NewHash has returned.
func NewHash(s Set, room *Room) *Hash {
	h := &Hash{P2C: NewP2C(s, room), seeds: make([]uint64, len(s.Endpoints))}
	for i, ep := range s.Endpoints {
		h.seeds[i] = ep.Seed
	}
	return h
}

// Choose implements Policy.
func (h *Hash) Choose(c Call) int {
	if !c.HasKey {
		return h.P2C.Choose(c)
	}
	first, second := h.best(c.Key)
	if ep := h.Endpoints[first]; !ep.Capacity.HasRoom() || c.TriedAt(ep) {
		return second
	}
	return first
}

// best returns the endpoints with the two highest scores for a key. If there is only one, it
// returns it twice.
func (h *Hash) best(key uint64) (first, second int) {
	if h.Weights != nil {
		return h.heaviest(key)
	}
	top, next := Mix(key^h.seeds[0]), uint64(0)
	for i, seed := range h.seeds[1:] {
		switch score := Mix(key ^ seed); {
		case score <= next:
		case score <= top:
			second, next = i+1, score
		default:
			first, second = i+1, first
			top, next = score, top
		}
	}
	return first, second
}

// heaviest is best for weights that differ. The score is -w/ln(u), where u is the hash as a number
// between 0 and 1. So each endpoint wins with a chance in proportion to its weight. Since -ln(u) >=
// 1-u, a score is at most w/(1-u). This saves the logarithm for most endpoints.
func (h *Hash) heaviest(key uint64) (first, second int) {
	top, next := math.Inf(-1), math.Inf(-1)
	for i, seed := range h.seeds {
		u, w := (float64(Mix(key^seed)>>12)+0.5)/(1<<52), float64(h.Weights[i])
		if w <= next*(1-u) {
			continue
		}
		switch score := -w / math.Log(u); {
		case score > top:
			first, second = i, first
			top, next = score, top
		case score > next:
			second, next = i, score
		}
	}
	if math.IsInf(next, -1) {
		second = first
	}
	return first, second
}

// Mix makes every bit of the result depend on every bit of x. It multiplies and folds the high half
// into the low half, twice.
func Mix(x uint64) uint64 {
	for _, odd := range [...]uint64{0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93} {
		hi, lo := bits.Mul64(x^odd>>32, odd)
		x = hi ^ lo
	}
	return x
}
