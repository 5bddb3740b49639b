package pool

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	grpcbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// tally counts the outcomes of calls.
type tally struct {
	attempts                 map[string]int // by endpoint
	safe, others             int
	failedSafe, failedOthers int
}

func (l *tally) all() (attempts int) {
	for _, n := range l.attempts {
		attempts += n
	}
	return attempts
}

// at returns the number of attempts that were made at some endpoints.
func (l *tally) at(addrs ...string) (attempts int) {
	for _, a := range addrs {
		attempts += l.attempts[a]
	}
	return attempts
}

// mixedLoad makes calls at random moments for a while, at a mean rate per second. Some of them are
// safe and are made again by the rules. A function decides how a call ends, given the number of
// calls at the endpoint: with an answer after 2 ms, or with an error at once.
func mixedLoad(b *balancer, g *fakeGRPC, rate, safe float64, during time.Duration, end func(addr string, inFlight int) error) *tally {
	var (
		mu   sync.Mutex
		wg   sync.WaitGroup
		busy = make(map[string]int)
		sum  = &tally{attempts: make(map[string]int)}
		c    = &Channel{balancer: b}
		r    = rand.New(rand.NewPCG(7, 7))
		stop = time.Now().Add(during)
	)
	attempt := func(a *attempts) (*lease, error) {
		l := &lease{Context: context.Background(), channel: c, attempts: a, unary: true}
		c.leases.Add(1)
		addr, done, err := g.pick(l)
		if err != nil {
			panic(err)
		}
		mu.Lock()
		sum.attempts[addr]++
		busy[addr]++
		err = end(addr, busy[addr])
		mu.Unlock()
		if err == nil {
			time.Sleep(2 * time.Millisecond)
		}
		mu.Lock()
		busy[addr]--
		mu.Unlock()
		done(grpcbalancer.DoneInfo{Err: err, BytesSent: true})
		l.end(err)
		return l, err
	}
	for time.Now().Before(stop) {
		time.Sleep(time.Duration(r.ExpFloat64() / rate * float64(time.Second)))
		if r.Float64() >= safe {
			wg.Go(func() {
				_, err := attempt(nil)
				mu.Lock()
				defer mu.Unlock()
				sum.others++
				if err != nil {
					sum.failedOthers++
				}
			})
			continue
		}
		wg.Go(func() {
			c.budget.call()
			a := attempts{channel: c}
			l, err := attempt(&a)
			for err != nil && a.again(context.Background(), l, err, nil) {
				l, err = attempt(&a)
			}
			mu.Lock()
			defer mu.Unlock()
			sum.safe++
			if err != nil {
				sum.failedSafe++
			}
		})
	}
	wg.Wait()
	return sum
}

// four runs a test over four endpoints. None of them is ejected unless that is allowed.
func four(t *testing.T, s Settings, test func(t *testing.T, b *balancer, g *fakeGRPC)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b, g := startBalancer(t, s)
		g.open = true
		b.list("a", "b", "c", "d")
		time.Sleep(time.Second)
		test(t, b, g)
	})
}

func well(string, int) error { return nil }

func unavailableAt(bad ...string) func(string, int) error {
	end := failsAt(codes.Unavailable, bad...)
	return func(addr string, _ int) error { return end(addr) }
}

var equalShares = map[string]uint32{"a": 1, "b": 1, "c": 1, "d": 1}

// Three of four endpoints fail. Either two of them may be ejected, or none.
func TestP2CAvoidsTheFailing(t *testing.T) {
	for name, s := range map[string]Settings{"two ejected": {}, "none ejected": {EjectFailures: -1}} {
		for kind, safe := range map[string]float64{"safe and others": 0.5, "others only": 0} {
			t.Run(name+", "+kind, func(t *testing.T) {
				four(t, s, func(t *testing.T, b *balancer, g *fakeGRPC) {
					const rate = 200
					mixedLoad(b, g, rate, safe, 5*time.Second, well)
					// At first the balancer does not know which ones fail.
					first := mixedLoad(b, g, rate, safe, time.Second, unavailableAt("a", "b", "c"))
					if first.failedOthers > 20 || first.failedSafe > 1 {
						t.Errorf("in the first second %d safe and %d other calls failed", first.failedSafe, first.failedOthers)
					}
					then := mixedLoad(b, g, rate, safe, 30*time.Second, unavailableAt("a", "b", "c"))
					tried := then.at("a", "b", "c")
					if then.failedSafe > 0 || then.failedOthers*50 > then.others {
						t.Errorf("then %d of %d safe and %d of %d other calls failed", then.failedSafe, then.safe, then.failedOthers, then.others)
					}
					if part := float64(tried) / float64(then.all()); part > 0.03 || tried == 0 {
						t.Errorf("the failing ones got %.1f %% of the calls, want a few", 100*part)
					}
					if safe > 0 && then.failedOthers*2 > tried {
						t.Errorf("%d of %d trials were calls that cannot be made again", then.failedOthers, tried)
					}
					recovery := 3 * 3 * time.Second
					if s.EjectFailures >= 0 {
						recovery = time.Minute // ejections grow that long
					}
					mixedLoad(b, g, rate, safe, recovery, well)
					wantShares(t, mixedLoad(b, g, rate, safe, 10*time.Second, well).attempts, equalShares, 0.1)
				})
			})
		}
	}
}

func TestWhereAllFailNoneIsAvoided(t *testing.T) {
	four(t, Settings{EjectFailures: -1}, func(t *testing.T, b *balancer, g *fakeGRPC) {
		all := unavailableAt("a", "b", "c", "d")
		mixedLoad(b, g, 200, 0.5, time.Second, all)
		wantShares(t, mixedLoad(b, g, 200, 0.5, 20*time.Second, all).attempts, equalShares, 0.1)
		// The first endpoint that answers again is found.
		three := unavailableAt("a", "b", "c")
		mixedLoad(b, g, 200, 0.5, time.Second, three)
		if then := mixedLoad(b, g, 200, 0.5, 10*time.Second, three); then.failedSafe > 0 || then.attempts["d"]*100 < then.all()*95 {
			t.Errorf("when one answers again %d safe calls fail, and it gets %d of %d", then.failedSafe, then.attempts["d"], then.all())
		}
	})
}

// A method that fails everywhere says nothing about endpoints. If a method fails at one endpoint,
// that endpoint loses its calls only until it answers another one.
func TestAFailingMethod(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	method := func(at func(string) bool) func(string, int) error {
		return func(addr string, _ int) error {
			if r.IntN(3) == 0 && at(addr) {
				return status.Error(codes.Unavailable, "the method is out of order")
			}
			return nil
		}
	}
	four(t, Settings{EjectFailures: -1}, func(t *testing.T, b *balancer, g *fakeGRPC) {
		everywhere := method(func(string) bool { return true })
		wantShares(t, mixedLoad(b, g, 1000, 0, 10*time.Second, everywhere).attempts, equalShares, 0.1)
	})
	four(t, Settings{EjectFailures: -1}, func(t *testing.T, b *balancer, g *fakeGRPC) {
		sum := mixedLoad(b, g, 1000, 0, 10*time.Second, method(func(addr string) bool { return addr == "a" }))
		if got := sum.attempts["a"]; got == 0 || got > sum.all()*30/100 {
			t.Errorf("the one where the method fails got %d of %d calls, want some, and no more than its share", got, sum.all())
		}
		wantShares(t, sum.attempts, map[string]uint32{"b": 1, "c": 1, "d": 1}, 0.1)
	})
}

// Instances that refuse calls because they have too many are avoided. This must not overload the
// others one after the other.
func TestAvoidingDoesNotOverloadTheRest(t *testing.T) {
	four(t, Settings{EjectFailures: -1}, func(t *testing.T, b *balancer, g *fakeGRPC) {
		const rate, room = 4000, 3 // 8 calls are in flight on average, and there is room for 12
		sum := mixedLoad(b, g, rate, 0, 10*time.Second, func(_ string, inFlight int) error {
			if inFlight > room {
				return status.Error(codes.Unavailable, "too many calls")
			}
			return nil
		})
		wantShares(t, sum.attempts, equalShares, 0.1)
		if part := float64(sum.failedOthers) / float64(sum.others); part > 0.12 {
			t.Errorf("%.1f %% of the calls were turned away", 100*part)
		}
	})
}
