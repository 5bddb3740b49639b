package httprule

import "strings"

// Claims remembers routes, and finds out whether a further one would take requests from one of
// them. T is what identifies a route. The zero value is ready to use.
//
// A router sends a request to the most specific of all routes that match it. So whoever may add
// routes could take over a part of the requests of somebody else by a more specific route, such as
// /v1/users/me beside /v1/users/{id}.
type Claims[T any] struct {
	byVerb map[string]*claim[T]
}

// claim is a node of a trie. Its edges are the segments of templates up to their `**`.
type claim[T any] struct {
	literals map[string]*claim[T]
	single   *claim[T]
	// children are those in literals, in the order in which they came. So of several losers it is
	// always the same one that is found.
	children []*claim[T]
	// routes end at this node, or go on with `**`.
	routes []Route[T]
}

// Add claims the requests of a route.
func (c *Claims[T]) Add(method string, t *Template, value T) {
	if c.byVerb == nil {
		c.byVerb = make(map[string]*claim[T])
	}
	n := c.byVerb[t.verb]
	if n == nil {
		n = new(claim[T])
		c.byVerb[t.verb] = n
	}
	for _, s := range t.segments {
		if s.kind == deepSegment {
			break
		}
		n = n.next(s)
	}
	n.routes = append(n.routes, Route[T]{Method: method, Template: t, Value: value})
}

// next returns the node after a segment, and makes it if necessary.
func (n *claim[T]) next(s segment) *claim[T] {
	if s.kind == singleSegment {
		if n.single == nil {
			n.single = new(claim[T])
		}
		return n.single
	}
	if n.literals == nil {
		n.literals = make(map[string]*claim[T])
	}
	if n.literals[s.text] == nil {
		n.literals[s.text] = new(claim[T])
		n.children = append(n.children, n.literals[s.text])
	}
	return n.literals[s.text]
}

// Loser returns a claimed route that would lose requests if a route with this method and template
// were added. It considers only routes for whose value counts returns true.
//
// The search enters only those nodes of the trie that agree with the literals of the template.
func (c *Claims[T]) Loser(method string, t *Template, counts func(T) bool) (loser Route[T], ok bool) {
	added := Route[T]{Method: method, Template: t}
	return c.find(t, func(r Route[T]) bool {
		sameMethod := r.Method == method || r.Method == anyMethod || method == anyMethod
		return sameMethod && compareRoutes(added, r) < 0 && counts(r.Value)
	})
}

// Matching returns a claimed route, of any method, that begins with a literal and matches a path
// that the template matches. It considers only routes for whose value counts returns true.
func (c *Claims[T]) Matching(t *Template, counts func(T) bool) (found Route[T], ok bool) {
	return c.find(t, func(r Route[T]) bool {
		s := r.Template.segments
		return len(s) > 0 && s[0].kind == literalSegment && counts(r.Value)
	})
}

// find returns a claimed route that matches a path that the template matches, and that accept
// accepts.
func (c *Claims[T]) find(t *Template, accept func(Route[T]) bool) (found Route[T], ok bool) {
	with := func(segments []segment) func(Route[T]) bool {
		return func(r Route[T]) bool {
			if !accept(r) || !overlap(segments, r.Template.segments) {
				return false
			}
			found, ok = r, true
			return true
		}
	}
	if c.byVerb[t.verb].visit(t.segments, with(t.segments)) || t.verb == "" {
		return found, ok
	}
	// To templates without a verb, a path that ends in the verb is text like any other.
	for _, segments := range withVerb(t) {
		if c.byVerb[""].visit(segments, with(segments)) {
			break
		}
	}
	return found, ok
}

// visit calls found with the routes below a node that may match what the segments match, until it
// returns true.
func (n *claim[T]) visit(segments []segment, found func(Route[T]) bool) bool {
	if n == nil {
		return false
	}
	for _, r := range n.routes {
		if found(r) {
			return true
		}
	}
	if len(segments) == 0 {
		return false
	}
	s, rest := segments[0], segments[1:]
	if s.kind == deepSegment {
		rest = segments // It may take any number of segments, so everything below may match.
	}
	if n.single.visit(rest, found) {
		return true
	}
	if s.kind == literalSegment {
		return n.literals[s.text].visit(rest, found)
	}
	for _, child := range n.children {
		if child.visit(rest, found) {
			return true
		}
	}
	return false
}

// withVerb returns the segments of a template with a verb, as a template without one would have to
// match them. A single segment with a text is one that ends in this text. There are two ways if the
// template ends in a `**`, which may take nothing.
func withVerb(t *Template) [][]segment {
	suffix := ":" + t.verb
	ending := func(segments []segment) []segment {
		last := len(segments) - 1
		if last < 0 {
			return []segment{{kind: literalSegment, text: suffix}}
		}
		end := segment{kind: singleSegment, text: suffix}
		if s := segments[last]; s.kind == literalSegment {
			end = segment{kind: literalSegment, text: s.text + suffix}
		}
		return append(segments[:last:last], end)
	}
	last := len(t.segments) - 1
	if last < 0 || t.segments[last].kind != deepSegment {
		return [][]segment{ending(t.segments)}
	}
	deep := t.segments[: last+1 : last+1]
	return [][]segment{append(deep, segment{kind: singleSegment, text: suffix}), ending(t.segments[:last])}
}

// overlap reports whether some path matches both lists of segments.
func overlap(a, b []segment) bool {
	switch {
	case len(a) > 0 && a[0].kind == deepSegment:
		return overlap(a[1:], b) || len(b) > 0 && overlap(a, b[1:])
	case len(b) > 0 && b[0].kind == deepSegment:
		return overlap(a, b[1:]) || len(a) > 0 && overlap(a[1:], b)
	case len(a) == 0 || len(b) == 0:
		return len(a) == len(b)
	}
	return meet(a[0], b[0]) && overlap(a[1:], b[1:])
}

// meet reports whether some text matches both segments, neither of which is a `**`.
func meet(a, b segment) bool {
	switch {
	case a.kind == literalSegment && b.kind == literalSegment:
		return a.text == b.text
	case a.kind == literalSegment:
		return strings.HasSuffix(a.text, b.text) && a.text != ""
	case b.kind == literalSegment:
		return strings.HasSuffix(b.text, a.text) && b.text != ""
	default:
		return true
	}
}
