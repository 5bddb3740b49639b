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

// record is an Observer that keeps all events.
type record struct{ events []string }

var kindNames = [...]string{"ready", "lost", "unreachable", "ejected", "readmitted", "held", "down", "up"}

func (r *record) Observe(e Event) {
	s := kindNames[e.Kind] + " " + e.Instance
	if e.Kind == EventDown {
		s += fmt.Sprint(e.Instances)
	}
	if e.Error != "" {
		s += ": " + e.Error
	}
	if e.For > 0 && e.Kind != EventUp {
		s += fmt.Sprint(" for ", e.For)
	}
	r.events = append(r.events, s)
}

func TestObserver(t *testing.T) {
	for name, c := range map[string]struct {
		happens func(b *balancer, g *fakeGRPC)
		want    []string
	}{
		"an instance connects": {
			func(_ *balancer, g *fakeGRPC) { g.sub("a").become(connectivity.Ready, nil) },
			[]string{"ready a"},
		},
		"its connection is lost and made again": {
			func(_ *balancer, g *fakeGRPC) {
				g.sub("a").become(connectivity.Ready, nil)
				g.sub("a").become(connectivity.Idle, nil)
				time.Sleep(outageAfter / 2)
				g.sub("a").become(connectivity.Ready, nil)
			},
			[]string{"ready a", "lost a", "ready a"},
		},
		"it cannot be connected": {
			func(_ *balancer, g *fakeGRPC) {
				g.sub("a").become(connectivity.TransientFailure, errors.New("no route to host"))
				time.Sleep(2 * time.Second)
			},
			[]string{"unreachable a: no route to host"},
		},
		"it is removed": {
			func(b *balancer, g *fakeGRPC) {
				g.sub("a").become(connectivity.Ready, nil)
				b.list("b")
				time.Sleep(time.Minute)
			},
			[]string{"ready a", "down 1: no instance is connected"},
		},
		"it is ejected, and back": {
			func(b *balancer, g *fakeGRPC) {
				g.sub("a").become(connectivity.Ready, nil)
				g.sub("b").become(connectivity.Ready, nil)
				b.lock()
				b.eject(b.endpoints["a"])
				b.publishAndUnlock()
				time.Sleep(time.Minute)
			},
			[]string{"ready a", "ready b", "ejected a for 5s", "readmitted a"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := new(record)
				b, g := startBalancer(t, Settings{Observer: r})
				b.list("a", "b")
				synctest.Wait()
				c.happens(b, g)
				synctest.Wait()
				b.lock()
				defer b.publishAndUnlock()
				if !slices.Equal(r.events, c.want) {
					t.Errorf("events are %q, want %q", r.events, c.want)
				}
			})
		})
	}
}
