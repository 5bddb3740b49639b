package httprule

import (
	"cmp"
	"fmt"
	"slices"
)

// anyMethod is the method of a route that accepts every HTTP method: a custom rule of kind "*".
const anyMethod = "*"

// Builder collects routes. T is what a match returns. The zero value is ready to use.
type Builder[T any] struct {
	// FullyDecodeReserved decodes `%2F` even in variables of several segments. It is the option
	// fully_decode_reserved_expansion of google.api.Http. By default `%2F` stays as the client
	// wrote it, so that a slash within a segment can be told from one between segments.
	FullyDecodeReserved bool

	routes []Route[T]
}

// Route is a method and a template with the value that a match returns.
type Route[T any] struct {
	Method   string // an HTTP method, or "*" for any
	Template *Template
	Value    T
}

// Ambiguity is a pair of routes that cannot be told apart.
type Ambiguity[T any] struct {
	Method        string
	Winner, Loser T
	Reason        string
}

// Add registers a route. method is an HTTP method, or "*" for any (a custom rule of kind "*").
func (b *Builder[T]) Add(method string, t *Template, value T) {
	b.routes = append(b.routes, Route[T]{Method: method, Template: t, Value: value})
}

// Build compiles the routes to an immutable router. Two routes that match the same paths with the
// same method are an ambiguity: the first one added wins, and the pair is reported. Routes may be
// added after Build; they do not change a router that exists.
func (b *Builder[T]) Build() (*Router[T], []Ambiguity[T]) {
	sorted := slices.Clone(b.routes)
	slices.SortStableFunc(sorted, compareRoutes[T])

	r := &Router[T]{routes: make([]Route[T], 0, len(sorted)), keepSlash: !b.FullyDecodeReserved}
	var ambiguities []Ambiguity[T]
	for _, route := range sorted {
		// Routes that cannot be told apart are neighbours now, the first one added before the
		// others.
		if n := len(r.routes); n > 0 && compareRoutes(r.routes[n-1], route) == 0 {
			ambiguities = append(ambiguities, newAmbiguity(r.routes[n-1], route))
			continue
		}
		r.add(route)
	}
	return r, ambiguities
}

// compareRoutes orders by precedence: of two routes that match one request, the lesser wins.
func compareRoutes[T any](a, b Route[T]) int {
	if c := a.Template.compare(b.Template); c != 0 {
		return c
	}
	if aAny, bAny := a.Method == anyMethod, b.Method == anyMethod; aAny != bAny {
		if aAny {
			return 1
		}
		return -1
	}
	return cmp.Compare(a.Method, b.Method)
}

func newAmbiguity[T any](winner, loser Route[T]) Ambiguity[T] {
	reason := fmt.Sprintf("%s %s is there twice", winner.Method, winner.Template)
	if winner.Template.String() != loser.Template.String() {
		reason = fmt.Sprintf("%s %s and %s match the same paths", winner.Method, winner.Template, loser.Template)
	}
	return Ambiguity[T]{Method: winner.Method, Winner: winner.Value, Loser: loser.Value, Reason: reason}
}

// add compiles a route. Routes come in the order of precedence.
func (r *Router[T]) add(route Route[T]) {
	n := r.byVerb.findOrAdd(route.Template.verb).insert(route.Template.segments)
	n.ends = append(n.ends, end{method: route.Method, route: len(r.routes)})
	r.routes = append(r.routes, route)
}
