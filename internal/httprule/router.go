package httprule

import (
	"iter"
	"maps"
	"slices"
	"strings"
)

// Router finds the route of a request. Immutable, safe for concurrent use.
type Router[T any] struct {
	// routes are in the order of precedence.
	routes []Route[T]
	// byVerb has the root of the trie for each verb, and under "" the one for templates without.
	byVerb children
	// keepSlash leaves `%2F` alone in values of several segments.
	keepSlash bool
}

// Match finds the route for a method and a raw path: still percent-encoded, without the query. vars
// is a scratch buffer whose contents are replaced by the values of the template's variables. They
// are decoded and in the order of [Template.Variables]. A value that needs no decoding is a part of
// rawPath, so nothing is allocated if vars is large enough.
//
// ok is false if no route has this path and method; [Router.Allowed] then tells 404 from 405. The
// error is an [*EncodingError]: the percent-encoding of the path is bad, whether or not a route
// would have matched. Values may hold any bytes. The caller judges `%00` and bytes that are not
// UTF-8.
func (r *Router[T]) Match(method, rawPath string, vars []string) (value T, values []string, ok bool, err error) {
	values = vars[:0]
	if bad := badEscape(rawPath); bad >= 0 {
		return value, values, false, &EncodingError{Path: rawPath, Offset: bad}
	}
	w := walk{method: method}
	i, path := r.search(&w, rawPath)
	if i == noRoute {
		return value, values, false, nil
	}
	route := &r.routes[i]
	return route.Value, route.Template.appendValues(values, path, r.keepSlash), true, nil
}

// Allowed returns the methods that have a route for the path, sorted. It returns none if the path
// is unknown or badly encoded. A route for any method adds "*".
func (r *Router[T]) Allowed(rawPath string) []string {
	if badEscape(rawPath) >= 0 {
		return nil
	}
	w := walk{allowed: map[string]struct{}{}}
	r.search(&w, rawPath)
	return slices.Sorted(maps.Keys(w.allowed))
}

// Routes yields the routes that can be reached, in the order of precedence: of two that match one
// request, the earlier one wins. Routes that lost an ambiguity are left out.
func (r *Router[T]) Routes() iter.Seq[Route[T]] { return slices.Values(r.routes) }

// search returns the index of the route, and the path without the verb that led to it.
//
// Templates with the verb that ends the path are tried first. If none of them matches, the colon is
// plain text.
func (r *Router[T]) search(w *walk, path string) (route int, matched string) {
	if !strings.HasPrefix(path, "/") {
		return noRoute, path
	}
	if colon := strings.LastIndexByte(path, ':'); colon > strings.LastIndexByte(path, '/') && colon+1 < len(path) {
		if root := r.byVerb.findEncoded(path[colon+1:]); root != nil {
			matched = withoutRoot(path[:colon])
			if route = w.find(root, matched); route != noRoute {
				return route, matched
			}
		}
	}
	matched = withoutRoot(path)
	if root := r.byVerb.find(""); root != nil {
		return w.find(root, matched), matched
	}
	return noRoute, path
}

// withoutRoot returns the path as a list of segments with a slash before each: the root path has
// none.
func withoutRoot(path string) string {
	if path == "/" {
		return ""
	}
	return path
}

// appendValues appends the values of the template's variables in a path that it matches.
func (t *Template) appendValues(values []string, path string, keepSlash bool) []string {
	c := cursor{path: path}
	for _, v := range t.variables {
		start := t.offset(&c, v.start)
		end := t.offset(&c, v.end)
		value := ""
		if start < end { // else it is a `**` that took no segment
			value = path[start+1 : end]
		}
		values = append(values, decode(value, v.multi && keepSlash))
	}
	return values
}

// offset returns the place in the path of the slash before a segment of the template. For the
// segment after the last, that is the end of the path. Segments up to the `**` are counted from the
// front of the path, and segments after it from the end.
func (t *Template) offset(c *cursor, segment int) int {
	if t.deep < 0 || segment <= t.deep {
		return c.slash(segment)
	}
	offset := len(c.path)
	for range len(t.segments) - segment {
		offset = strings.LastIndexByte(c.path[:offset], '/')
	}
	return offset
}

// cursor finds slashes in a path. It only goes forward, so all variables together cost one pass.
type cursor struct {
	path   string
	index  int // which slash, from 0
	offset int // where it is; the end of the path counts as the last
}

// slash returns the offset of the slash with an index, which must not be less than the one before.
func (c *cursor) slash(index int) int {
	for ; c.index < index; c.index++ {
		next := strings.IndexByte(c.path[c.offset+1:], '/')
		if next < 0 {
			c.offset = len(c.path)
			c.index = index
			break
		}
		c.offset += 1 + next
	}
	return c.offset
}
