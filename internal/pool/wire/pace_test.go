package wire

import (
	"testing"
	"time"
)

// beginsWithin returns the number of dials that begin within a time.
func beginsWithin(p *Pace, during time.Duration, serving bool, procs int) (n int) {
	start := time.Unix(1000, 0)
	for now := start; now.Sub(start) < during; n++ {
		next, ok := p.Begin(now, serving, procs)
		if !ok {
			now = next
			n--
		}
		if n > 100*DialRate {
			break // nothing is spaced
		}
	}
	return n
}

func TestPace(t *testing.T) {
	for _, procs := range []int{1, 2, 8} {
		want := DialRate * procs / 10
		if n := beginsWithin(new(Pace), 100*time.Millisecond, true, procs); n < want || n > want+procs+1 {
			t.Errorf("%d processors: %d dials begin within 100 ms, want %d", procs, n, want)
		}
	}
	if n := beginsWithin(new(Pace), 100*time.Millisecond, false, 1); n <= 100*DialRate {
		t.Errorf("only %d dials begin at once though no calls are served", n)
	}
}

func TestPaceLimits(t *testing.T) {
	for _, tc := range []struct {
		name      string
		took      []time.Duration
		serving   bool
		most      int
		countsFor time.Duration
	}{
		{"no calls", nil, false, MaxDialing, DialingFor},
		{"nothing is known yet", nil, true, 2 * DialBurst, dialCounts},
		{"near instances", []time.Duration{time.Millisecond}, true, 2 + 2*DialBurst, dialCounts},
		{"the best of all counts", []time.Duration{time.Second, 20 * time.Millisecond, time.Second}, true, 40 + 2*DialBurst, 40 * time.Millisecond},
		{"far instances", []time.Duration{10 * time.Second}, true, MaxDialing, DialingFor},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var p Pace
			for _, d := range tc.took {
				p.Dialled(d)
			}
			if most, countsFor := p.Limits(tc.serving, 2); most != tc.most || countsFor != tc.countsFor {
				t.Errorf("%d for %s, want %d for %s", most, countsFor, tc.most, tc.countsFor)
			}
		})
	}
}
