package pool

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/connectivity"
)

// members returns the sorted addresses of the endpoints in use.
func (b *balancer) members() []string {
	b.lock()
	defer b.publishAndUnlock()
	var addrs []string
	for _, ep := range b.endpoints {
		if ep.inUse {
			addrs = append(addrs, ep.addr)
		}
	}
	slices.Sort(addrs)
	return addrs
}

// minus returns the elements of a that are not in b.
func minus(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
}

// gateway returns the balancer of one gateway among many. It connects to nothing.
func gateway(t *testing.T, key string, n int) *balancer {
	t.Helper()
	s, err := Settings{Subset: n, SubsetKey: key}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	return newBalancer("user.rpc", s, nil, newRandom(1))
}

func TestSubsetSize(t *testing.T) {
	for _, tt := range []struct{ subset, known, members int }{
		{0, 10, 10}, {4, 0, 0}, {4, 3, 3}, {4, 4, 4}, {4, 100, 4}, {1, 100, 1},
	} {
		t.Run(fmt.Sprintf("%d of %d", tt.subset, tt.known), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, g := startBalancer(t, Settings{Subset: tt.subset, SubsetKey: "a"})
				g.open = true
				b.list(hosts(tt.known)...)
				time.Sleep(time.Minute)
				if got := len(b.members()); got != tt.members || len(g.made) != tt.members {
					t.Errorf("%d members, %d were dialled; want %d", got, len(g.made), tt.members)
				}
				s := b.snapshot()
				if len(s.Endpoints) != tt.members {
					t.Errorf("operators see %d endpoints", len(s.Endpoints))
				}
				if want := (SubsetSnapshot{tt.known, tt.members}); tt.subset > 0 && (s.Subset == nil || *s.Subset != want) || tt.subset == 0 && s.Subset != nil {
					t.Errorf("operators see the subset %+v", s.Subset)
				}
			})
		})
	}
}

// The choice of instances depends on the gateway and the instances. It does not depend on what
// happened before.
func TestSubsetHasNoHistory(t *testing.T) {
	all := hosts(100)
	at := func(key string, lists ...[]string) []string {
		b := gateway(t, key, 10)
		for _, l := range lists {
			b.lock()
			b.applied = time.Time{}
			b.publishAndUnlock()
			b.list(l...)
		}
		return b.members()
	}
	want := at("a", all)
	if got := at("a", all[:50], all[20:70], nil, all[90:], all); !slices.Equal(got, want) {
		t.Errorf("after some detours %v, want %v", got, want)
	}
	if got := at("b", all); slices.Equal(got, want) {
		t.Error("another gateway uses the same instances")
	}
}

// One instance more or less changes one member at most.
func TestSubsetIsSticky(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(7, 7))
		b, g := startBalancer(t, Settings{Subset: 20, SubsetKey: "a"})
		g.open = true
		list := hosts(200)
		b.list(list...)
		time.Sleep(time.Minute)
		before, changes := b.members(), 0
		for i := range 300 {
			if i%2 == 0 {
				list = append(list, fmt.Sprint("new", i))
			} else {
				j := r.IntN(len(list))
				list = slices.Delete(list, j, j+1)
			}
			b.list(list...)
			time.Sleep(10 * time.Second)
			after := b.members()
			if came, went := minus(after, before), minus(before, after); len(came) > 1 || len(went) > 1 || len(after) != 20 {
				t.Fatalf("change %d: %v came, %v went, %d members", i, came, went, len(after))
			} else if len(came) > 0 {
				changes++
			}
			before = after
			checkBooks(t, b)
		}
		// A tenth of the instances are members, so about a tenth of the changes concern them.
		if changes < 15 || changes > 60 {
			t.Errorf("%d of 300 changes concerned a member", changes)
		}
	})
}

// Each instance is used by about the same number of gateways. Here each of 500 gateways uses 20 of
// 100 instances. So an instance is used by 100 on average, with a standard deviation of nine.
func TestSubsetsAreEven(t *testing.T) {
	uses := make(map[string]int)
	all := hosts(100)
	for i := range 500 {
		b := gateway(t, fmt.Sprint("gateway-", i), 20)
		b.list(all...)
		for _, addr := range b.members() {
			uses[addr]++
		}
	}
	for _, addr := range all {
		if n := uses[addr]; n < 60 || n > 140 {
			t.Errorf("%s is used by %d gateways, want about 100", addr, n)
		}
	}
	var sum int
	for _, n := range uses {
		sum += n
	}
	if sum != 500*20 {
		t.Errorf("%d uses", sum)
	}
}

// When an instance goes, the gateways that used it do not all turn to the same other instance.
func TestSubsetsReplaceAnInstanceByDifferentOnes(t *testing.T) {
	all := hosts(100)
	replaced, by := 0, make(map[string]int)
	for i := range 500 {
		b := gateway(t, fmt.Sprint("gateway-", i), 20)
		b.list(all...)
		before := b.members()
		b.lock()
		b.applied = time.Time{}
		b.publishAndUnlock()
		b.list(all[1:]...)
		if came := minus(b.members(), before); len(came) > 0 {
			replaced++
			by[came[0]]++
		}
	}
	// About 100 gateways turn to the 99 other instances.
	if replaced < 60 || len(by) < 40 {
		t.Errorf("%d gateways replaced it by %d different ones", replaced, len(by))
	}
	for addr, n := range by {
		if n > 10 {
			t.Errorf("%d of %d gateways turned to %s", n, replaced, addr)
		}
	}
}

// subsetOf4 runs a test over a subset of 4 of 40 instances. All members are connected. The test
// gets the members.
func subsetOf4(t *testing.T, run func(b *balancer, g *fakeGRPC, members []string)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b, g := startBalancer(t, Settings{Subset: 4, SubsetKey: "a", DrainTimeout: time.Second})
		g.open = true
		b.listHeld(hosts(40)...)
		time.Sleep(time.Minute)
		run(b, g, b.members())
		checkBooks(t, b)
	})
}

func TestSubsetIsToppedUp(t *testing.T) {
	subsetOf4(t, func(b *balancer, _ *fakeGRPC, members []string) {
		b.listHeld(minus(hosts(40), members[:2])...)
		synctest.Wait()
		now := b.members()
		if len(now) != 4 || len(minus(members[2:], now)) != 0 {
			t.Errorf("members were %v, two left, now they are %v", members, now)
		}
	})
}

// A member that is out of use for long gets another member beside it, until it is back.
func TestFailingMemberIsCoveredFor(t *testing.T) {
	subsetOf4(t, func(b *balancer, g *fakeGRPC, members []string) {
		g.mu.Lock()
		g.open = false
		g.mu.Unlock()
		failing := members[1]
		g.sub(failing).lose()
		synctest.Wait()
		g.sub(failing).refuse()
		time.Sleep(lackingAfter - time.Second)
		if got := b.members(); !slices.Equal(got, members) {
			t.Errorf("after four seconds the members are %v, want %v", got, members)
		}
		time.Sleep(2 * time.Second)
		got := b.members()
		if len(got) != 5 || len(minus(members, got)) != 0 {
			t.Errorf("after six seconds the members are %v, want one more than %v", got, members)
		}
		g.sub(minus(got, members)[0]).become(connectivity.Ready, nil)
		g.sub(failing).become(connectivity.Ready, nil)
		time.Sleep(time.Second)
		if got := b.members(); !slices.Equal(got, members) {
			t.Errorf("when it is back the members are %v, want %v", got, members)
		}
	})
}

func TestSubsetGrowsToTwiceItsSizeAtMost(t *testing.T) {
	subsetOf4(t, func(b *balancer, g *fakeGRPC, members []string) {
		g.mu.Lock()
		g.open = false
		g.mu.Unlock()
		for range 10 {
			for _, addr := range b.members() {
				if s := g.sub(addr); s != nil {
					s.lose()
					synctest.Wait()
					s.refuse()
				}
			}
			time.Sleep(lackingAfter)
		}
		if got := b.members(); len(got) != subsetBound*4 || len(minus(members, got)) != 0 {
			t.Errorf("with everything down the members are %v", got)
		}
	})
}

// A member stays until the one that replaces it is connected.
func TestSubsetHandsOver(t *testing.T) {
	subsetOf4(t, func(b *balancer, g *fakeGRPC, members []string) {
		list := hosts(40)
		g.mu.Lock()
		g.open = false
		g.mu.Unlock()
		var came []string
		for i := 0; len(came) == 0; i++ {
			list = append(list, fmt.Sprint("new", i))
			b.listHeld(list...)
			time.Sleep(applyEvery)
			synctest.Wait()
			came = minus(b.members(), members)
		}
		if got := b.members(); len(got) != 5 {
			t.Fatalf("members are %v, want those before and %s", got, came)
		}
		if got := len(g.picked(t)); got != 4 {
			t.Errorf("calls go to %d members, want 4", got)
		}
		g.sub(came[0]).become(connectivity.Ready, nil)
		time.Sleep(flushEvery)
		synctest.Wait()
		got := b.members()
		gone := minus(members, got)
		if len(got) != 4 || len(gone) != 1 {
			t.Fatalf("members are %v, were %v", got, members)
		}
		// If the member is needed after all, its connection is still there.
		b.listHeld(minus(list, came)...)
		time.Sleep(applyEvery)
		synctest.Wait()
		if got := b.members(); !slices.Equal(got, members) || g.dialled(gone[0]) != 1 {
			t.Errorf("members are %v, want %v; %s was dialled %d times", got, members, gone, g.dialled(gone[0]))
		}
	})
}

// Held members stay members. The registry is not believed, so no other instance is dialled instead.
func TestHeldMembersStay(t *testing.T) {
	subsetOf4(t, func(b *balancer, g *fakeGRPC, members []string) {
		others := minus(hosts(40), members)
		b.listHeld(others[:3]...)
		time.Sleep(30 * time.Second)
		if got := b.members(); !slices.Equal(got, members) || b.inState("held") != 4 || len(g.made) != 4 {
			t.Fatalf("members are %s, want %v held; %d were dialled", b.states(), members, len(g.made))
		}
		g.sub(members[0]).lose()
		synctest.Wait()
		if got := b.members(); len(got) != 4 || b.inState("held") != 3 {
			t.Errorf("one closed its connection: members are %s", b.states())
		}
		time.Sleep(time.Minute)
		if got := b.members(); !slices.Equal(got, others[:3]) {
			t.Errorf("when the registry was right members are %v, want %v", got, others[:3])
		}
	})
}

func TestSubsetOfAnySize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, g := startBalancer(t, Settings{Subset: math.MaxInt, SubsetKey: "gateway"})
		g.open = true
		b.list("a", "b")
		time.Sleep(time.Second)
		if n := b.inState("READY"); n != 2 {
			t.Errorf("%d instances are READY, want both", n)
		}
	})
}
