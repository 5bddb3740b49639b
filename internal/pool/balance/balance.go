// Package balance has the policies by which a call gets an instance: power of two choices, round
// robin and hashing, with weights, slow start, latencies, and the avoidance of instances that fail.
// It is a leaf: it knows neither connections nor grpc. A policy chooses; whether the instance still
// takes the call is for the caller to see.
//
// Everything here is for the path of calls. Nothing takes a lock, and a choice allocates nothing.
package balance

import (
	"sync/atomic"
	"time"
)

// Endpoint is what policies know of an instance. Calls write it.
type Endpoint struct {
	// Seed is the instance's part in hashing.
	Seed uint64
	// Capacity tells whether the instance takes one more call.
	Capacity Capacity
	// InFlight is the number of calls that it has.
	InFlight atomic.Int64
	// Latency is that of its unary calls.
	Latency Latency

	// avoided is until when p2c gives it no calls. 0: it answers.
	avoided atomic.Int64
	// answered is when a call ended there with an answer.
	answered atomic.Int64
	// streak counts the calls in a row that failed.
	streak atomic.Int32
}

// Capacity tells whether an instance takes one more call.
type Capacity interface{ HasRoom() bool }

// Call is what a policy knows of a call. Times are nanoseconds on a clock that all endpoints share.
type Call struct {
	Now int64
	// Key is where the call goes by hash, if HasKey is true.
	Key    uint64
	HasKey bool
	// Safe is true if the call may be made again elsewhere.
	Safe bool
	// Tried are the endpoints at which earlier attempts of the call failed, the last of them at
	// Since.
	Tried []*Endpoint
	Since int64
}

// TriedAt tells whether an earlier attempt went to the endpoint.
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
	// Choose returns its index.
	Choose(c Call) int
}

// Set is what a policy chooses from. It is never changed: a new policy replaces the old one.
type Set struct {
	// Endpoints has at least one.
	Endpoints []*Endpoint
	// Weights are theirs, in the same order and positive. Nil: all are equal.
	Weights []uint32
	// Random is a source of random numbers, safe for concurrent use.
	Random func() uint64
}

// Probes is how many endpoints that are not fit for a call are looked at before one of them gets it
// nevertheless.
const Probes = 16

const (
	// SlowStart is how long an endpoint that was not in use takes to get its full share: caches are
	// cold, and just-in-time compilers have not run.
	SlowStart = 10 * time.Second
	// FullWarmth is the factor of the weight of an endpoint that is warm.
	FullWarmth = 100
	// firstWarmth is the factor that a cold endpoint starts with.
	firstWarmth = 10
)

// Warmth is the factor of the weight of an endpoint that has been in use for so long.
func Warmth(used time.Duration) uint32 {
	part := min(1, float64(used)/float64(SlowStart))
	return firstWarmth + uint32(part*(FullWarmth-firstWarmth))
}
