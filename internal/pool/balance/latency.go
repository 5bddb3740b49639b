package balance

import (
	"sync/atomic"
	"time"
)

const (
	// latencyEvery is how often the estimate takes in what was measured. All calls within this time
	// are one observation. Calls that end together were held up together, by the scheduler or a
	// garbage collection. They say no more than one call does.
	latencyEvery = 100 * time.Millisecond
	// latencyMean and latencyDeviation are the numbers of observations that the mean and the mean
	// deviation look back on, as in TCP's estimate of the round trip (RFC 6298).
	latencyMean, latencyDeviation = 8, 4
	// latencyStale is how long a slow endpoint counts as slow without a call. Then it is tried
	// again, and can show that it has recovered.
	latencyStale = 5 * time.Second
	// latencyForgotten is how long the estimate of an endpoint that is not slow can be compared
	// with others.
	latencyForgotten = time.Minute
	// slowFactor and slowBy say when an endpoint counts as slow compared with another one. Its mean
	// latency must be more than slowFactor times the other's and more than slowBy longer. The
	// difference must also exceed the sum of both mean deviations. Otherwise only the calls in
	// flight decide.
	slowFactor = 2
	slowBy     = int64(time.Millisecond)
)

// Latency estimates the mean latency of unary calls and their mean deviation from it, in
// nanoseconds. The zero value knows nothing.
type Latency struct {
	mean      atomic.Int64
	deviation atomic.Int64
	// stamp is when the estimates were made. 0: never.
	stamp atomic.Int64

	// sum and count are of the calls measured since.
	sum, count atomic.Int64
}

// Mean returns the estimated mean. 0: no call was observed.
func (l *Latency) Mean() time.Duration { return time.Duration(l.mean.Load()) }

// Observe adds a call that ended at now. A call that races with a new estimate may count in the
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
		// The old mean says only whether this is a surprise. An endpoint that was slow and still is
		// needs no second proof. One that was not slow does.
		mean, deviation = sample, min(2*off, sample)
	} else {
		mean += (sample - mean) / latencyMean
		deviation += (off - deviation) / latencyDeviation
	}
	l.mean.Store(max(mean, 1))
	l.deviation.Store(deviation)
}

// slowerThan reports whether calls take significantly longer than those of another endpoint.
func (l *Latency) slowerThan(other *Latency, now int64) bool {
	t, beside := l.mean.Load(), other.mean.Load()
	if beside == 0 || t <= slowFactor*beside || t-beside <= slowBy {
		return false
	}
	return t-beside > l.deviation.Load()+other.deviation.Load() &&
		now-l.stamp.Load() <= int64(latencyStale) && now-other.stamp.Load() <= int64(latencyForgotten)
}
