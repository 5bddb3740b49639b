package httprule

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// reference is the router said slowly and plainly: every route is tried by trying every way to lay
// its segments over those of the path, and of all that match the most specific is taken.
type reference struct {
	routes    []Route[string]
	keepSlash bool
}

// hit is a route that matches, with the parts of the path that each of its segments took.
type hit struct {
	route Route[string]
	taken [][]string
}

func (r reference) match(method, path string) (route string, values []string, ok bool) {
	best, ok := hit{}, false
	for _, h := range r.hits(path) {
		if h.route.Method != method && h.route.Method != "*" {
			continue
		}
		if !ok || moreSpecific(h.route, best.route) {
			best, ok = h, true
		}
	}
	if !ok {
		return "", nil, false
	}
	for _, v := range best.route.Template.variables {
		raw := strings.Join(slices.Concat(best.taken[v.start:v.end]...), "/")
		several := v.end-v.start > 1 || best.route.Template.segments[v.start].kind == deepSegment
		values = append(values, unescapeReference(raw, several && r.keepSlash))
	}
	return best.route.Value, values, true
}

func (r reference) allowed(path string) []string {
	var methods []string
	for _, h := range r.hits(path) {
		methods = append(methods, h.route.Method)
	}
	slices.Sort(methods)
	return slices.Compact(methods)
}

func (r reference) hits(path string) []hit {
	var hits []hit
	for _, route := range r.routes {
		rest := path
		if route.Template.verb != "" {
			colon := strings.LastIndex(path, ":")
			if colon < 0 || unescapeReference(path[colon+1:], false) != route.Template.verb || strings.Contains(path[colon:], "/") {
				continue
			}
			rest = path[:colon]
		}
		if !strings.HasPrefix(rest, "/") {
			continue
		}
		var parts []string
		if rest != "/" {
			parts = strings.Split(rest[1:], "/")
		}
		if taken, ok := lay(route.Template.segments, parts); ok {
			hits = append(hits, hit{route, taken})
		}
	}
	return hits
}

// lay lays segments over parts of a path in any way that takes all of both.
func lay(segments []segment, parts []string) ([][]string, bool) {
	if len(segments) == 0 {
		return nil, len(parts) == 0
	}
	for n := range len(parts) + 1 {
		took := parts[:n]
		fits := segments[0].kind == deepSegment ||
			n == 1 && segments[0].kind == singleSegment && took[0] != "" ||
			n == 1 && segments[0].kind == literalSegment && unescapeReference(took[0], false) == segments[0].text
		if !fits {
			continue
		}
		if rest, ok := lay(segments[1:], parts[n:]); ok {
			return append([][]string{took}, rest...), true
		}
	}
	return nil, false
}

// moreSpecific tells, of two routes that match one request, whether a is taken before b, which was
// added before a.
func moreSpecific(a, b Route[string]) bool {
	if a, b := a.Template.verb != "", b.Template.verb != ""; a != b {
		return a
	}
	rank := func(r Route[string]) string {
		kinds := ""
		for i, s := range r.Template.segments {
			switch s.kind {
			case literalSegment:
				kinds += "b"
			case singleSegment:
				kinds += "c"
			case deepSegment: // more text behind it is more specific
				return kinds + "d" + string(rune('~'-(len(r.Template.segments)-i)))
			}
		}
		return kinds + "a" // its end
	}
	if a, b := rank(a), rank(b); a != b {
		return a < b
	}
	return a.Method != "*" && b.Method == "*"
}

func unescapeReference(s string, keepSlash bool) string {
	if keepSlash {
		s = strings.NewReplacer("%2F", "%252F", "%2f", "%252f").Replace(s)
	}
	decoded, err := url.PathUnescape(s)
	if err != nil {
		return s
	}
	return decoded
}

// compareWithReference holds the router against the reference for one request.
func compareWithReference(t *testing.T, router *Router[string], ref reference, method, path string) {
	t.Helper()
	got, values, ok, err := router.Match(method, path, nil)
	allowed := router.Allowed(path)
	if _, bad := url.PathUnescape(path); bad != nil {
		if err == nil || ok || len(allowed) > 0 {
			t.Fatalf("%s: %q %v %v, allowed %q; want an error, since %v", path, got, ok, err, allowed, bad)
		}
		return
	}
	want, wantValues, wantOK := ref.match(method, path)
	if err != nil || got != want || ok != wantOK || !slices.Equal(values, wantValues) {
		t.Fatalf("%s %s of\n%s\n got %q %q %v (%v)\nwant %q %q %v", method, path, ref.list(), got, values, ok, err, want, wantValues, wantOK)
	}
	if want := ref.allowed(path); !slices.Equal(allowed, want) {
		t.Fatalf("Allowed(%s) of\n%s\n got %q\nwant %q", path, ref.list(), allowed, want)
	}
}

func (r reference) list() string {
	var b strings.Builder
	for _, route := range r.routes {
		fmt.Fprintln(&b, route.Method, route.Template)
	}
	return b.String()
}

// newPair builds a router and its reference from lines "METHOD template"; lines that do not parse
// are left out.
func newPair(lines string, fullyDecode bool) (*Router[string], reference) {
	b := Builder[string]{FullyDecodeReserved: fullyDecode}
	ref := reference{keepSlash: !fullyDecode}
	for line := range strings.Lines(lines) {
		line = strings.TrimSuffix(line, "\n")
		method, source, _ := strings.Cut(line, " ")
		template, err := Parse(source)
		if err != nil || len(template.segments) > 12 || len(ref.routes) == 20 {
			continue // the reference is too slow for those
		}
		b.Add(method, template, line)
		ref.routes = append(ref.routes, Route[string]{method, template, line})
	}
	router, _ := b.Build()
	return router, ref
}

// TestMatchLikeReference tries small worlds: few texts, so that routes agree with paths in many
// ways at once.
func TestMatchLikeReference(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	matched := 0
	for range 4000 {
		var lines strings.Builder
		for range 1 + rng.IntN(8) {
			lines.WriteString(randomRoute(rng) + "\n")
		}
		router, ref := newPair(lines.String(), rng.IntN(4) == 0)
		for range 8 {
			method, path := pick(rng, "GET", "GET", "POST", "*"), randomPath(rng)
			compareWithReference(t, router, ref, method, path)
			if _, _, ok := ref.match(method, path); ok {
				matched++
			}
		}
	}
	if matched < 5000 {
		t.Errorf("only %d requests matched: the worlds show too little", matched)
	}
}

func pick(rng *rand.Rand, from ...string) string { return from[rng.IntN(len(from))] }

func randomRoute(rng *rand.Rand) string {
	var segments []string
	deep, inVariable := false, false
	for i := range rng.IntN(5) {
		s := pick(rng, "a", "b", "%61", "a%2Fb", "a", "b")
		if !deep {
			s = pick(rng, "a", "b", "%61", "*", "*", "**")
			deep = s == "**"
		}
		if !inVariable && rng.IntN(3) == 0 {
			inVariable = true
			s = fmt.Sprintf("{v%d=%s", i, s)
		}
		if inVariable && rng.IntN(2) == 0 {
			inVariable = false
			s += "}"
		}
		segments = append(segments, s)
	}
	template := "/" + strings.Join(segments, "/")
	if inVariable {
		template += "}"
	}
	if len(segments) > 0 && rng.IntN(3) == 0 {
		template += pick(rng, ":v", ":w", ":%76")
	}
	return pick(rng, "GET", "GET", "POST", "*") + " " + template
}

func randomPath(rng *rand.Rand) string {
	var b strings.Builder
	for range rng.IntN(6) {
		b.WriteString("/" + pick(rng, "a", "b", "a", "b", "c", "", "%61", "a%2Fb", "a%2fb", "a:v", "%"))
	}
	if b.Len() == 0 {
		b.WriteByte('/')
	}
	if rng.IntN(3) == 0 {
		b.WriteString(pick(rng, ":v", ":w", ":%76", ":", ":v:v", "/"))
	}
	return b.String()
}

// FuzzMatch holds the router against the reference, with routes and paths of the fuzzer's choice.
func FuzzMatch(f *testing.F) {
	f.Add("GET /a/{x=**}\nGET /a/{x}\nGET /a/b:v\nPOST /a/b", "GET", "/a/b:v", false)
	f.Add("GET /{x=*/*}\n* /**\nGET /{x=**}/a", "GET", "/%2F/a", true)
	f.Add("GET /\nGET /**:v\nGET /a%20b", "GET", "/:v", false)
	f.Fuzz(func(t *testing.T, lines, method, path string, fullyDecode bool) {
		if strings.Count(path, "/") > 12 {
			return // the reference is too slow for those
		}
		router, ref := newPair(lines, fullyDecode)
		compareWithReference(t, router, ref, method, path)
	})
}
