package module

import (
	"strings"
	"testing"
	"time"

	"github.com/caddy-grpc/gateway/internal/pool"
	"github.com/caddy-grpc/gateway/internal/schema"
)

// TestCheck says what --check finds fault with.
func TestCheck(t *testing.T) {
	instances := func(states ...pool.State) pool.Snapshot {
		var s pool.Snapshot
		for _, state := range states {
			s.Endpoints = append(s.Endpoints, pool.EndpointSnapshot{State: state})
		}
		return s
	}
	known := SchemaView{Status: schema.Status{Loaded: true}}
	upstream := func(s pool.Snapshot, v SchemaView) func() []string {
		return func() []string {
			return checkUpstreams([]UpstreamView{{Name: "user", Generations: 1, Schema: v, Snapshot: s}})
		}
	}
	catalog := func(c CatalogView) func() []string {
		return func() []string { return checkCatalogs([]CatalogView{c}) }
	}
	routes := func(h HandlerView) func() []string {
		return func() []string { return checkRoutes([]HandlerView{h}) }
	}
	saved, synced := time.Unix(1, 0), RegistryView{Synced: true}
	for name, tt := range map[string]struct {
		check func() []string
		want  string // empty: nothing is wrong
	}{
		"ready":           {upstream(instances(pool.StateFailing, pool.StateReady), known), ""},
		"held":            {upstream(instances(pool.StateHeld), known), ""},
		"no instances":    {upstream(instances(), known), "user: no instance takes calls"},
		"none ready":      {upstream(instances(pool.StateConnecting, pool.StateEjected), known), "user: no instance takes calls"},
		"an outage":       {upstream(pool.Snapshot{Down: "all are away"}, known), "user: all are away"},
		"no methods":      {upstream(instances(pool.StateReady), SchemaView{Status: schema.Status{LastError: "no reflection"}}), "user: the methods are not known: no reflection"},
		"methods of file": {upstream(instances(pool.StateReady), SchemaView{Status: schema.Status{Fingerprint: "f"}}), ""},
		"draining": {func() []string {
			return checkUpstreams([]UpstreamView{{Name: "old", Generations: 0}, {Name: "old", Generations: 1, Snapshot: pool.Snapshot{Retiring: true}}})
		}, ""},
		"routes":              {routes(HandlerView{Routes: []RouteView{{}}}), ""},
		"a problem":           {routes(HandlerView{Problems: []Problem{{RPC: "a.B/C", Reason: "bad"}}}), "a.B/C: bad"},
		"pending":             {routes(HandlerView{PendingUpstreams: []PendingView{{Upstream: "user", Reason: "away"}}}), "user: the methods are not known: away"},
		"serving and leaving": {catalog(CatalogView{Registry: synced, Services: []ServiceView{{State: serviceServing}, {State: serviceLeaving}}}), ""},
		"reading":             {catalog(CatalogView{Registry: synced, Services: []ServiceView{{Name: "s", State: serviceReading}}}), "s: reading: its methods are being read"},
		"failed":              {catalog(CatalogView{Registry: synced, Services: []ServiceView{{Name: "s", State: serviceFailed, Reason: "why"}}}), "s: failed: why"},
		"a snapshot":          {catalog(CatalogView{Registry: RegistryView{Snapshot: &saved}}), ""},
		"no registry":         {catalog(CatalogView{Name: "fleet", Registry: RegistryView{Error: "refused"}}), "fleet: nothing is known of its registry: refused"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := strings.Join(tt.check(), "; "); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}
