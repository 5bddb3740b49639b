package balance

import (
	"sync/atomic"
	"time"
)

const (
	// latencyEvery is how often the estimate takes in what was measured. What happens within it is
	// one observation: calls that end together were held up together, by the scheduler or by a
	// garbage collection, and say no more than one of them.
	latencyEvery = 100 * time.Millisecond
	// latencyMean and latencyDeviation are how many observations the mean and the mean deviation
	// look back on, as in TCP's estimate of the round trip (RFC 6298).
	latencyMean, latencyDeviation = 8, 4
	// latencyStale is how long an endpoint that was found slow stays so without a call. Then it is
	// tried again, and can show that it has recovered.
	latencyStale = 5 * time.Second
	// latencyForgotten is how long the estimate of one that is not slow is good for comparing
	// others with it.
	latencyForgotten = time.Minute
	// slowFactor and slowBy say when an endpoint counts as slow beside another: its mean latency is
	// more than slowFactor times the other's, more than slowBy longer, and longer by more than what
	// both deviate from their means. Else in-flight calls alone decide.
	slowFactor = 2
	slowBy     = int64(time.Millisecond)
)

// Latency estimates how long unary calls take, in nanoseconds, and how far they are from that. The
// zero value knows nothing.
type Latency struct {
	mean      atomic.Int64
	deviation atomic.Int64
	// stamp is when they were made. 0: never.
	stamp atomic.Int64

	// What was measured since.
	sum, count atomic.Int64
}

// Mean is the mean of what was observed. 0: nothing was.
func (l *Latency) Mean() time.Duration { return time.Duration(l.mean.Load()) }

// Observe adds a call that ended at now. Those that race with a new estimate may be counted in the
// next one.
func (l *Latency) Observe(now, took int64) {
	l.sum.Add(took)
	l.count.Add(1)
	last := l.stamp.Load()
	if last != 0 && now-last < int64(latencyEvery) || !l.stamp.CompareAndSwap(last, max(now, 1)) {
		return
	}
	n := l.count.Swap(0)
	if n == 0 {
		return
	}
	sample, mean, deviation := l.sum.Swap(0)/n, l.mean.Load(), l.deviation.Load()
	stale := last == 0 || now-last > int64(latencyStale)
	if stale {
		sample = took
	}
	off := sample - mean
	if off < 0 {
		off = -off
	}
	if stale {
		// What was before says only whether this is a surprise: an endpoint that was slow and still
		// is needs no second proof, one that was not does.
		mean, deviation = sample, min(2*off, sample)
	} else {
		mean += (sample - mean) / latencyMean
		deviation += (off - deviation) / latencyDeviation
	}
	l.mean.Store(max(mean, 1))
	l.deviation.Store(deviation)
}

// slowerThan tells whether calls take significantly longer than those of another.
func (l *Latency) slowerThan(other *Latency, now int64) bool {
	t, beside := l.mean.Load(), other.mean.Load()
	if beside == 0 || t <= slowFactor*beside || t-beside <= slowBy {
		return false
	}
	return t-beside > l.deviation.Load()+other.deviation.Load() &&
		now-l.stamp.Load() <= int64(latencyStale) && now-other.stamp.Load() <= int64(latencyForgotten)
}
