package pool

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	grpcbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
)

func TestConnectionsPerInstance(t *testing.T) {
	b := startBackend(t, "")
	f := &manualFeed{}
	c := openChannel(t, Settings{Connections: 3}, f)
	f.list(b.addr)
	eventually(t, "three connections", func() bool {
		s := c.Snapshot().Endpoints
		return len(s) == 1 && s[0].Connections == 3
	})
	for range 30 {
		mustEcho(t, c)
	}
	if n := b.accepts.Load(); n != 3 {
		t.Errorf("%d connections were accepted, want 3", n)
	}
}

// With four connections and 20 streams on each, 80 calls run at the same time. Grpc alone would
// make 60 of them wait.
func TestMoreConnectionsWhereStreamsWouldQueue(t *testing.T) {
	b := startBackend(t, "", grpc.MaxConcurrentStreams(20))
	f := &manualFeed{}
	c := openChannel(t, Settings{}, f)
	f.list(b.addr)
	ready(t, c)
	var wg sync.WaitGroup
	for range 80 {
		wg.Go(func() { hang(t, c) }) // comes back once the instance has answered
	}
	wg.Wait()
	if n := b.accepts.Load(); n != 4 {
		t.Errorf("%d connections were accepted, want 4", n)
	}
	if e := c.Snapshot().Endpoints[0]; e.InFlight != 80 || e.Connections != 4 {
		t.Errorf("snapshot is %+v", e)
	}
}

func TestNoMoreConnectionsWithoutNeed(t *testing.T) {
	b := startBackend(t, "") // a stock server allows any number of streams
	f := &manualFeed{}
	c := openChannel(t, Settings{}, f)
	f.list(b.addr)
	var wg sync.WaitGroup
	for range 150 {
		wg.Go(func() { hang(t, c) })
	}
	wg.Wait()
	if n := b.accepts.Load(); n != 1 {
		t.Errorf("%d connections were accepted, want 1", n)
	}
}

// claim picks n calls that do not end. It returns how many had to wait.
func claim(t *testing.T, g *fakeGRPC, n int) (waiting int) {
	t.Helper()
	for range n {
		if _, _, err := g.pick(t.Context()); err != nil {
			waiting++
		}
	}
	return waiting
}

func TestFullConnections(t *testing.T) {
	const limit = 10
	setup := func(t *testing.T, s Settings, addrs ...string) (*balancer, *fakeGRPC) {
		b, g := startBalancer(t, s)
		g.open = true
		b.list(addrs...)
		time.Sleep(time.Second)
		for _, ep := range b.endpoints {
			for _, c := range ep.conns {
				c.limit.Store(limit)
			}
		}
		g.mu.Lock()
		g.open = false // further connections do not come up
		g.mu.Unlock()
		return b, g
	}
	t.Run("calls wait for the next connection", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			_, g := setup(t, Settings{}, "a")
			if n := claim(t, g, limit+3); n != 3 {
				t.Fatalf("%d calls wait, want 3", n)
			}
			synctest.Wait()
			if n := g.dialled("a"); n != 2 {
				t.Fatalf("dialled %d times, want 2", n)
			}
			before := g.pickerCount()
			g.sub("a").become(connectivity.Ready, nil)
			synctest.Wait()
			if g.pickerCount() == before {
				t.Error("no picker came for those that wait")
			}
			if n := claim(t, g, 3); n != 0 {
				t.Errorf("%d calls still wait", n)
			}
		})
	})
	t.Run("but not for long", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			_, g := setup(t, Settings{}, "a")
			claim(t, g, limit+3)
			before := g.pickerCount()
			time.Sleep(growWait + time.Millisecond)
			if g.pickerCount() == before {
				t.Error("no picker came for those that wait")
			}
			if n := claim(t, g, 3); n != 0 {
				t.Errorf("%d calls still wait", n)
			}
		})
	})
	t.Run("not at all when it cannot be made", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			_, g := setup(t, Settings{}, "a")
			claim(t, g, limit+3)
			synctest.Wait()
			g.sub("a").refuse()
			synctest.Wait()
			if n := claim(t, g, 3); n != 0 {
				t.Errorf("%d calls still wait", n)
			}
		})
	})
	t.Run("no more than the maximum", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			_, g := setup(t, Settings{MaxConnections: 1}, "a")
			claim(t, g, limit)
			synctest.Wait()
			if n := claim(t, g, 5); n != 0 {
				t.Errorf("%d calls wait for a connection that will not come", n)
			}
			if n := g.dialled("a"); n != 1 {
				t.Errorf("dialled %d times, want once", n)
			}
		})
	})
	t.Run("nor for more than the maximum once that is up", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b, g := setup(t, Settings{MaxConnections: 2}, "a")
			claim(t, g, limit+3)
			synctest.Wait()
			for _, c := range b.endpoints["a"].conns {
				c.limit.Store(limit)
			}
			g.sub("a").become(connectivity.Ready, nil)
			synctest.Wait()
			if n := claim(t, g, limit+5); n != 0 {
				t.Errorf("%d calls wait for a third connection, which may not be", n)
			}
		})
	})
	t.Run("another instance has room", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b, g := setup(t, Settings{Balance: BalanceRoundRobin}, "a", "b")
			for b.endpoints["a"].InFlight.Load() < limit {
				addr, done, err := g.pick(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if addr == "b" {
					done(grpcbalancer.DoneInfo{BytesSent: true})
				}
			}
			for range limit {
				if addr, _, err := g.pick(t.Context()); addr != "b" {
					t.Fatalf("picked %q, %v", addr, err)
				}
			}
		})
	})
	t.Run("what was added goes again", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b, g := setup(t, Settings{}, "a")
			var ends []func(grpcbalancer.DoneInfo)
			for range limit {
				_, done, err := g.pick(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				ends = append(ends, done)
			}
			synctest.Wait()
			g.sub("a").become(connectivity.Ready, nil)
			time.Sleep(shrinkAfter + time.Second)
			if n := len(b.endpoints["a"].conns); n != 2 {
				t.Fatalf("%d connections while the calls go on, want 2", n)
			}
			for _, end := range ends {
				end(grpcbalancer.DoneInfo{BytesSent: true})
			}
			time.Sleep(shrinkAfter)
			synctest.Wait()
			if n := len(b.endpoints["a"].conns); n != 1 {
				t.Errorf("%d connections are left, want 1", n)
			}
		})
	})
}

// A connection that is being added is dropped when its instance vanishes from the registry. After
// that another connection must be added.
func TestMoreConnectionsAfterOneWasDropped(t *testing.T) {
	for name, lose := range map[string]func(*balancer){
		"the registration flaps": func(b *balancer) { b.list("b"); b.list("a", "b") },
		"the instance is held":   func(b *balancer) { b.listHeld() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, g := startBalancer(t, Settings{})
				g.open = true
				b.list("a", "b")
				time.Sleep(time.Minute)
				g.mu.Lock()
				g.open = false // the added connection does not come up
				g.mu.Unlock()
				ep := b.endpoints["a"]
				ep.conns[0].limit.Store(10)
				b.wantMore(ep, b.clock())
				synctest.Wait()
				if n := len(ep.conns); n != 2 {
					t.Fatalf("%d connections before, want 2", n)
				}
				lose(b)
				time.Sleep(500 * time.Millisecond)
				synctest.Wait()
				if n := len(ep.conns); n != 1 {
					t.Fatalf("%d connections then, want 1", n)
				}
				b.wantMore(ep, b.clock())
				synctest.Wait()
				if n := len(ep.conns); n != 2 {
					t.Errorf("%d connections after, want 2", n)
				}
			})
		})
	}
}

// If one of two connections is down, the one that is up stays.
func TestAddedConnectionIsNotKeptForOneThatIsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, g := startBalancer(t, Settings{})
		g.open = true
		b.list("a")
		time.Sleep(time.Minute)
		ep := b.endpoints["a"]
		b.wantMore(ep, b.clock())
		time.Sleep(shrinkAfter - time.Second)
		synctest.Wait()
		g.mu.Lock()
		g.open = false
		g.mu.Unlock()
		b.onConnState(ep.conns[0], grpcbalancer.SubConnState{ConnectivityState: connectivity.Idle})
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if len(ep.conns) != 1 || ep.conns[0].state != connectivity.Ready {
			t.Errorf("%d connections, the first is %s; want the one that is READY", len(ep.conns), ep.conns[0].state)
		}
	})
}
