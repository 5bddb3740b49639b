package balance

import "time"

// Ejection takes time, and never takes more than a part of the endpoints. Meanwhile one that fails
// at once looks attractive, since it never has calls in flight. So p2c avoids endpoints whose last
// call failed, and prefers any that answers. Where none answers, calls go as if all did. One
// answer, even to a call that was in flight, and all is forgotten.

const (
	// avoidFirst is for how long an endpoint is avoided after a failure. Each further one in a row
	// doubles it, up to avoidMax.
	avoidFirst = 100 * time.Millisecond
	avoidMax   = 3 * time.Second
	// trialTime is how long the call that tries an avoided endpoint has for it.
	trialTime = time.Second
)

// avoidFor is how long an endpoint is avoided after as many failures in a row.
func avoidFor(streak int32) time.Duration {
	if streak > 10 {
		return avoidMax
	}
	return min(avoidFirst<<max(0, streak-1), avoidMax)
}

// Fail notes that a call failed at the endpoint. It returns how many have failed in a row.
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

// trial tells whether a call is to try an endpoint that has been avoided long enough. One call at a
// time is, and rather one that is safe, which can be made again elsewhere: others have to wait
// twice as long.
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
