package pool

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap/zaptest/observer"
	"google.golang.org/grpc/connectivity"

	"github.com/caddy-grpc/gateway/discovery"
)

// TestOutage: of a whole service that is out, operators get one warning and one event.
func TestOutage(t *testing.T) {
	connect := func(g *fakeGRPC, addrs ...string) {
		for _, addr := range addrs {
			g.sub(addr).become(connectivity.Ready, nil)
		}
	}
	fail := func(g *fakeGRPC, addrs ...string) {
		for _, addr := range addrs {
			g.sub(addr).become(connectivity.Idle, nil)
		}
		time.Sleep(dialSpacing)
		for _, addr := range addrs {
			g.sub(addr).refuse()
		}
	}
	for name, c := range map[string]struct {
		happens  func(b *balancer, g *fakeGRPC)
		events   []string // other than ready, lost and unreachable
		warnings []string
	}{
		"all instances are lost": {
			func(_ *balancer, g *fakeGRPC) {
				connect(g, "a", "b")
				time.Sleep(time.Minute)
				fail(g, "a", "b")
				time.Sleep(time.Minute)
			},
			[]string{"down 2: "}, []string{"the service is out"},
		},
		"one of them comes back": {
			func(_ *balancer, g *fakeGRPC) {
				connect(g, "a", "b")
				fail(g, "a", "b")
				time.Sleep(10 * time.Second)
				connect(g, "b")
			},
			[]string{"down 2: ", "up"}, []string{"the service is out"},
		},
		"one remains": {
			func(_ *balancer, g *fakeGRPC) {
				connect(g, "a", "b")
				fail(g, "a")
				time.Sleep(time.Minute)
			},
			nil, []string{"cannot connect to instance"},
		},
		"all are lost for a moment": {
			func(_ *balancer, g *fakeGRPC) {
				connect(g, "a", "b")
				g.sub("a").become(connectivity.Idle, nil)
				g.sub("b").become(connectivity.Idle, nil)
				time.Sleep(outageAfter / 2)
				connect(g, "a", "b")
				time.Sleep(time.Minute)
			},
			nil, nil,
		},
		"none ever connects": {
			func(_ *balancer, g *fakeGRPC) {
				g.sub("a").refuse()
				g.sub("b").refuse()
				time.Sleep(time.Minute)
			},
			[]string{"down 2: no instance of the service can be reached: connection failed: refused"}, []string{"the service is out"},
		},
		"all are deregistered": {
			func(b *balancer, g *fakeGRPC) {
				connect(g, "a", "b")
				b.list()
				time.Sleep(time.Minute)
			},
			[]string{"down 0: the service has no instances"}, []string{"the service is out"},
		},
		"the pool is not used any more": {
			func(b *balancer, g *fakeGRPC) {
				connect(g, "a", "b")
				b.lock()
				b.ignoreOutage()
				b.publishAndUnlock()
				b.list()
				time.Sleep(time.Minute)
			},
			nil, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := new(record)
			logged(t, Settings{}, func(b *balancer, g *fakeGRPC, logs *observer.ObservedLogs) {
				b.lock()
				b.events.observer = r
				b.publishAndUnlock()
				b.list("a", "b")
				time.Sleep(time.Millisecond)
				c.happens(b, g)
				b.lock()
				defer b.publishAndUnlock()
				events := slices.DeleteFunc(r.events, func(e string) bool {
					return strings.HasPrefix(e, "ready") || strings.HasPrefix(e, "lost") || strings.HasPrefix(e, "unreachable")
				})
				var warnings []string
				for _, line := range logs.All() {
					if line.Level > 0 {
						warnings = append(warnings, line.Message)
					}
				}
				wantPrefixes(t, "events", events, c.events)
				wantPrefixes(t, "warnings", warnings, c.warnings)
			})
		})
	}
}

// TestOutageOfTheRegistry: while nobody knows the instances, the registry is out and not the
// service.
func TestOutageOfTheRegistry(t *testing.T) {
	logged(t, Settings{}, func(b *balancer, _ *fakeGRPC, logs *observer.ObservedLogs) {
		b.onFeed(discovery.State{Err: fmt.Errorf("no answer")})
		time.Sleep(time.Hour)
		if n := logs.FilterMessageSnippet("the service is out").Len(); n > 0 {
			t.Errorf("the log says so %d times", n)
		}
		if s := b.snapshot(); s.Down != "" {
			t.Errorf("operators are told: %s", s.Down)
		}
	})
}

// wantPrefixes checks that each text begins as wanted.
func wantPrefixes(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.EqualFunc(got, want, strings.HasPrefix) {
		t.Errorf("%s are %q, want %q", what, got, want)
	}
}
