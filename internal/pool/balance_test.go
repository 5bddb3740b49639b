package pool

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	grpcbalancer "google.golang.org/grpc/balancer"
)

// load runs workers in virtual time. Each makes one unary call after the other for a while. load
// counts where the calls go.
func load(b *balancer, g *fakeGRPC, workers int, during time.Duration, takes func(addr string) time.Duration) map[string]int {
	var (
		wg     sync.WaitGroup
		mu     sync.Mutex
		counts = make(map[string]int)
		end    = time.Now().Add(during)
	)
	for range workers {
		wg.Go(func() {
			for time.Now().Before(end) {
				l := &lease{Context: context.Background(), channel: &Channel{balancer: b}, unary: true}
				addr, done, err := g.pick(l)
				if err != nil {
					panic(err)
				}
				mu.Lock()
				counts[addr]++
				mu.Unlock()
				time.Sleep(takes(addr))
				done(grpcbalancer.DoneInfo{BytesSent: true})
				l.end(nil)
			}
		})
	}
	wg.Wait()
	return counts
}

func wantShares(t *testing.T, counts map[string]int, weights map[string]uint32, within float64) {
	t.Helper()
	var calls, sum float64
	for addr, w := range weights {
		calls += float64(counts[addr])
		sum += float64(w)
	}
	for addr, w := range weights {
		want := calls * float64(w) / sum
		if got := float64(counts[addr]); math.Abs(got-want) > within*want+2 {
			t.Errorf("%s got %.0f of %.0f calls, want %.0f within %.0f %%", addr, got, calls, want, 100*within)
		}
	}
}

func TestCallsAreSpreadByWeight(t *testing.T) {
	equal := make(map[string]uint32)
	for i := range 5 {
		equal[fmt.Sprint("host", i)] = 7
	}
	tests := []struct {
		name      string
		weights   map[string]uint32 // as registered
		effective map[string]uint32 // nil: as registered
		// P2c is tested only without concurrency. With it, p2c evens out calls in flight more than
		// shares.
		alone bool
	}{
		{"five equal", equal, nil, false},
		{"1:2:5", map[string]uint32{"a": 1, "b": 2, "c": 5}, nil, false},
		{"100:1", map[string]uint32{"a": 100, "b": 1}, nil, true},
		{"unknown counts as the mean", map[string]uint32{"a": 2, "b": 4, "c": 0}, map[string]uint32{"a": 2, "b": 4, "c": 3}, false},
		{"unknown beside equal", map[string]uint32{"a": 3, "b": 3, "c": 0}, map[string]uint32{"a": 1, "b": 1, "c": 1}, false},
		{"large weights", map[string]uint32{"a": math.MaxUint32, "b": math.MaxUint32 / 2}, nil, false},
	}
	for _, policy := range []string{BalanceP2C, BalanceRoundRobin} {
		for _, workers := range []int{1, 16} {
			for _, tt := range tests {
				if tt.alone && policy == BalanceP2C && workers > 1 {
					continue
				}
				t.Run(fmt.Sprintf("%s/%d at a time/%s", policy, workers, tt.name), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						b, g := startBalancer(t, Settings{Balance: policy})
						g.open = true
						b.weighted(tt.weights)
						time.Sleep(time.Second)
						calls := 12 * time.Second // one a millisecond
						if policy == BalanceRoundRobin {
							calls = 3 * time.Second
						}
						counts := load(b, g, workers, calls/time.Duration(workers), func(string) time.Duration { return time.Millisecond })
						weights := tt.effective
						if weights == nil {
							weights = tt.weights
						}
						within := 0.10
						if tt.alone {
							within = 0.25 // two hundred calls
						}
						if policy == BalanceRoundRobin {
							within = 0.01
						}
						wantShares(t, counts, weights, within)
					})
				})
			}
		}
	}
}

// Shares go by weight from an idle gateway to one with a hundred calls in flight, however the
// durations of calls vary.
func TestP2CKeepsToWeightsAtEveryLoad(t *testing.T) {
	const mean = 5 * time.Millisecond
	scatter := map[string]func(r *rand.Rand) float64{ // around 1
		"all equal":   func(*rand.Rand) float64 { return 1 },
		"exponential": func(r *rand.Rand) float64 { return r.ExpFloat64() },
		// This is a Pareto distribution.
		"heavy tail": func(r *rand.Rand) float64 { return min(0.4*math.Pow(1-r.Float64(), -1/1.5), 20) },
		"two methods": func(r *rand.Rand) float64 {
			if r.IntN(20) == 0 {
				return 15
			}
			return 0.3
		},
	}
	for name, factor := range scatter {
		for _, workers := range []int{1, 4, 16, 96} {
			t.Run(fmt.Sprintf("%s/%d at a time", name, workers), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b, g := startBalancer(t, Settings{})
					g.open = true
					weights := map[string]uint32{"a": 1, "b": 2, "c": 5}
					b.weighted(weights)
					time.Sleep(time.Second)
					var mu sync.Mutex
					r := rand.New(rand.NewPCG(1, 1))
					// This is so long that a few long calls do not matter.
					during := max(100*time.Second/time.Duration(workers), 8*time.Second)
					counts := load(b, g, workers, during, func(string) time.Duration {
						mu.Lock()
						defer mu.Unlock()
						return time.Duration(float64(mean) * factor(r))
					})
					wantShares(t, counts, weights, 0.10)
				})
			})
		}
	}
}

func TestRoundRobinTakesTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, g := startBalancer(t, Settings{Balance: BalanceRoundRobin})
		g.open = true
		b.list("a", "b", "c")
		time.Sleep(time.Second)
		seen := make(map[string]int)
		for i := range 300 {
			addr, _, err := g.pick(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			seen[addr]++
			if i%3 == 2 && (seen["a"] != i/3+1 || seen["b"] != i/3+1) {
				t.Fatalf("after %d calls: %v", i+1, seen)
			}
		}
	})
}

func TestWeightedRoundRobinIsSmooth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, g := startBalancer(t, Settings{Balance: BalanceRoundRobin})
		g.open = true
		b.weighted(map[string]uint32{"light": 1, "heavy": 4})
		time.Sleep(time.Second)
		run := 0
		for i := range 1000 {
			addr, _, err := g.pick(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if addr == "light" {
				run = 0
			} else if run++; run > 5 {
				t.Fatalf("%d calls in a row to the heavy one, at call %d", run, i)
			}
		}
	})
}

func TestP2CAvoidsTheSlow(t *testing.T) {
	const slow, fast = 520 * time.Millisecond, 20 * time.Millisecond
	for _, hosts := range []int{2, 3, 10} {
		for _, workers := range []int{1, 8, 32} {
			t.Run(fmt.Sprintf("%d hosts, %d at a time", hosts, workers), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b, g := startBalancer(t, Settings{})
					g.open = true
					var addrs []string
					for i := range hosts {
						addrs = append(addrs, fmt.Sprint("host", i))
					}
					b.list(addrs...)
					time.Sleep(time.Second)
					counts := load(b, g, workers, 12*time.Second, func(addr string) time.Duration {
						if addr == "host0" {
							return slow
						}
						return fast
					})
					var calls int
					for _, n := range counts {
						calls += n
					}
					if n, fair := counts["host0"], calls/hosts; n > fair/4 || n == 0 {
						t.Errorf("the slow one got %d of %d calls, want some but under a quarter of its share of %d", n, calls, fair)
					}
				})
			})
		}
	}
}

func TestP2CComesBackToTheRecovered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, g := startBalancer(t, Settings{})
		g.open = true
		b.list("a", "b")
		time.Sleep(time.Second)
		slow := time.Now().Add(20 * time.Second)
		takes := func(addr string) time.Duration {
			if addr == "a" && time.Now().Before(slow) {
				return 500 * time.Millisecond
			}
			return 10 * time.Millisecond
		}
		load(b, g, 4, 20*time.Second, takes)
		load(b, g, 4, 2*5*time.Second, takes) // time to find out
		wantShares(t, load(b, g, 4, 20*time.Second, takes), map[string]uint32{"a": 1, "b": 1}, 0.1)
	})
}

func TestP2CEvensOutCallsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, g := startBalancer(t, Settings{})
		g.open = true
		var addrs []string
		for i := range 20 {
			addrs = append(addrs, fmt.Sprint("host", i))
		}
		b.list(addrs...)
		time.Sleep(time.Second)
		for range 2000 { // streams that never end
			if _, _, err := g.pick(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		for _, e := range b.snapshot().Endpoints {
			if e.InFlight < 96 || e.InFlight > 104 {
				t.Errorf("%s has %d calls in flight, want about 100", e.Address, e.InFlight)
			}
		}
	})
}

func TestConnectionsOfAnEndpointShareItsCalls(t *testing.T) {
	ep := &endpoint{}
	conns := []*conn{{endpoint: ep}, {endpoint: ep}, {endpoint: ep}}
	ep.ready.Store(&conns)
	for range 30 {
		c, _ := ep.pickConn()
		c.inFlight.Add(1)
	}
	for i, c := range conns {
		if n := c.inFlight.Load(); n != 10 {
			t.Errorf("connection %d has %d calls, want 10", i, n)
		}
	}
}
