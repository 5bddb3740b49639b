package httprule

import (
	"fmt"
	"strings"
	"testing"
)

// steps counts the nodes that a search enters.
func steps[T any](router *Router[T], method, path string) int {
	w := walk{method: method}
	router.search(&w, path)
	return w.steps
}

// manyRoutes registers n routes of an ordinary API: five for each resource.
func manyRoutes(t testing.TB, n int) *Router[int] {
	var b Builder[int]
	for i := 0; i < n; i += 5 {
		collection := fmt.Sprintf("/v1/projects/{project}/things%d", i/5)
		b.Add("GET", mustParse(t, collection), i)
		b.Add("POST", mustParse(t, collection), i+1)
		b.Add("GET", mustParse(t, collection+"/{thing.id}"), i+2)
		b.Add("POST", mustParse(t, collection+"/{thing.id}:archive"), i+3)
		b.Add("GET", mustParse(t, collection+"/{thing.id}/files/{name=**}"), i+4)
	}
	router, ambiguities := b.Build()
	if len(ambiguities) > 0 {
		t.Fatalf("ambiguities: %+v", ambiguities)
	}
	return router
}

func TestStepsDoNotGrowWithTheRoutes(t *testing.T) {
	for _, path := range []string{
		"/v1/projects/p/things1/42",
		"/v1/projects/p/things1/42:archive",
		"/v1/projects/p/things1/42/files/a/b/c",
		"/v1/projects/p/unknown/42/files/a/b/c",
	} {
		few := steps(manyRoutes(t, 10), "GET", path)
		many := steps(manyRoutes(t, 10000), "GET", path)
		if few != many {
			t.Errorf("%s: %d steps with 10 routes, %d with 10,000", path, few, many)
		}
	}
}

// TestStepsAreBounded holds the bound that walk's comment proves, for routes and paths made to
// break it.
func TestStepsAreBounded(t *testing.T) {
	const depth = 12
	tests := []struct {
		name   string
		routes func(add func(template string))
		path   string
	}{
		{"every mix of literal and wildcard, the last segment is wrong", func(add func(string)) {
			for mix := range 1 << depth {
				var b strings.Builder
				for i := range depth {
					b.WriteString([]string{"/a", "/*"}[mix>>i&1])
				}
				add(b.String() + "/end")
			}
		}, strings.Repeat("/a", depth) + "/x"},
		{"one literal in each place", func(add func(string)) {
			for place := range depth {
				add(strings.Repeat("/*", place) + "/a" + strings.Repeat("/*", depth-place-1) + "/end")
			}
		}, strings.Repeat("/a", depth) + "/x"},
		{"a deep wildcard after each prefix, with tails of every length", func(add func(string)) {
			for prefix := range depth {
				for tail := range depth {
					add(strings.Repeat("/*", prefix) + "/**" + strings.Repeat("/a", tail) + "/end")
					add(strings.Repeat("/a", prefix) + "/**" + strings.Repeat("/a", tail) + "/end")
				}
			}
		}, strings.Repeat("/a", 1000) + "/x"},
		{"tails that match, but for another method", func(add func(string)) {
			for prefix := range depth {
				for tail := range depth {
					add(strings.Repeat("/*", prefix) + "/**" + strings.Repeat("/a", tail))
				}
			}
		}, strings.Repeat("/a", 1000)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var b Builder[string]
			added := map[string]bool{}
			tt.routes(func(template string) {
				if added[template] {
					return
				}
				added[template] = true
				b.Add("GET", mustParse(t, template), template)
			})
			router, _ := b.Build()
			nodes := countNodes(router.byVerb.find(""))
			if got := steps(router, "POST", tt.path); got > nodes {
				t.Errorf("%d steps, more than the %d nodes", got, nodes)
			} else {
				t.Logf("%d steps, %d nodes, %d routes", got, nodes, len(added))
			}
		})
	}
}

func countNodes(n *node) int {
	if n == nil {
		return 0
	}
	count := 1 + countNodes(n.single) + countNodes(n.deep)
	for _, c := range n.literals.list {
		count += countNodes(c.node)
	}
	for _, c := range n.literals.byText {
		count += countNodes(c)
	}
	return count
}

func TestMatchAllocatesNothing(t *testing.T) {
	router := manyRoutes(t, 1000)
	scratch := make([]string, 0, 8)
	for _, path := range []string{
		"/v1/projects/p/things1/42",
		"/v1/projects/p/things1/42/files/a/b/c",
		"/v1/projects/p/things1/42:other",
		"/v1/projects/p/th%69ngs1/42", // a literal that must be decoded to compare
		"/v1/unknown",
	} {
		if n := testing.AllocsPerRun(100, func() { _, _, _, _ = router.Match("GET", path, scratch) }); n != 0 {
			t.Errorf("%s: %v allocations", path, n)
		}
	}
}

func BenchmarkMatch(b *testing.B) {
	paths := map[string]string{
		"literal and two variables": "/v1/projects/p/things1/42",
		"deep wildcard":             "/v1/projects/p/things1/42/files/a/b/c",
		"verb":                      "/v1/projects/p/things1/42:archive",
		"decoded":                   "/v1/projects/p%20q/things1/42",
		"not found":                 "/v1/projects/p/unknown/42",
	}
	for _, n := range []int{10, 1000, 100000} {
		router := manyRoutes(b, n)
		for name, path := range paths {
			b.Run(fmt.Sprintf("routes=%d/%s", n, name), func(b *testing.B) {
				method := "GET"
				if name == "verb" {
					method = "POST"
				}
				scratch := make([]string, 0, 8)
				b.ReportAllocs()
				for b.Loop() {
					_, _, _, _ = router.Match(method, path, scratch)
				}
			})
		}
	}
}

func BenchmarkBuild(b *testing.B) {
	for _, n := range []int{10, 1000, 100000} {
		b.Run(fmt.Sprintf("routes=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				manyRoutes(b, n)
			}
		})
	}
}
