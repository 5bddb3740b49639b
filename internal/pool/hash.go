package pool

import (
	"context"
	"math"
	"math/bits"

	"github.com/cespare/xxhash/v2"
	"google.golang.org/grpc/balancer"
)

type hashKey struct{}

// WithHash gives calls made with the context the key that BalanceHash goes by: equal keys go to the same endpoint as long
// as it is there. The other policies take no notice.
func WithHash(ctx context.Context, key string) context.Context {
	return context.WithValue(ctx, hashKey{}, xxhash.Sum64String(key))
}

// hashing sends equal keys to the same endpoint. It is rendezvous hashing: each endpoint scores for a key, and the highest score
// wins, so an endpoint that comes or goes moves no keys but its own, and all gateways agree without a word. A pick looks at
// every endpoint, which is two or three nanoseconds each. Calls without a key go by p2c.
type hashing struct {
	*p2c

	seeds []uint64 // of the endpoints, in their order
}

func newHashing(c candidates) *hashing {
	h := &hashing{p2c: newP2C(c), seeds: make([]uint64, len(c.endpoints))}
	for i, ep := range c.endpoints {
		h.seeds[i] = ep.seed
	}
	return h
}

// Pick is called by grpc for each attempt of a call.
func (h *hashing) Pick(info balancer.PickInfo) (balancer.PickResult, error) {
	key, ok := info.Ctx.Value(hashKey{}).(uint64)
	if !ok {
		return h.p2c.Pick(info)
	}
	l := leaseFrom(info.Ctx)
	first, second := h.best(key)
	if conn, room := h.endpoints[first].pickConn(); conn == nil || !room || l.triedAt(h.endpoints[first]) {
		first = second
	}
	return h.take(first, l, h.fleet.clock())
}

// best gives the endpoints with the two highest scores for a key; the same one twice when there is no other.
func (h *hashing) best(key uint64) (first, second int) {
	if h.weights != nil {
		return h.heaviest(key)
	}
	top, next := mix(key^h.seeds[0]), uint64(0)
	for i, seed := range h.seeds[1:] {
		switch score := mix(key ^ seed); {
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

// heaviest is best where weights differ. A score is -w/ln(u) then, u being the hash as a number between 0 and 1, which has each
// endpoint win with a chance in proportion to its weight. Since -ln(u) >= 1-u, it is at most w/(1-u), which spares most of them the logarithm.
func (h *hashing) heaviest(key uint64) (first, second int) {
	top, next := math.Inf(-1), math.Inf(-1)
	for i, seed := range h.seeds {
		u, w := (float64(mix(key^seed)>>12)+0.5)/(1<<52), float64(h.weights[i])
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

// mix makes every bit of the result depend on every bit of x: multiply, and fold the high half into the low one, twice.
func mix(x uint64) uint64 {
	for _, odd := range [...]uint64{0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93} {
		hi, lo := bits.Mul64(x^odd>>32, odd)
		x = hi ^ lo
	}
	return x
}
