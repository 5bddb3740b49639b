package httprule

import (
	"iter"
	"maps"
	"slices"
	"strings"
)

// Router finds the route of a request. Immutable, safe for concurrent use.
type Router[T any] struct {
	routes    []Route[T] // in the order of precedence
	byVerb    children   // the root of the trie for each verb, "" for templates without
	keepSlash bool       // in values of several segments
}

// Match finds the route for a method and a raw (still percent-encoded) path, without the query. vars is a scratch
// buffer whose contents are replaced: the values of the template's variables, decoded, in the order of
// [Template.Variables]. Values that need no decoding are parts of rawPath, and then nothing is allocated when vars is
// large enough.
//
// ok is false when no route has the path with the method; [Router.Allowed] then tells 404 from 405. The error is
// an [*EncodingError]: bad percent-encoding in the path, whether or not a route would have matched. Values may be any
// bytes: `%00` and bytes that are not UTF-8 are for the caller to judge.
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

// Allowed returns the methods, sorted, that have a route for the path; empty when the path is unknown or badly
// encoded. A route for any method adds "*".
func (r *Router[T]) Allowed(rawPath string) []string {
	if badEscape(rawPath) >= 0 {
		return nil
	}
	w := walk{allowed: map[string]struct{}{}}
	r.search(&w, rawPath)
	return slices.Sorted(maps.Keys(w.allowed))
}

// Routes yields the routes that can be reached, in the order of precedence: of two that match one request the
// earlier is taken. Routes that lost an ambiguity are not among them.
func (r *Router[T]) Routes() iter.Seq[Route[T]] { return slices.Values(r.routes) }

// search returns the index of the route, and the path without the verb that led to it.
//
// Templates with the verb that the path ends in are tried first. When none of them matches, the colon is plain text.
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

// withoutRoot returns the path as a list of segments with a slash before each: the root path has none.
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

// offset returns where in the path the slash before a segment of the template is, the end of the path for the
// segment after the last. Up to the `**` segments are counted from the front of the path, behind it from the end.
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

// cursor finds slashes in a path, going forward only, so that all variables together cost one pass.
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
