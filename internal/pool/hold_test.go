package pool

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap/zaptest/observer"
	grpcbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"

	"github.com/caddy-grpc/gateway/discovery"
)

// listHeld publishes a list of a registry with a hold time.
func (b *balancer) listHeld(addrs ...string) { b.onFeed(holding60(addrs...)) }

func holding60(addrs ...string) discovery.State {
	s := synced(instances(addrs...)...)
	s.Hold = time.Minute
	return s
}

// states returns the endpoints by address, as "a READY, b held".
func (b *balancer) states() string {
	var all []string
	for _, e := range b.snapshot().Endpoints {
		all = append(all, e.Address+" "+string(e.State))
	}
	return strings.Join(all, ", ")
}

// hosts returns n addresses.
func hosts(n int) []string {
	addrs := make([]string, n)
	for i := range addrs {
		addrs[i] = fmt.Sprintf("h%d", i)
	}
	return addrs
}

// inState returns how many endpoints are in each state.
func (b *balancer) inState(state string) (n int) {
	for _, e := range b.snapshot().Endpoints {
		if string(e.State) == state {
			n++
		}
	}
	return n
}

func TestMassLoss(t *testing.T) {
	all := hosts(10)
	type step struct {
		after time.Duration
		list  []string
	}
	tests := []struct {
		name  string
		hold  bool
		first []string
		steps []step
		held  int
	}{
		{"more than half of ten", true, all, []step{{0, all[:4]}}, 6},
		{"half of ten", true, all, []step{{0, all[:5]}}, 0},
		{"all of ten", true, all, []step{{0, nil}}, 10},
		{"all of ten, from a source that does not hold", false, all, []step{{0, nil}}, 0},
		{"three of four", true, all[:4], []step{{0, all[:1]}}, 3},
		{"two of three", true, all[:3], []step{{0, all[:1]}}, 0},
		{"the last one", true, all[:1], []step{{0, nil}}, 1},
		{"two of three, then the last one", true, all[:3], []step{{0, all[:1]}, {time.Second, nil}}, 3},
		{"one every two seconds: those of the last 15 seconds count", true, all, []step{
			{0, all[:9]}, {2 * time.Second, all[:8]}, {2 * time.Second, all[:7]}, {2 * time.Second, all[:6]}, {2 * time.Second, all[:5]}, {2 * time.Second, all[:4]},
		}, 6},
		{"one every four seconds, to the last but one", true, all, []step{
			{0, all[:9]}, {4 * time.Second, all[:8]}, {4 * time.Second, all[:7]}, {4 * time.Second, all[:6]}, {4 * time.Second, all[:5]},
		}, 0},
		{"replaced by others at once", true, all[:5], []step{{0, all[5:]}}, 0},
		{"replaced by fewer", true, all[:6], []step{{0, all[6:]}}, 6},
		{"more of the rest, while some are held", true, all, []step{{0, all[:4]}, {30 * time.Second, all[:3]}}, 7},
		{"back within the window does not count", true, all, []step{{0, all[:6]}, {time.Second, all}, {time.Second, all[:7]}}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, g := startBalancer(t, Settings{})
				g.open = true
				list := b.list
				if tt.hold {
					list = b.listHeld
				}
				list(tt.first...)
				time.Sleep(time.Minute)
				for _, s := range tt.steps {
					time.Sleep(s.after)
					list(s.list...)
					time.Sleep(applyEvery)
					synctest.Wait()
				}
				if got := b.inState("held"); got != tt.held || b.snapshot().Held != got {
					t.Errorf("%d are held, the snapshot says %d, want %d: %s", got, b.snapshot().Held, tt.held, b.states())
				}
				checkBooks(t, b)
			})
		})
	}
}

// Eight of ten instances have vanished. Each case says what follows, and what becomes of them.
func TestHeldInstances(t *testing.T) {
	all := hosts(10)
	trouble := func(s discovery.State) discovery.State { s.Err = errors.New("no leader"); return s }
	stale := func(s discovery.State) discovery.State { s.Stale = true; return s }
	tests := []struct {
		name string
		then func(b *balancer, g *fakeGRPC)
		held int
	}{
		{"59 seconds", func(*balancer, *fakeGRPC) { time.Sleep(59 * time.Second) }, 8},
		{"61 seconds", func(*balancer, *fakeGRPC) { time.Sleep(61 * time.Second) }, 0},
		{"an hour of trouble with the registry", func(b *balancer, _ *fakeGRPC) {
			b.onFeed(trouble(holding60(all[:2]...)))
			time.Sleep(time.Hour)
		}, 8},
		{"an hour with a list that may be old", func(b *balancer, _ *fakeGRPC) {
			b.onFeed(stale(holding60(all[:2]...)))
			time.Sleep(time.Hour)
		}, 8},
		{"trouble after 30 seconds, and 29 more after it", func(b *balancer, _ *fakeGRPC) {
			time.Sleep(30 * time.Second)
			b.onFeed(trouble(holding60(all[:2]...)))
			time.Sleep(time.Hour)
			b.listHeld(all[:2]...)
			time.Sleep(29 * time.Second)
		}, 8},
		{"trouble after 30 seconds, and 31 more after it", func(b *balancer, _ *fakeGRPC) {
			time.Sleep(30 * time.Second)
			b.onFeed(trouble(holding60(all[:2]...)))
			time.Sleep(time.Hour)
			b.listHeld(all[:2]...)
			time.Sleep(31 * time.Second)
		}, 0},
		{"two close their connection", func(_ *balancer, g *fakeGRPC) {
			g.sub("h5").lose()
			g.sub("h6").lose()
		}, 6},
		{"three are registered again", func(b *balancer, _ *fakeGRPC) { b.listHeld(all[:5]...) }, 5},
		{"all are registered again", func(b *balancer, _ *fakeGRPC) { b.listHeld(all...) }, 0},
		{"vanished again later: held again", func(b *balancer, _ *fakeGRPC) {
			time.Sleep(50 * time.Second)
			b.listHeld(all...)
			time.Sleep(time.Second)
			b.listHeld()
			time.Sleep(50 * time.Second)
		}, 10},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, g := startBalancer(t, Settings{})
				g.open = true
				b.listHeld(all...)
				time.Sleep(time.Minute)
				b.listHeld(all[:2]...)
				synctest.Wait()
				tt.then(b, g)
				time.Sleep(2 * applyEvery)
				synctest.Wait()
				if got := b.inState("held"); got != tt.held {
					t.Errorf("%d are held, want %d: %s", got, tt.held, b.states())
				}
				checkBooks(t, b)
				for _, addr := range all {
					if n := g.dialled(addr); n != 1 {
						t.Errorf("%s was dialled %d times", addr, n)
					}
				}
			})
		})
	}
}

func TestOnlyConnectedInstancesAreHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, g := startBalancer(t, Settings{})
		b.listHeld(hosts(4)...)
		synctest.Wait()
		g.sub("h0").become(connectivity.Ready, nil)
		g.sub("h1").refuse()
		synctest.Wait()
		b.listHeld()
		time.Sleep(applyEvery)
		synctest.Wait()
		if got, want := b.states(), "h0 held, h1 draining, h2 draining, h3 draining"; got != want {
			t.Errorf("states are %s, want %s", got, want)
		}
	})
}

func TestCallsGoToHeldInstancesUntilTheyClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, g := startBalancer(t, Settings{Connections: 2})
		g.open = true
		b.listHeld("a")
		time.Sleep(3 * time.Second)
		first := g.sub("a")
		b.listHeld()
		time.Sleep(applyEvery)
		synctest.Wait()
		call := func() (string, error) {
			addr, done, err := g.pick(t.Context())
			if err == nil {
				done(grpcbalancer.DoneInfo{BytesSent: true})
			}
			return addr, err
		}
		if addr, err := call(); addr != "a" || err != nil {
			t.Fatalf("the call went to %q, %v", addr, err)
		}
		first.lose() // one of two connections
		synctest.Wait()
		if addr, err := call(); addr != "a" || err != nil || b.states() != "a held" {
			t.Fatalf("with one connection left the call went to %q, %v; states %s", addr, err, b.states())
		}
		b.lock()
		second, _ := (*b.endpoints["a"].ready.Load())[0].sub.(*fakeSub)
		b.publishAndUnlock()
		second.lose()
		time.Sleep(flushEvery)
		synctest.Wait()
		var u *UnavailableError
		if _, err := call(); !errors.As(err, &u) || u.Reason != NoInstances {
			t.Errorf("the call ended with %v, want that there are no instances", err)
		}
		if n := g.dialled("a"); n != 2 {
			t.Errorf("dialled %d times, want twice: one that is gone is not dialled again", n)
		}
		time.Sleep(time.Minute)
		if got := b.states(); got != "" {
			t.Errorf("left over: %s", got)
		}
	})
}

// A call that is in flight when the hold ends finishes, like one at any other removed instance.
// Then no instance is left for calls.
func TestReleasedInstancesDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, g := startBalancer(t, Settings{})
		g.open = true
		b.listHeld("a")
		time.Sleep(time.Second)
		b.listHeld()
		time.Sleep(59 * time.Second)
		_, done, err := g.pick(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		var u *UnavailableError
		if _, _, err := g.pick(t.Context()); !errors.As(err, &u) || u.Reason != NoInstances {
			t.Errorf("a new call ended with %v, want that there are no instances", err)
		}
		time.Sleep(20 * time.Second)
		if b.states() != "a draining" || g.sub("a") == nil {
			t.Errorf("the connection is gone under a call: %s", b.states())
		}
		done(grpcbalancer.DoneInfo{BytesSent: true})
		synctest.Wait()
		if b.states() != "" || g.sub("a") != nil {
			t.Errorf("left over: %s", b.states())
		}
	})
}

func TestLogTellsOfHeldInstances(t *testing.T) {
	logged(t, Settings{}, func(b *balancer, g *fakeGRPC, logs *observer.ObservedLogs) {
		g.open = true
		all := hosts(5)
		b.listHeld(all...)
		time.Sleep(time.Second)
		logs.TakeAll()
		b.listHeld()
		time.Sleep(time.Second)
		g.sub("h0").lose()
		b.listHeld("h1")
		time.Sleep(2 * time.Minute)
		var got []string
		for _, e := range logs.All() {
			got = append(got, fmt.Sprintf("%s: %s %v", e.Level, e.Message, e.ContextMap()))
		}
		want := []string{
			"warn: too many instances vanished from the registry at once; connected ones stay in use until their connection closes, or until the registry " +
				"has worked without them for the hold time map[count:5 hold:1m0s instances:",
			"info: held instance removed because its connection closed map[instance:h0]",
			"info: held instances are registered again map[count:1 instances:[h1]]",
			"warn: held instances removed because the registry did not list them for the hold time; their calls in flight may finish map[count:3 hold:1m0s instances:[",
		}
		if !slices.EqualFunc(got, want, strings.HasPrefix) {
			t.Errorf("log is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}

// This test uses real connections. The registry forgets everything, and callers notice nothing.
// Then an instance closes its connection with GOAWAY, and is gone at once.
func TestWipedRegistry(t *testing.T) {
	a, b := startBackend(t, ""), startBackend(t, "")
	f := &manualFeed{}
	c := openChannel(t, Settings{}, f)
	f.publish(holding60(a.addr, b.addr))
	eventually(t, "both are connected", func() bool { return stateOf(c, a.addr) == "READY" && stateOf(c, b.addr) == "READY" })
	f.publish(holding60())
	eventually(t, "both are held", func() bool { return stateOf(c, a.addr) == "held" && stateOf(c, b.addr) == "held" })
	for range 20 {
		mustEcho(t, c)
	}
	a.server.GracefulStop()
	eventually(t, "the one that stopped is not held", func() bool { return stateOf(c, a.addr) != "held" })
	for range 20 {
		if got := mustEcho(t, c); got != b.addr {
			t.Fatalf("a call went to %s", got)
		}
	}
	f.publish(holding60(a.addr, b.addr))
	eventually(t, "the other one is in use", func() bool { return stateOf(c, b.addr) == "READY" })
	if n := b.accepts.Load(); n != 1 {
		t.Errorf("%d connections were made to the one that stayed", n)
	}
}

func TestHoldingWithoutASubsetRemembersNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, g := startBalancer(t, Settings{})
		g.open = true
		for range 5 {
			b.listHeld(hosts(8)...)
			time.Sleep(time.Second)
			// The first ones that go are drained. They are held when it turns out that many follow.
			for n := 7; n >= 3; n-- {
				b.listHeld(hosts(n)...)
				time.Sleep(time.Second)
			}
			synctest.Wait()
			if b.hold.held == 0 {
				t.Fatal("nothing is held")
			}
		}
		if n := len(b.subset.members); n != 0 {
			t.Errorf("%d members of no subset", n)
		}
	})
}
