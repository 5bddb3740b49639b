package module

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/caddy-grpc/gateway/discovery"
	"github.com/caddy-grpc/gateway/internal/pool"
	"github.com/caddy-grpc/gateway/internal/schema"
)

// What is out of the ordinary has a line of its own, and only then.
func TestPrintUpstreams(t *testing.T) {
	for name, tt := range map[string]struct {
		snapshot pool.Snapshot
		want     string
	}{
		"held":       {pool.Snapshot{Held: 3}, "  ! instances held although the registry does not have them any more: 3\n"},
		"subset":     {pool.Snapshot{Subset: &pool.SubsetSnapshot{Known: 1000, InUse: 20}}, "  subset: 20 of 1000 instances are used\n"},
		"last error": {pool.Snapshot{Endpoints: []pool.EndpointSnapshot{{LastError: "refused", LastErrorAt: time.Now().Add(-time.Minute)}}}, "refused (1m0s ago)"},
		"unhealthy":  {pool.Snapshot{Endpoints: []pool.EndpointSnapshot{{State: pool.StateUnhealthy, Health: "NOT_SERVING"}}}, "health check: NOT_SERVING"},
	} {
		t.Run(name, func(t *testing.T) {
			var out, plain bytes.Buffer
			views := []UpstreamView{{Name: "user", Snapshot: tt.snapshot}}
			if err := printUpstreams(&out, views, time.Now()); err != nil || !strings.Contains(out.String(), tt.want) {
				t.Errorf("%v: no %q in:\n%s", err, tt.want, out.String())
			}
			views[0].Snapshot = pool.Snapshot{}
			if err := printUpstreams(&plain, views, time.Now()); err != nil || strings.Contains(plain.String(), tt.want) {
				t.Errorf("%v: %q in:\n%s", err, tt.want, plain.String())
			}
		})
	}
}

// TestPrintedTextsOfOthers checks that no text of a service or a registry can forge a row or a
// line.
func TestPrintedTextsOfOthers(t *testing.T) {
	views := []UpstreamView{{
		Name: hostile, Target: hostile,
		Registry: RegistryView{Error: hostile, Skipped: []SkippedView{{ID: hostile, Reason: hostile}}},
		Refused:  []RefusedView{{ID: hostile, Address: hostile, Reason: hostile}},
		Schema:   SchemaView{Source: "reflection", Status: schema.Status{Services: []string{hostile}, LastError: hostile}},
		Snapshot: pool.Snapshot{Endpoints: []pool.EndpointSnapshot{
			{Address: hostile, State: pool.StateReady, LastError: hostile, LastErrorAt: time.Unix(0, 0)},
			{Address: hostile, State: pool.StateUnhealthy, Health: hostile},
		}},
	}}
	handlers := []HandlerView{{
		Upstreams: []string{hostile}, Pending: hostile,
		PendingUpstreams: []PendingView{{Upstream: hostile, Reason: hostile}},
		Routes:           []RouteView{{Method: hostile, Template: hostile, RPC: hostile, Upstream: hostile, Source: hostile, ShadowedBy: hostile}},
		Problems:         []Problem{{Reason: hostile, RPC: hostile, Route: hostile}},
	}}
	for name, tt := range map[string]struct {
		print func(w *bytes.Buffer) error
		lines int
	}{
		"upstreams": {func(w *bytes.Buffer) error { return printUpstreams(w, views, time.Unix(5, 0)) }, 10},
		"catalogs": {func(w *bytes.Buffer) error {
			return printCatalogs(w, []CatalogView{{
				Name: hostile, Target: hostile, SkippedEntries: 3, Registry: RegistryView{Error: hostile, Skipped: []SkippedView{{ID: hostile, Reason: hostile}}},
				Services: []ServiceView{{Name: hostile, State: serviceFailed, Reason: hostile, Problems: []string{hostile}}},
			}}, time.Unix(5, 0))
		}, 9},
		"routes": {func(w *bytes.Buffer) error { return printRoutes(w, handlers) }, 6},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if err := tt.print(&out); err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(out.String(), "\n"); n != tt.lines {
				t.Errorf("%d lines, expected %d:\n%s", n, tt.lines, out.String())
			}
			for line := range strings.Lines(out.String()) {
				if text := strings.TrimSuffix(line, "\n"); discovery.Printable(text) != text {
					t.Errorf("not printable: %q", text)
				}
			}
		})
	}
}
