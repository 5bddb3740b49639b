package routes

import (
	"fmt"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/httprule"
)

// guard keeps the members that a registry names from taking requests of members before them. A
// router prefers the more specific route, and a method's own path to any route. Both are fine
// between services that an operator has listed. But whoever may write to a registry could take over
// /v1/users/me of a service that has /v1/users/{id}.
//
// A nil guard refuses nothing: no member comes from a registry.
type guard struct {
	claims httprule.Claims[claim]
	ranks  map[string]int // the listed members by their label, in order
	routes map[string]int // how many routes they have
}

// maxListedRoutes is the maximum number of routes from the annotations of one listed member. Each
// is compared with those before it.
const maxListedRoutes = 1000

// claim is a route with its owner.
type claim struct {
	upstream string
	rank     int // of the owner; -1: of the config, or of a member that is not listed
}

func newGuard(members []Member) *guard {
	var g *guard
	for i := range members {
		if !members[i].Listed {
			continue
		}
		if g == nil {
			g = &guard{ranks: make(map[string]int), routes: make(map[string]int)}
		}
		g.ranks[members[i].Label] = i
	}
	return g
}

func (g *guard) rank(upstream string) int {
	if rank, ok := g.ranks[upstream]; ok {
		return rank
	}
	return -1
}

// claim notes the owner of a route.
func (g *guard) claim(bd *frontend.Binding) {
	if g == nil {
		return
	}
	owner := claim{upstream: bd.Method.Upstream, rank: g.rank(bd.Method.Upstream)}
	if bd.Source == SourceConfig {
		owner.rank = -1
	}
	g.claims.Add(bd.HTTPMethod, bd.Template, owner)
}

// refuses says why a listed member may not have an annotation's route, or returns "".
func (g *guard) refuses(bd *frontend.Binding) string {
	if g == nil {
		return ""
	}
	before := g.before(bd.Method.Upstream)
	if before == nil {
		return ""
	}
	if g.routes[bd.Method.Upstream]++; g.routes[bd.Method.Upstream] > maxListedRoutes {
		return fmt.Sprintf("a service of a catalog can have %d routes; the route is left out", maxListedRoutes)
	}
	loser, ok := g.claims.Loser(bd.HTTPMethod, bd.Template, before)
	if !ok {
		return ""
	}
	return fmt.Sprintf("it would take requests from %s %s of upstream %q, which is older; the route is left out",
		loser.Method, loser.Template, loser.Value.upstream)
}

// refusesPath says why a listed member may not have a method's own path, or returns "". A service
// named v1 with a method named users would have the path /v1/users. Routes that begin with a
// variable do not count: their owners do not expect the names of methods.
func (g *guard) refusesPath(m *frontend.Method) string {
	if g == nil {
		return ""
	}
	before := g.before(m.Upstream)
	if before == nil {
		return ""
	}
	t, err := httprule.Parse(m.Path)
	if err != nil {
		return err.Error()
	}
	loser, ok := g.claims.Matching(t, before)
	if !ok {
		return ""
	}
	return fmt.Sprintf("it would take requests from %s %s of upstream %q, which is older; the method cannot be called",
		loser.Method, loser.Template, loser.Value.upstream)
}

// before returns a function that reports whether the owner of a claim is before this upstream. It
// returns nil if the upstream is not listed.
func (g *guard) before(upstream string) func(claim) bool {
	rank, listed := g.ranks[upstream]
	if !listed {
		return nil
	}
	return func(c claim) bool { return c.rank < rank && c.upstream != upstream }
}
