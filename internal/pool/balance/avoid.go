package balance

import "time"

// Ejection takes time, and it never takes out all endpoints. Meanwhile an endpoint that fails at
// once looks attractive, because it never has calls in flight. So p2c avoids endpoints whose last
// call failed, and prefers any endpoint that answers. If none answers, it avoids none. One answer,
// even to a call that was already in flight, ends the avoidance.

const (
	// avoidFirst is how long an endpoint is avoided after a failure. Each further failure in a row
	// doubles the time, up to avoidMax.
	avoidFirst = 100 * time.Millisecond
	avoidMax   = 3 * time.Second
	// trialTime is how long the call that tries an avoided endpoint may take before another one may
	// try it.
	trialTime = time.Second
)

// avoidFor returns how long an endpoint is avoided after this many failures in a row.
func avoidFor(streak int32) time.Duration {
	if streak > 10 {
		return avoidMax
	}
	return min(avoidFirst<<max(0, streak-1), avoidMax)
}

// Fail notes that a call failed at the endpoint. It returns the number of failures in a row.
func (ep *Endpoint) Fail(now int64) (inARow int) {
	n := ep.streak.Add(1)
	ep.avoided.Store(now + int64(avoidFor(n)))
	return int(n)
}

// Answer notes that a call ended with an answer.
func (ep *Endpoint) Answer(now int64) {
	ep.answered.Store(now)
	if ep.streak.Load() != 0 {
		ep.streak.Store(0)
	}
	if ep.avoided.Load() != 0 {
		ep.avoided.Store(0)
	}
}

// EndStreak makes the next failure the first one in a row.
func (ep *Endpoint) EndStreak() { ep.streak.Store(0) }

// trial reports whether this call should try an endpoint that has been avoided long enough. Only
// one call at a time does. A safe call is preferred, because it can be made again elsewhere. Other
// calls must wait twice as long.
func (ep *Endpoint) trial(now int64, safe bool) bool {
	until := ep.avoided.Load()
	if until == 0 || now < until {
		return false
	}
	if !safe && now < until+int64(avoidFor(ep.streak.Load())) {
		return false
	}
	return ep.avoided.CompareAndSwap(until, now+int64(trialTime))
}
