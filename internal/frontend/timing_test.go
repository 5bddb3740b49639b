package frontend

import (
	"testing"
	"time"
)

func TestConversionsAreTimedNowAndThen(t *testing.T) {
	const n = 64_000
	var timed [2]int
	m := &Method{Timed: func(d Direction, took time.Duration) {
		timed[d]++
		if took < 0 {
			t.Errorf("a conversion took %v", took)
		}
	}}
	for range n {
		m.Converted(ToWire, m.Clock())
		m.Converted(ToJSON, m.Clock())
	}
	for d, got := range timed {
		if got < n/64/2 || got > n/64*2 {
			t.Errorf("direction %d: the time of %d conversions of %d was taken, want one in 64 or so", d, got, n)
		}
	}
	none := &Method{}
	for range 1000 {
		none.Converted(ToJSON, none.Clock()) // must not call what is not there
	}
}
