// Package balance has the policies that choose an instance for a call: power of two choices, round
// robin and hashing. They support weights, slow start and latencies, and they avoid instances that
// fail.
//
// The package is a leaf. It knows neither connections nor grpc. A policy only chooses. The caller
// checks whether the instance still takes the call.
//
// Everything here is on the path of calls. Nothing takes a lock, and a choice allocates nothing.
package balance

import (
	"sync/atomic"
	"time"
)

// Endpoint is what policies know about an instance. Calls update it.
type Endpoint struct {
	// Seed is the hash of the instance. Hashing mixes it with the key of a call.
	Seed uint64
	// Capacity reports whether the instance takes one more call.
	Capacity Capacity
	// InFlight is the number of calls in flight at the instance.
	InFlight atomic.Int64
	// Latency is the latency of the instance's unary calls.
	Latency Latency

	// avoided is the time until which p2c gives the instance no calls. 0: the instance answers.
	avoided atomic.Int64
	// answered is when a call last ended there with an answer.
	answered atomic.Int64
	// streak counts the calls in a row that failed.
	streak atomic.Int32
}

// Capacity reports whether an instance takes one more call.
type Capacity interface{ HasRoom() bool }

// Call is what a policy knows about a call. Times are nanoseconds on a clock that all endpoints
// share.
type Call struct {
	Now int64
	// Key is the key for hashing, if HasKey is true.
	Key    uint64
	HasKey bool
	// Safe is true if the call may be made again elsewhere.
	Safe bool
	// Tried has the endpoints at which earlier attempts of the call failed.
	Tried []*Endpoint
	// Since is when the last of these attempts began.
	Since int64
}

// TriedAt reports whether an earlier attempt went to the endpoint.
func (c *Call) TriedAt(ep *Endpoint) bool {
	for _, t := range c.Tried {
		if t == ep {
			return true
		}
	}
	return false
}

// Policy chooses an endpoint of a Set.
type Policy interface {
	// Choose returns the index of the endpoint.
	Choose(c Call) int
}

// Set is what a policy chooses from. It never changes. A new policy replaces the old one.
type Set struct {
	// Endpoints has at least one endpoint.
	Endpoints []*Endpoint
	// Weights are the positive weights of Endpoints, in the same order. Nil: all are equal.
	Weights []uint32
	// Random is a source of random numbers. It is safe for concurrent use.
	Random func() uint64
}

// Probes is the maximum number of unfit endpoints that are looked at for a call. After that an
// unfit one gets the call.
const Probes = 16

const (
	// SlowStart is how long an endpoint takes to reach its full share after it was not in use. Its
	// caches are cold at first, and just-in-time compilers have not run.
	SlowStart = 10 * time.Second
	// FullWarmth is the factor for the weight of a warm endpoint.
	FullWarmth = 100
	// firstWarmth is the factor for the weight of an endpoint that begins its slow start.
	firstWarmth = 10
)

// Warmth returns the factor for the weight of an endpoint, given the time that it has been in use.
func Warmth(used time.Duration) uint32 {
	part := min(1, float64(used)/float64(SlowStart))
	return firstWarmth + uint32(part*(FullWarmth-firstWarmth))
}
