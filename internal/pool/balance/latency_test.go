package balance

import (
	"testing"
	"time"
)

// Two endpoints are compared. One has latencies in a pattern. The cases say when it counts as slow.
func TestOnlyASignificantLatencyIsSlow(t *testing.T) {
	const usual = 2 * time.Millisecond
	tests := []struct {
		name  string
		every time.Duration
		takes func(call int) time.Duration
		calls int
		slow  bool
		again bool // after a time without calls, and another one of 500 ms
	}{
		{"slower from the start", time.Second / 10, func(int) time.Duration { return 500 * time.Millisecond }, 2, true, true},
		{"slower since a while", time.Second / 10, after(50, 500*time.Millisecond), 60, true, true},
		{"at ten thousand calls a second", time.Second / 10000, after(50, 500*time.Millisecond), 20000, true, true},
		{"one first call", time.Second / 10, func(int) time.Duration { return 500 * time.Millisecond }, 1, false, true},
		{"one call in ten", time.Second / 10, func(call int) time.Duration {
			if call%10 == 9 {
				return 100 * time.Millisecond
			}
			return usual
		}, 100, false, false},
		{"a pause that a thousand calls wait for", time.Second / 10000, after(10000, 50*time.Millisecond), 11000, false, false},
		{"twice as slow", time.Second / 10, func(int) time.Duration { return 2 * usual }, 100, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var one, other Latency
			now := int64(time.Hour)
			for call := range tt.calls {
				now += int64(tt.every)
				one.Observe(now, int64(tt.takes(call)))
				other.Observe(now, int64(usual))
			}
			if got := one.slowerThan(&other, now); got != tt.slow {
				t.Errorf("slow: %v, want %v (%v and %v, deviation %v)", got, tt.slow, time.Duration(one.mean.Load()), usual, time.Duration(one.deviation.Load()))
			}
			if other.slowerThan(&one, now) {
				t.Error("the other one counts as slow")
			}
			if now += int64(latencyStale) + 1; one.slowerThan(&other, now) {
				t.Error("it is slow for ever")
			}
			one.Observe(now, int64(500*time.Millisecond))
			if got := one.slowerThan(&other, now); got != tt.again {
				t.Errorf("slow after another call of 500 ms: %v, want %v", got, tt.again)
			}
		})
	}
}

// after returns latencies that are the usual 2 ms at first, and then longer.
func after(calls int, takes time.Duration) func(int) time.Duration {
	return func(call int) time.Duration {
		if call < calls {
			return 2 * time.Millisecond
		}
		return takes
	}
}
