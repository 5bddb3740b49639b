package pool

import "time"

// Ejection takes time, and never takes more than a part of the endpoints. Meanwhile one that fails at once looks attractive, since
// it never has calls in flight. So p2c avoids endpoints whose last call failed, and prefers any that answers. It is no verdict: where
// none answers, calls go as if all did; one answer, also to a call that was in flight, and all is forgotten.

const (
	// avoidFirst is for how long an endpoint is avoided after a failure. Each further one in a row doubles it, up to avoidMax.
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

// avoid notes a failure, the nth in a row.
func (ep *endpoint) avoid(now int64, n int32) { ep.avoided.Store(now + int64(avoidFor(n))) }

// answers notes that a call ended with an answer.
func (ep *endpoint) answers(now int64) {
	ep.answered.Store(now)
	ep.endStreak()
}

// trial tells whether a call is to try an endpoint that has been avoided long enough. One call at a time is, and rather one that is
// safe, which can be made again elsewhere: others have to wait twice as long.
func (ep *endpoint) trial(now int64, safe bool) bool {
	until := ep.avoided.Load()
	if until == 0 || now < until {
		return false
	}
	if !safe && now < until+int64(avoidFor(ep.streak.Load())) {
		return false
	}
	return ep.avoided.CompareAndSwap(until, now+int64(trialTime))
}
