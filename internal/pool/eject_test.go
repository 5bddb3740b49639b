package pool

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	grpcbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"

	"github.com/caddy-grpc/gateway/internal/pool/balance"
)

// call makes a call in virtual time. How it ends depends on where it went.
func call(t *testing.T, b *balancer, g *fakeGRPC, takes time.Duration, end func(addr string) error) string {
	t.Helper()
	l := &lease{Context: context.Background(), channel: &Channel{balancer: b}, unary: true}
	addr, done, err := g.pick(l)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(takes)
	err = end(addr)
	done(grpcbalancer.DoneInfo{Err: err, BytesSent: true})
	l.end(err)
	synctest.Wait()
	return addr
}

func failsAt(code codes.Code, bad ...string) func(string) error {
	return func(addr string) error {
		for _, b := range bad {
			if addr == b {
				return status.Error(code, "out of order")
			}
		}
		return nil
	}
}

func TestEjection(t *testing.T) {
	tests := []struct {
		name     string
		settings Settings
		hosts    int
		takes    time.Duration
		end      func(addr string) error
		ejected  int
	}{
		{"unavailable", Settings{}, 4, time.Millisecond, failsAt(codes.Unavailable, "host0"), 1},
		{"does not answer", Settings{}, 4, patientCall, failsAt(codes.DeadlineExceeded, "host0"), 1},
		{"callers in a hurry", Settings{}, 4, time.Millisecond, failsAt(codes.DeadlineExceeded, "host0"), 0},
		{"callers that leave", Settings{}, 4, time.Millisecond, failsAt(codes.Canceled, "host0"), 0},
		{"the request's fault", Settings{}, 4, time.Millisecond, failsAt(codes.InvalidArgument, "host0"), 0},
		{"switched off", Settings{EjectFailures: -1}, 4, time.Millisecond, failsAt(codes.Unavailable, "host0"), 0},
		{"never more than half", Settings{}, 4, time.Millisecond, failsAt(codes.Unavailable, "host0", "host1", "host2"), 2},
		{"never more than configured", Settings{EjectMaxPercent: 30}, 10, time.Millisecond, failsAt(codes.Unavailable, "host0", "host1", "host2", "host3", "host4"), 3},
		{"never the last", Settings{EjectMaxPercent: 100}, 2, time.Millisecond, failsAt(codes.Unavailable, "host0", "host1"), 1},
		{"never the only one", Settings{EjectMaxPercent: 100}, 1, time.Millisecond, failsAt(codes.Unavailable, "host0"), 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tt.settings.Balance = BalanceRoundRobin
				tt.settings.EjectTime = time.Hour
				b, g := startBalancer(t, tt.settings)
				g.open = true
				var addrs []string
				for i := range tt.hosts {
					addrs = append(addrs, fmt.Sprint("host", i))
				}
				b.list(addrs...)
				time.Sleep(time.Second)
				for range 20 * tt.hosts {
					call(t, b, g, tt.takes, tt.end)
				}
				var ejected int
				for _, e := range b.snapshot().Endpoints {
					if e.State == "ejected" {
						ejected++
					}
				}
				if ejected != tt.ejected {
					t.Errorf("%d are ejected, want %d", ejected, tt.ejected)
				}
				if ejected > 0 {
					for range 3 * tt.hosts {
						if e := b.endpoints[call(t, b, g, 0, failsAt(codes.OK))]; e.ejected {
							t.Fatalf("%s got a call though it is ejected", e.addr)
						}
					}
				}
			})
		})
	}
}

func TestOneSuccessEndsAStreak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, g := startBalancer(t, Settings{Balance: BalanceRoundRobin})
		g.open = true
		b.list("a", "b")
		time.Sleep(time.Second)
		for i := range 100 { // every fifth call of each succeeds
			call(t, b, g, 0, func(string) error {
				if i/2%5 == 4 {
					return nil
				}
				return status.Error(codes.Unavailable, "out of order")
			})
		}
		if n := b.snapshot().Ejections; n != 0 {
			t.Errorf("%d were ejected", n)
		}
	})
}

func TestEjectedEndpointsComeBackLaterEachTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, g := startBalancer(t, Settings{Balance: BalanceRoundRobin})
		g.open = true
		b.list("a", "b", "c")
		time.Sleep(time.Second)
		bad := failsAt(codes.Unavailable, "a")
		for n := 1; n <= 3; n++ {
			for !isEjected(b, "a") {
				call(t, b, g, time.Millisecond, bad)
			}
			began := time.Now()
			for isEjected(b, "a") {
				call(t, b, g, 100*time.Millisecond, bad)
			}
			if got, want := time.Since(began).Round(time.Second), time.Duration(n)*5*time.Second; got != want {
				t.Errorf("ejection %d took %s, want %s", n, got, want)
			}
		}
		if n := b.snapshot().Ejections; n != 3 {
			t.Errorf("%d ejections are counted, want 3", n)
		}
	})
}

// Ejected endpoints come back when all others are lost. They are better than none.
func TestEjectedEndpointsStepIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, g := startBalancer(t, Settings{Balance: BalanceRoundRobin})
		g.open = true
		b.list("a", "b")
		time.Sleep(time.Second)
		for !isEjected(b, "a") {
			call(t, b, g, time.Millisecond, failsAt(codes.Unavailable, "a"))
		}
		g.mu.Lock()
		g.open = false
		g.mu.Unlock()
		g.sub("b").become(connectivity.Idle, nil)
		synctest.Wait()
		if addr := call(t, b, g, 0, failsAt(codes.OK)); addr != "a" {
			t.Errorf("the call went to %q, want a", addr)
		}
	})
}

func TestEjectedEndpointThatIsRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, g := startBalancer(t, Settings{Balance: BalanceRoundRobin})
		g.open = true
		b.list("a", "b")
		time.Sleep(time.Second)
		for !isEjected(b, "a") {
			call(t, b, g, time.Millisecond, failsAt(codes.Unavailable, "a"))
		}
		b.list("b")
		time.Sleep(100 * time.Millisecond)
		b.list("a", "b")
		time.Sleep(100 * time.Millisecond)
		both := func(when string) {
			seen := make(map[string]bool)
			for range 4 {
				seen[call(t, b, g, 0, failsAt(codes.OK))] = true
			}
			if len(seen) != 2 {
				t.Errorf("%s only %v get calls", when, seen)
			}
		}
		both("when it is back")
		time.Sleep(time.Minute)
		both("after the time of its ejection")
		if !isEjected(b, "a") { // it can be ejected again
			for range 20 {
				call(t, b, g, time.Millisecond, failsAt(codes.Unavailable, "a"))
			}
		}
		if !isEjected(b, "a") {
			t.Error("it is not ejected a second time")
		}
	})
}

func isEjected(b *balancer, addr string) bool {
	for _, e := range b.snapshot().Endpoints {
		if e.Address == addr {
			return e.State == "ejected"
		}
	}
	return false
}

func TestSlowStart(t *testing.T) {
	for _, policy := range []string{BalanceP2C, BalanceRoundRobin} {
		t.Run(policy, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, g := startBalancer(t, Settings{Balance: policy})
				g.open = true
				b.list("a", "b", "c")
				time.Sleep(time.Minute)
				b.list("a", "b", "c", "new")
				time.Sleep(10 * time.Millisecond)
				share := func() float64 {
					n := 0
					for range 2000 {
						if call(t, b, g, 500*time.Microsecond, failsAt(codes.OK)) == "new" {
							n++
						}
					}
					return float64(n) / 2000
				}
				if got := share(); got > 0.08 || got == 0 {
					t.Errorf("in its first second it got %.3f of the calls, want few", got)
				}
				time.Sleep(balance.SlowStart/2 - time.Second)
				if got := share(); got < 0.10 || got > 0.21 {
					t.Errorf("half way it got %.3f of the calls, want about 0.15", got)
				}
				time.Sleep(balance.SlowStart)
				if got := share(); got < 0.22 || got > 0.28 {
					t.Errorf("in the end it got %.3f of the calls, want a quarter", got)
				}
				// An endpoint that only renews its connection is not cold.
				g.sub("new").become(connectivity.Idle, nil)
				time.Sleep(100 * time.Millisecond)
				if got := share(); got < 0.22 || got > 0.28 {
					t.Errorf("after its connection was renewed it got %.3f of the calls, want a quarter", got)
				}
				g.mu.Lock()
				g.open = false
				g.mu.Unlock()
				g.sub("new").become(connectivity.Idle, nil)
				time.Sleep(2 * coldAfter)
				g.sub("new").become(connectivity.Ready, nil)
				time.Sleep(10 * time.Millisecond)
				if got := share(); got > 0.08 || got == 0 {
					t.Errorf("after a restart it got %.3f of the calls, want few", got)
				}
			})
		})
	}
}

func TestAllNewEndpointsShareFromTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, g := startBalancer(t, Settings{})
		g.open = true
		b.weighted(map[string]uint32{"a": 1, "b": 3})
		time.Sleep(100 * time.Millisecond)
		wantShares(t, load(b, g, 1, 5*time.Second, func(string) time.Duration { return time.Millisecond }), map[string]uint32{"a": 1, "b": 3}, 0.1)
	})
}
