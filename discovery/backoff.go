package discovery

import (
	"math/rand/v2"
	"time"
)

// Backoff says how long to wait before the next attempt. The wait doubles with each attempt. It has
// jitter, so that many gateways do not come back at the same moment. The zero value waits from 1 s
// up to 30 s. A Backoff is for one goroutine.
type Backoff struct {
	// Base is the first wait. Default: 1 s.
	Base time.Duration
	// Max is the longest wait. Default: 30 s.
	Max time.Duration

	tries int
}

// Next returns the time to wait now. It is between 80 % and 120 % of the step, and at most Max.
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

// Reset makes the next wait Base again. Call it after a success.
func (b *Backoff) Reset() { b.tries = 0 }

// Jitter changes d at random by up to the given share: Jitter(time.Minute, 0.1) is between 54 s and
// 66 s.
func Jitter(d time.Duration, share float64) time.Duration {
	r := rand.Float64() //nolint:gosec // It spreads load and guards nothing.
	return time.Duration(float64(d) * (1 + share*(2*r-1)))
}
