package module

import (
	"cmp"
	"slices"

	"github.com/caddy-grpc/gateway/internal/pool"
)

// checkUpstreams says why calls to upstreams cannot succeed. Pools that drain get no calls.
func checkUpstreams(upstreams []UpstreamView) (bad []string) {
	for i := range upstreams {
		u := &upstreams[i]
		takesCalls := func(e pool.EndpointSnapshot) bool { return e.State == pool.StateReady || e.State == pool.StateHeld }
		switch {
		case u.Retiring || u.Generations == 0:
		case !slices.ContainsFunc(u.Endpoints, takesCalls):
			bad = append(bad, u.Name+": "+cmp.Or(u.Down, u.LastError, u.Registry.Error, "no instance takes calls"))
		case !u.Schema.Loaded && u.Schema.Fingerprint == "":
			bad = append(bad, u.Name+": the methods are not known: "+cmp.Or(u.Schema.LastError, "they have not been read yet"))
		}
	}
	return bad
}

// checkRoutes says what does not work as it is written, and whose methods are not known.
func checkRoutes(handlers []HandlerView) (bad []string) {
	for i := range handlers {
		h := &handlers[i]
		for _, p := range h.PendingUpstreams {
			bad = append(bad, p.Upstream+": the methods are not known: "+p.Reason)
		}
		for _, p := range h.Problems {
			bad = append(bad, p.String())
		}
	}
	return bad
}

// checkCatalogs says which services cannot be called, and which registries have never answered. A
// service that leaves is not missed.
func checkCatalogs(catalogs []CatalogView) (bad []string) {
	for i := range catalogs {
		c := &catalogs[i]
		if !c.Registry.Synced && c.Registry.Snapshot == nil {
			bad = append(bad, c.Name+": nothing is known of its registry: "+cmp.Or(c.Registry.Error, "it has not been read yet"))
		}
		for j := range c.Services {
			if s := &c.Services[j]; s.State != serviceServing && s.State != serviceLeaving {
				bad = append(bad, s.Name+": "+s.State+": "+cmp.Or(s.Reason, "its methods are being read"))
			}
		}
	}
	return bad
}
