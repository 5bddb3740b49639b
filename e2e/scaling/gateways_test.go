package scaling

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-grpc/gateway"
	"github.com/caddy-grpc/gateway/discovery"
	"github.com/caddy-grpc/gateway/discovery/etcd"
	"github.com/caddy-grpc/gateway/e2e/kit"
)

const key = "user.rpc"

// gateways are the registry sides of many gateways: each has the discovery source and the etcd
// client of a process of its own, but no connections to instances.
type gateways struct {
	feeds []*discovery.Feed

	mu      sync.Mutex
	put     map[int64]time.Time // when the revision was written
	seen    []int64             // by each gateway
	latency []time.Duration     // of all changes at all gateways
}

// startGateways has so many gateways follow the key, and waits until each knows so many instances.
func startGateways(t *testing.T, n int, endpoints []string, instances int) *gateways {
	t.Helper()
	clusters := map[string]any{}
	for i := range n {
		// Clusters with equal settings would share one client.
		clusters[fmt.Sprint("g", i)] = map[string]any{"endpoints": endpoints, "dial_timeout": caddy.Duration(5*time.Second) + caddy.Duration(i)}
	}
	raw, err := json.Marshal(map[string]any{"etcd": clusters})
	if err != nil {
		t.Fatal(err)
	}
	ctx, err := caddy.ProvisionContext(&caddy.Config{
		Admin:   &caddy.AdminConfig{Disabled: true},
		Logging: &caddy.Logging{Logs: map[string]*caddy.CustomLog{"default": {BaseLog: caddy.BaseLog{Level: "ERROR"}}}},
		AppsRaw: caddy.ModuleMap{"grpc_gateway": raw},
	})
	if err != nil {
		t.Fatal(err)
	}
	g := &gateways{put: map[int64]time.Time{}, seen: make([]int64, n)}
	for i := range n {
		source := &etcd.Source{Cluster: fmt.Sprint("g", i), Key: key}
		if err := source.Provision(ctx); err != nil {
			t.Fatal(err)
		}
		feed := discovery.NewFeed(source)
		feed.Subscribe(func(s discovery.State) { g.told(i, s.Revision) })
		g.feeds = append(g.feeds, feed)
	}
	t.Cleanup(g.stop)
	g.await(t, instances)
	return g
}

func (g *gateways) stop() {
	var all sync.WaitGroup
	for _, feed := range g.feeds {
		all.Go(feed.Close)
	}
	all.Wait()
}

// await waits until each gateway knows so many instances and is in order.
func (g *gateways) await(t *testing.T, instances int) {
	t.Helper()
	kit.Eventually(t, 2*time.Minute, "every gateway knows the instances", func() error {
		for i, feed := range g.feeds {
			if s := feed.State(); !s.Synced || len(s.Endpoints) != instances || s.Err != nil {
				return fmt.Errorf("gateway %d: %d instances, error %w", i, len(s.Endpoints), s.Err)
			}
		}
		return nil
	})
}

// wrote notes when a revision was written.
func (g *gateways) wrote(revision int64, at time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.put[revision] = at
}

// told notes what a gateway's pool is told.
func (g *gateways) told(i int, revision int64) {
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	for r := g.seen[i] + 1; g.seen[i] > 0 && r <= revision; r++ {
		if at, ok := g.put[r]; ok {
			g.latency = append(g.latency, now.Sub(at))
		}
	}
	g.seen[i] = max(g.seen[i], revision)
}
