package pool

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	grpcbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"

	"github.com/caddy-grpc/gateway/discovery"
	"github.com/caddy-grpc/gateway/internal/pool/wire"
)

func TestPicksWhileConnecting(t *testing.T) {
	type step struct {
		addr string
		do   func(*fakeSub)
	}
	up := func(s *fakeSub) { s.become(connectivity.Ready, nil) }
	lose := func(s *fakeSub) { s.become(connectivity.Idle, nil) }
	refuse := (*fakeSub).refuse
	tests := []struct {
		name  string
		steps []step
		want  any // an address, grpcbalancer.ErrNoSubConnAvailable to wait, or a Reason
	}{
		{"both under way", nil, grpcbalancer.ErrNoSubConnAvailable},
		{"one refused, one under way", []step{{"a", refuse}}, grpcbalancer.ErrNoSubConnAvailable},
		{"both refused", []step{{"a", refuse}, {"b", refuse}}, Unreachable},
		{"both refused, one tried again", []step{{"a", refuse}, {"b", refuse}, {"a", lose}}, Unreachable},
		{"one up", []step{{"b", up}}, "b"},
		{"one up, one refused", []step{{"a", refuse}, {"b", up}}, "b"},
		{"up and lost", []step{{"a", refuse}, {"b", up}, {"b", lose}}, grpcbalancer.ErrNoSubConnAvailable},
		{"up, lost and refused", []step{{"a", refuse}, {"b", up}, {"b", lose}, {"b", refuse}}, Unreachable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, g := startBalancer(t, Settings{})
				b.list("a", "b")
				synctest.Wait()
				for _, s := range tt.steps {
					s.do(g.sub(s.addr))
					synctest.Wait()
				}
				time.Sleep(flushEvery)
				synctest.Wait()
				addr, done, err := g.pick(t.Context())
				if done != nil {
					done(grpcbalancer.DoneInfo{BytesSent: true})
				}
				var u *UnavailableError
				switch want := tt.want.(type) {
				case string:
					if addr != want || err != nil {
						t.Errorf("picked %q, %v; want %q", addr, err, want)
					}
				case error:
					if !errors.Is(err, want) {
						t.Errorf("error is %v, want %v", err, want)
					}
				case Reason:
					if !errors.As(err, &u) || u.Reason != want {
						t.Errorf("error is %v, want reason %d", err, want)
					}
				}
			})
		})
	}
}

func TestDialsAreSpaced(t *testing.T) {
	tests := []struct {
		name     string
		run      func(b *balancer, g *fakeGRPC) // for ten seconds
		min, max int                            // dials
	}{
		{"closed as soon as it is up", func(_ *balancer, g *fakeGRPC) {
			for range 100 {
				if s := g.sub("a"); s != nil {
					s.lose()
				}
				time.Sleep(100 * time.Millisecond)
			}
		}, 10, 11},
		{"registration flaps at 5 Hz, connection holds", func(b *balancer, _ *fakeGRPC) {
			for i := range 50 {
				b.list()
				time.Sleep(100 * time.Millisecond)
				b.onFeed(synced(discovery.Endpoint{ID: fmt.Sprint("id", i), Addr: "a"}))
				time.Sleep(100 * time.Millisecond)
			}
		}, 1, 1},
		{"registration flaps at 5 Hz, connection breaks with it", func(b *balancer, g *fakeGRPC) {
			for i := range 50 {
				b.list()
				if s := g.sub("a"); s != nil {
					s.lose()
				}
				time.Sleep(100 * time.Millisecond)
				b.onFeed(synced(discovery.Endpoint{ID: fmt.Sprint("id", i), Addr: "a"}))
				time.Sleep(100 * time.Millisecond)
			}
		}, 2, 11},
		{"refused, registered anew at 5 Hz", func(b *balancer, g *fakeGRPC) {
			g.mu.Lock()
			g.open = false
			g.mu.Unlock()
			g.sub("a").lose()
			for i := range 50 {
				synctest.Wait()
				if s := g.sub("a"); s != nil {
					s.refuse()
				}
				b.onFeed(synced(discovery.Endpoint{ID: fmt.Sprint("id", i), Addr: "a"}))
				time.Sleep(200 * time.Millisecond)
			}
		}, 2, 13},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, g := startBalancer(t, Settings{})
				g.open = true
				b.list("a")
				synctest.Wait()
				tt.run(b, g)
				if n := g.dialled("a"); n < tt.min || n > tt.max {
					t.Errorf("dialled %d times in ten seconds, want %d to %d", n, tt.min, tt.max)
				}
			})
		})
	}
}

func TestFreshRegistrationResetsBackoff(t *testing.T) {
	tests := []struct {
		name  string
		list  []discovery.Endpoint
		dials int
	}{
		{"same list", instances("a"), 1},
		{"only the weight changes", []discovery.Endpoint{{ID: "a", Addr: "a", Weight: 5}}, 1},
		{"registered anew with the same ID", []discovery.Endpoint{{ID: "a", Addr: "a", Registration: 7}}, 2},
		{"another ID", []discovery.Endpoint{{ID: "a2", Addr: "a"}}, 2},
		{"another ID beside the old one", []discovery.Endpoint{{ID: "a", Addr: "a"}, {ID: "a2", Addr: "a"}}, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, g := startBalancer(t, Settings{})
				b.list("a")
				synctest.Wait()
				g.sub("a").refuse() // the fake stays in backoff forever
				time.Sleep(time.Minute)
				b.onFeed(synced(tt.list...))
				synctest.Wait()
				if n := g.dialled("a"); n != tt.dials {
					t.Errorf("dialled %d times, want %d", n, tt.dials)
				}
			})
		})
	}
}

func TestDrainTimes(t *testing.T) {
	tests := []struct {
		name  string
		calls int
		end   time.Duration // when the calls end; 0: never
		gone  time.Duration // when the endpoint is dropped
	}{
		{"no calls", 0, 0, drainLinger},
		{"calls end within the linger", 2, 100 * time.Millisecond, drainLinger},
		{"calls end later", 2, 7 * time.Second, 7 * time.Second},
		{"calls never end", 2, 0, 30 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, g := startBalancer(t, Settings{})
				g.open = true
				b.list("a", "b")
				time.Sleep(applyEvery)
				var ends []func(grpcbalancer.DoneInfo)
				for len(ends) < tt.calls {
					addr, done, err := g.pick(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					if addr == "a" {
						ends = append(ends, done)
					}
				}
				ep := b.endpoints["a"]
				sub := g.sub("a")
				b.list("b")
				for range 100 {
					if addr, _, err := g.pick(t.Context()); addr == "a" || err != nil {
						t.Fatalf("picked %q, %v after it was removed", addr, err)
					}
				}
				began := time.Now()
				if tt.end > 0 {
					time.AfterFunc(tt.end, func() {
						for _, end := range ends {
							end(grpcbalancer.DoneInfo{BytesSent: true})
						}
					})
				}
				time.Sleep(tt.gone - time.Millisecond)
				if synctest.Wait(); sub.down || b.snapshot().Endpoints[0].State != "draining" {
					t.Fatalf("given up before %s", tt.gone)
				}
				time.Sleep(2 * time.Millisecond)
				if synctest.Wait(); !sub.down || len(b.snapshot().Endpoints) != 1 {
					t.Fatalf("not given up after %s", time.Since(began))
				}
				if cut, want := ep.cut.Load(), tt.calls > 0 && tt.end == 0; cut != want {
					t.Errorf("calls were cut: %v, want %v", cut, want)
				}
			})
		})
	}
}

// After a removal that is taken back, its deadline must have no effect.
func TestOldDrainDeadlineIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, g := startBalancer(t, Settings{})
		g.open = true
		b.list("a")
		time.Sleep(time.Second)
		_, done, err := g.pick(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		b.list()
		time.Sleep(20 * time.Second)
		b.list("a")
		time.Sleep(5 * time.Second)
		b.list()
		time.Sleep(20 * time.Second) // 45 s after the first removal, 20 s after the second
		if ep := b.endpoints["a"]; ep == nil || ep.cut.Load() {
			t.Error("the first removal's deadline was kept")
		}
		done(grpcbalancer.DoneInfo{BytesSent: true})
		synctest.Wait()
		if len(b.snapshot().Endpoints) != 0 {
			t.Error("the endpoint is not forgotten")
		}
		if g.dialled("a") != 1 {
			t.Errorf("dialled %d times, want once", g.dialled("a"))
		}
	})
}

func TestConnectionLostWhileDrainingIsNotDialled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, g := startBalancer(t, Settings{})
		g.open = true
		b.list("a")
		time.Sleep(time.Second)
		sub := g.sub("a")
		_, done, err := g.pick(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		b.list()
		sub.become(connectivity.Idle, nil) // a GOAWAY: the call in flight goes on
		time.Sleep(10 * time.Second)
		if n := g.dialled("a"); n != 1 {
			t.Errorf("dialled %d times, want once", n)
		}
		done(grpcbalancer.DoneInfo{BytesSent: true})
		synctest.Wait()
		if n := len(b.snapshot().Endpoints); n != 0 {
			t.Errorf("%d endpoints are left", n)
		}
	})
}

func TestChurnIsAppliedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, g := startBalancer(t, Settings{})
		g.open = true
		b.list("keep")
		time.Sleep(time.Second)
		before := g.pickerCount()
		for i := range 1000 { // one second of a change per millisecond
			b.list("keep", fmt.Sprint("other", i))
			time.Sleep(time.Millisecond)
		}
		time.Sleep(applyEvery)
		synctest.Wait()
		// Each applied list may make two pickers. One is for the endpoint that goes, and one for
		// the connection that comes.
		if n, limit := g.pickerCount()-before, 2*int(time.Second/applyEvery)+4; n > limit {
			t.Errorf("%d pickers were made, want at most %d", n, limit)
		}
		if g.sub("other999") == nil {
			t.Error("the last list was not applied")
		}
	})
}

func TestAChangeAloneIsAppliedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, g := startBalancer(t, Settings{})
		g.open = true
		b.list("a")
		synctest.Wait()
		time.Sleep(applyEvery)
		b.list("b")
		synctest.Wait() // no time passes
		if addr, _, err := g.pick(t.Context()); addr == "a" {
			t.Errorf("picked %q (%v), which was removed", addr, err)
		}
		if g.dialled("b") != 1 {
			t.Error("the new instance was not dialled")
		}
	})
}

// TestTheFirstConnectionIsUsedAtOnce: an instance comes up a moment after all have failed. Whoever
// waited for that can make a call. With many instances the next picker takes a while.
func TestTheFirstConnectionIsUsedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, g := startBalancer(t, Settings{})
		var addrs []string
		for i := range 500 {
			addrs = append(addrs, fmt.Sprintf("host%04d", i))
		}
		b.list(addrs...)
		for range 20 { // not all are dialled at once
			synctest.Wait()
			for _, addr := range addrs {
				if sub := g.sub(addr); sub != nil && sub.state == connectivity.Connecting {
					sub.refuse()
				}
			}
			time.Sleep(flushMax)
		}
		if _, _, err := g.pick(t.Context()); err == nil || errors.Is(err, grpcbalancer.ErrNoSubConnAvailable) {
			t.Fatalf("the picker does not fail calls: %v", err)
		}
		for range 20 {
			picked := make(chan error)
			go func() {
				err := b.waitReady(t.Context(), nil)
				if err == nil {
					var done func(grpcbalancer.DoneInfo)
					if _, done, err = g.pick(t.Context()); err == nil {
						done(grpcbalancer.DoneInfo{BytesSent: true})
					}
				}
				picked <- err
			}()
			synctest.Wait()
			g.sub(addrs[0]).become(connectivity.Ready, nil)
			if err := <-picked; err != nil {
				t.Error(err)
			}
			g.sub(addrs[0]).become(connectivity.Idle, nil)
			g.sub(addrs[0]).refuse()
			time.Sleep(flushMax)
		}
	})
}

func TestConnectionsThatComeTogetherMakeFewPickers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, g := startBalancer(t, Settings{})
		g.open = true
		var addrs []string
		for i := range 2000 {
			addrs = append(addrs, fmt.Sprintf("host%04d", i))
		}
		b.list(addrs...)
		synctest.Wait()
		time.Sleep(time.Second)
		if n := len(b.ready); n != len(addrs) {
			t.Fatalf("%d are ready, want %d", n, len(addrs))
		}
		if n := g.pickerCount(); n > 10 {
			t.Errorf("%d pickers were made, want a few", n)
		}
	})
}

func TestDialsAtATimeAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, g := startBalancer(t, Settings{})
		var addrs []string
		for i := range 3 * wire.MaxDialing {
			addrs = append(addrs, fmt.Sprintf("host%04d", i))
		}
		dialled := func() int {
			g.mu.Lock()
			defer g.mu.Unlock()
			return len(g.dials)
		}
		b.list(addrs...)
		synctest.Wait()
		if n := dialled(); n != wire.MaxDialing {
			t.Fatalf("%d were dialled at once, want %d", n, wire.MaxDialing)
		}
		// One dial that succeeds and one that fails make room for two more.
		g.mu.Lock()
		var some []*fakeSub
		for _, s := range g.subs {
			if some = append(some, s); len(some) == 2 {
				break
			}
		}
		g.mu.Unlock()
		some[0].become(connectivity.Ready, nil)
		some[1].refuse()
		synctest.Wait()
		if n := dialled(); n != wire.MaxDialing+2 {
			t.Errorf("%d were dialled, want %d", n, wire.MaxDialing+2)
		}
		// Dials that nobody answers do not hold up the rest for long.
		time.Sleep(2*wire.DialingFor + time.Millisecond)
		synctest.Wait()
		if n := dialled(); n != len(addrs) {
			t.Errorf("%d were dialled, want all %d", n, len(addrs))
		}
	})
}

func TestListsAreTakenAsTheyCome(t *testing.T) {
	ep := func(id, addr string) discovery.Endpoint { return discovery.Endpoint{ID: id, Addr: addr} }
	tests := []struct {
		name  string
		lists [][]discovery.Endpoint
		want  map[string]int // registrations per address
	}{
		{"sorted", [][]discovery.Endpoint{{ep("1", "a"), ep("2", "b")}}, map[string]int{"a": 1, "b": 1}},
		{"not sorted", [][]discovery.Endpoint{{ep("2", "b"), ep("1", "a")}, {ep("3", "c"), ep("1", "a")}}, map[string]int{"a": 1, "c": 1}},
		{"an ID twice: the last one counts", [][]discovery.Endpoint{{ep("1", "a"), ep("1", "b")}}, map[string]int{"b": 1}},
		{"an address twice", [][]discovery.Endpoint{{ep("1", "a"), ep("2", "a")}}, map[string]int{"a": 2}},
		{"an ID moves to another address", [][]discovery.Endpoint{{ep("1", "a")}, {ep("1", "b")}}, map[string]int{"b": 1}},
		{"two IDs swap addresses", [][]discovery.Endpoint{{ep("1", "a"), ep("2", "b")}, {ep("1", "b"), ep("2", "a")}}, map[string]int{"a": 1, "b": 1}},
		{"everything goes and comes", [][]discovery.Endpoint{{ep("1", "a")}, {}, {ep("1", "a")}}, map[string]int{"a": 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, g := startBalancer(t, Settings{})
				g.open = true
				for _, l := range tt.lists {
					b.onFeed(synced(l...))
					time.Sleep(applyEvery)
				}
				time.Sleep(2 * time.Second)
				got := b.snapshot().Endpoints
				if len(got) != len(tt.want) || b.active != len(tt.want) || len(b.ready) != len(tt.want) {
					t.Fatalf("endpoints are %+v (%d active, %d ready), want %v", got, b.active, len(b.ready), tt.want)
				}
				for _, e := range got {
					if n := tt.want[e.Address]; len(e.IDs) != n {
						t.Errorf("%s has IDs %v, want %d", e.Address, e.IDs, n)
					}
				}
				var weights int
				for _, n := range b.weights {
					weights += n
				}
				if weights != b.active {
					t.Errorf("%d weights are counted for %d endpoints", weights, b.active)
				}
			})
		})
	}
}

func TestPickersAreMadeAsOftenAsTheyMayCost(t *testing.T) {
	for _, tt := range []struct {
		name       string
		cost, want time.Duration
	}{
		{"a few instances", 10 * time.Microsecond, 5 * time.Millisecond},
		{"thousands", 500 * time.Microsecond, 50 * time.Millisecond},
		{"thousands, and the processor was busy", 20 * time.Millisecond, 100 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := flushAfter(tt.cost); got != tt.want {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}

// Endpoints that are listed before grpc has built the policy are dialled as soon as it has.
func TestInstancesListedBeforeThePolicyIsBuilt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := Settings{}.withDefaults()
		if err != nil {
			t.Fatal(err)
		}
		b, g := newBalancer("s", s, nil, newRandom(1)), newFakeGRPC()
		b.list("a")
		b.attach(g)
		synctest.Wait()
		if n := g.dialled("a"); n != 1 {
			t.Errorf("dialled %d times, want once", n)
		}
	})
}
