package discovery

import (
	"math/rand/v2"
	"time"
)

// Backoff says how long to wait before the next try: Base, doubled with each try up to Max, with jitter so that many gateways
// do not come back in step. The zero value waits 1 s to 30 s. It is for one goroutine.
type Backoff struct {
	Base time.Duration // default 1 s
	Max  time.Duration // default 30 s

	tries int
}

// Next is the time to wait now: between 80 % and 120 % of the step, never more than Max.
func (b *Backoff) Next() time.Duration {
	base, most := b.Base, b.Max
	if base <= 0 {
		base = time.Second
	}
	if most <= 0 {
		most = 30 * time.Second
	}
	step := base
	for range b.tries {
		step = min(step*2, most)
	}
	if step < most {
		b.tries++
	}
	return min(Jitter(step, 0.2), most)
}

// Reset starts again from Base, after a success.
func (b *Backoff) Reset() { b.tries = 0 }

// Jitter is d, more or less by up to the given share: Jitter(time.Minute, 0.1) is between 54 s and 66 s.
func Jitter(d time.Duration, share float64) time.Duration {
	return time.Duration(float64(d) * (1 + share*(2*rand.Float64()-1))) //nolint:gosec // spreads load, guards nothing
}
