package pool

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	grpcbalancer "google.golang.org/grpc/balancer"

	"github.com/caddy-grpc/gateway/internal/pool/balance"
)

// homes returns where each of n keys goes.
func homes(t *testing.T, g *fakeGRPC, n int) []string {
	t.Helper()
	addrs := make([]string, n)
	for i := range addrs {
		addr, done, err := g.pick(WithHash(t.Context(), fmt.Sprint("user-", i)))
		if err != nil {
			t.Fatal(err)
		}
		done(grpcbalancer.DoneInfo{BytesSent: true})
		addrs[i] = addr
	}
	return addrs
}

func counts(addrs []string) map[string]int {
	m := make(map[string]int)
	for _, a := range addrs {
		m[a]++
	}
	return m
}

func TestHash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const keys = 20_000
		b, g := startBalancer(t, Settings{Balance: BalanceHash})
		g.open = true
		equal := map[string]uint32{"a": 1, "b": 1, "c": 1, "d": 1}
		b.weighted(equal)
		time.Sleep(time.Minute)
		before := homes(t, g, keys)
		wantShares(t, counts(before), equal, 0.1)

		b.list("a", "b", "d")
		time.Sleep(time.Second)
		for i, addr := range homes(t, g, keys) {
			if before[i] != "c" && addr != before[i] {
				t.Fatalf("key %d moved from %s to %s though only c has gone", i, before[i], addr)
			}
		}
		b.list("a", "b", "c", "d")
		time.Sleep(time.Minute)
		for i, addr := range homes(t, g, keys) {
			if addr != before[i] {
				t.Fatalf("key %d is at %s now that all are back, not at %s", i, addr, before[i])
			}
		}
		weights := map[string]uint32{"a": 1, "b": 2, "c": 3, "d": 4}
		b.weighted(weights)
		time.Sleep(time.Minute)
		wantShares(t, counts(homes(t, g, keys)), weights, 0.1)
	})
}

func TestHashOverflowsToOneOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, g := startBalancer(t, Settings{Balance: BalanceHash, MaxConnections: 1})
		g.open = true
		b.list("a", "b", "c", "d")
		time.Sleep(time.Second)
		home := homes(t, g, 1)[0]
		b.endpoints[home].conns[0].limit.Store(1)
		ctx := WithHash(t.Context(), "user-0")
		seen := make(map[string]int)
		for range 50 {
			addr, _, err := g.pick(ctx)
			if err != nil {
				t.Fatal(err)
			}
			seen[addr]++
		}
		if len(seen) != 2 || seen[home] != 1 {
			t.Errorf("calls went to %v, want one to %s and the rest to one other", seen, home)
		}
		if l := (&lease{Context: ctx, attempts: &attempts{tried: []*balance.Endpoint{&b.endpoints[home].Endpoint}}}); true {
			if addr, _, err := g.pick(l); err != nil || addr == home {
				t.Errorf("a retry went to %s, %v", addr, err)
			}
		}
	})
}

func TestCallsWithoutAKeyAreSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, g := startBalancer(t, Settings{Balance: BalanceHash})
		g.open = true
		weights := map[string]uint32{"a": 1, "b": 1}
		b.weighted(weights)
		time.Sleep(time.Minute)
		seen := make(map[string]int)
		for range 4000 {
			addr, done, err := g.pick(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			done(grpcbalancer.DoneInfo{BytesSent: true})
			seen[addr]++
		}
		wantShares(t, seen, weights, 0.1)
	})
}

func TestHashReachesThePickerOfARealChannel(t *testing.T) {
	a, b := startBackend(t, ""), startBackend(t, "")
	f := &manualFeed{}
	c := openChannel(t, Settings{Balance: BalanceHash}, f)
	f.list(a.addr, b.addr)
	eventually(t, "both are ready", func() bool { return readyEndpoints(c) == 2 })
	seen := make(map[string]bool)
	for key := range 20 {
		ctx := WithHash(t.Context(), fmt.Sprint(key))
		first, err := echo(ctx, c)
		if err != nil {
			t.Fatal(err)
		}
		seen[first] = true
		for range 5 {
			if again, err := echo(ctx, c); err != nil || again != first {
				t.Fatalf("key %d went to %s and %s, %v", key, first, again, err)
			}
		}
	}
	if len(seen) != 2 {
		t.Errorf("all keys went to %v", seen)
	}
}
