package module

import (
	"fmt"
	"testing"

	"github.com/caddy-grpc/gateway/internal/pool"
)

// TestDetailOfManyInstances: of many instances, the ones that need a look are shown.
func TestDetailOfManyInstances(t *testing.T) {
	states := []pool.State{pool.StateReady, pool.StateHeld, pool.StateReady, pool.StateDraining, pool.StateReady, pool.StateFailing, pool.StateReady}
	make3000 := func() (v UpstreamView) {
		for i := range 3000 {
			e := pool.EndpointSnapshot{Address: fmt.Sprintf("10.0.%d.%d:9000", i/250, i%250), State: pool.StateReady}
			if i >= 2000 && i < 2000+len(states) {
				e.State = states[i-2000]
			}
			v.Endpoints = append(v.Endpoints, e)
		}
		v.Endpoints[2999].State, v.Endpoints[2999].LastError = pool.StateEjected, "Deadline Exceeded"
		return v
	}
	d := detailOf(make3000(), "")
	if d.Matching != 3000 || len(d.Endpoints) != maxInstancesShown {
		t.Errorf("%d of %d instances", len(d.Endpoints), d.Matching)
	}
	for i, want := range []pool.State{pool.StateEjected, pool.StateFailing, pool.StateHeld, pool.StateDraining, pool.StateReady} {
		if d.Endpoints[i].State != want {
			t.Errorf("instance %d is %s, want %s", i, d.Endpoints[i].State, want)
		}
	}
	if first := d.Endpoints[4].Address; first != "10.0.0.0:9000" {
		t.Errorf("the first of those that are well is %s", first)
	}
	for find, want := range map[string]int{"10.0.11.": 250, "EJECTED 10.0.11": 1, "deadline": 1, "nowhere": 0} {
		if d := detailOf(make3000(), find); d.Matching != want {
			t.Errorf("%q: %d instances, want %d", find, d.Matching, want)
		}
	}
}
