package pool

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/connectivity"
)

// record is an Observer that remembers.
type record struct{ events []string }

var kindNames = [...]string{"ready", "lost", "unreachable", "ejected", "readmitted"}

func (r *record) Observe(e Event) {
	s := kindNames[e.Kind] + " " + e.Instance
	if e.Error != "" {
		s += ": " + e.Error
	}
	if e.For > 0 {
		s += fmt.Sprint(" for ", e.For)
	}
	r.events = append(r.events, s)
}

func TestObserver(t *testing.T) {
	for name, c := range map[string]struct {
		happens func(f *fleet, g *fakeGRPC)
		want    []string
	}{
		"an instance connects": {
			func(_ *fleet, g *fakeGRPC) { g.sub("a").become(connectivity.Ready, nil) },
			[]string{"ready a"},
		},
		"its connection is lost and made anew": {
			func(_ *fleet, g *fakeGRPC) {
				g.sub("a").become(connectivity.Ready, nil)
				g.sub("a").become(connectivity.Idle, nil)
				time.Sleep(2 * time.Second)
				g.sub("a").become(connectivity.Ready, nil)
			},
			[]string{"ready a", "lost a", "ready a"},
		},
		"it cannot be connected": {
			func(_ *fleet, g *fakeGRPC) {
				g.sub("a").become(connectivity.TransientFailure, errors.New("no route to host"))
				time.Sleep(2 * time.Second)
			},
			[]string{"unreachable a: no route to host"},
		},
		"it is removed": {
			func(f *fleet, g *fakeGRPC) {
				g.sub("a").become(connectivity.Ready, nil)
				f.list("b")
				time.Sleep(time.Minute)
			},
			[]string{"ready a"},
		},
		"it is ejected, and back": {
			func(f *fleet, g *fakeGRPC) {
				g.sub("a").become(connectivity.Ready, nil)
				g.sub("b").become(connectivity.Ready, nil)
				f.lock()
				f.eject(f.endpoints["a"])
				f.publishAndUnlock()
				time.Sleep(time.Minute)
			},
			[]string{"ready a", "ready b", "ejected a for 5s", "readmitted a"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := new(record)
				f, g := startFleet(t, Settings{Observer: r})
				f.list("a", "b")
				synctest.Wait()
				c.happens(f, g)
				synctest.Wait()
				f.lock()
				defer f.publishAndUnlock()
				if !slices.Equal(r.events, c.want) {
					t.Errorf("events are %q, want %q", r.events, c.want)
				}
			})
		})
	}
}
