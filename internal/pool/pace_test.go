package pool

import (
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	grpcbalancer "google.golang.org/grpc/balancer"

	"github.com/caddy-grpc/gateway/internal/pool/wire"
)

// crowd returns n addresses in addition to the given ones.
func crowd(n int, beside ...string) []string {
	for i := range n {
		beside = append(beside, fmt.Sprintf("new-%04d", i))
	}
	return beside
}

// dialledOf returns how many of the addresses have been dialled.
func (g *fakeGRPC) dialledOf(addrs []string) int {
	n := 0
	for _, addr := range addrs {
		n += min(1, g.dialled(addr))
	}
	return n
}

// calling makes calls from time to time until the test ends.
func calling(t *testing.T, g *fakeGRPC) {
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop) })
	go func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(10 * time.Millisecond):
			}
			if _, done, err := g.pick(t.Context()); err == nil {
				done(grpcbalancer.DoneInfo{BytesSent: true})
			}
		}
	}()
}

func TestDialsArePaced(t *testing.T) {
	const within = 100 * time.Millisecond
	procs := runtime.GOMAXPROCS(0)
	paced, n := wire.DialRate*procs/10, 4*wire.DialRate*procs/10
	tests := []struct {
		name     string
		first    bool          // there is an instance that is READY
		calls    bool          // and gets calls
		open     bool          // the new ones answer
		takes    time.Duration // after this
		min, max int           // dials within 100 ms, beside the first
	}{
		{"calls are served", true, true, true, 0, paced * 9 / 10, paced + 2*procs},
		{"calls are served, peers are far", true, true, true, 20 * time.Millisecond, paced * 8 / 10, paced + 2*procs},
		{"calls are served, peers do not answer", true, true, false, 0, 10 * wire.DialBurst * procs, 13 * wire.DialBurst * procs},
		{"no calls", true, false, true, 0, n, n},
		{"nobody is READY yet", false, false, true, 0, n, n},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, g := startBalancer(t, Settings{})
				g.open, g.takes = true, tt.takes
				time.Sleep(time.Second)
				var list []string
				if tt.first {
					list = []string{"first"}
					b.list(list...)
					time.Sleep(time.Second)
				}
				if tt.calls {
					calling(t, g)
					time.Sleep(20 * time.Millisecond)
				}
				g.mu.Lock()
				g.open = tt.open
				g.mu.Unlock()
				list = crowd(n, list...)
				b.list(list...)
				time.Sleep(within)
				synctest.Wait()
				if got := g.dialledOf(list) - len(list) + n; got < tt.min || got > tt.max {
					t.Errorf("%d of %d new instances were dialled after %v, want %d to %d", got, n, within, tt.min, tt.max)
				}
				if tt.open {
					time.Sleep(time.Second)
					synctest.Wait()
					if got := g.dialledOf(list); got != len(list) {
						t.Errorf("%d of %d are dialled a second later", got, len(list))
					}
				}
			})
		})
	}
}

// Lost connections are dialled before new ones, however many are waiting.
func TestLostGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, g := startBalancer(t, Settings{})
		g.open = true
		b.list("first", "second")
		time.Sleep(2 * time.Second)
		calling(t, g)
		time.Sleep(20 * time.Millisecond)
		n := wire.DialRate * runtime.GOMAXPROCS(0)
		b.list(crowd(n, "first", "second")...)
		g.sub("second").lose()
		time.Sleep(10 * time.Millisecond)
		synctest.Wait()
		if got := g.dialled("second"); got != 2 {
			t.Errorf("the lost one has been dialled %d times, want 2", got)
		}
		if got := g.dialledOf(crowd(n)); got > n/10 {
			t.Errorf("%d of the %d new ones have been dialled: nothing is shown", got, n)
		}
	})
}
