package balance

import (
	"testing"
	"time"
)

func TestATrialIsOneCall(t *testing.T) {
	ep := &Endpoint{}
	fails := func() { ep.Fail(0) }
	if ep.trial(1, true) {
		t.Error("an endpoint is tried that is not avoided")
	}
	fails()
	for _, step := range []struct {
		name string
		at   time.Duration
		safe bool
		want bool
	}{
		{"too early", avoidFirst - 1, true, false},
		{"not this one yet", avoidFirst, false, false},
		{"a safe one", avoidFirst, true, true},
		{"no second one", avoidFirst, true, false},
		{"when nothing was heard of it", avoidFirst + trialTime, true, true},
		{"an unsafe one", 2*avoidFirst + 2*trialTime, false, true},
	} {
		if got := ep.trial(int64(step.at), step.safe); got != step.want {
			t.Errorf("%s: %v, want %v", step.name, got, step.want)
		}
	}
	if fails(); time.Duration(ep.avoided.Load()) != 2*avoidFirst {
		t.Errorf("after the second failure it is avoided for %v, want %v", time.Duration(ep.avoided.Load()), 2*avoidFirst)
	}
	for range 100 {
		fails()
	}
	if got := time.Duration(ep.avoided.Load()); got != avoidMax {
		t.Errorf("after a hundred failures it is avoided for %v, want %v", got, avoidMax)
	}
	if ep.Answer(0); ep.avoided.Load() != 0 {
		t.Error("an endpoint that answers is avoided")
	}
}
