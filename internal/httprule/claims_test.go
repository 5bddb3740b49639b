package httprule

import (
	"fmt"
	"strings"
	"testing"
)

// TestLoser says which routes would lose requests to a new one.
func TestLoser(t *testing.T) {
	for name, tt := range map[string]struct {
		old, added string
		loses      bool
	}{
		// The first one added wins.
		"the same route":           {"GET /v1/users/{id}", "GET /v1/users/{name}", false},
		"a more specific route":    {"GET /v1/users/{id}", "GET /v1/users/me", true},
		"a less specific route":    {"GET /v1/users/me", "GET /v1/users/{id}", false},
		"another method":           {"GET /v1/users/{id}", "POST /v1/users/me", false},
		"any method":               {"GET /v1/users/{id}", "* /v1/users/me", true},
		"under a catch-all":        {"GET /**", "GET /v1/orders", true},
		"a catch-all":              {"GET /v1/orders", "GET /**", false},
		"another path":             {"GET /v1/users/{id}", "GET /v1/orders/me", false},
		"a longer path":            {"GET /v1/users/{id}", "GET /v1/users/me/mail", false},
		"a verb on a variable":     {"GET /v1/users/{id}", "GET /v1/users/{id}:undelete", true},
		"a verb on another path":   {"GET /v1/users/{id}", "GET /v1/orders/{id}:undelete", false},
		"a verb on a literal":      {"GET /v1/users", "GET /v1/users:undelete", false},
		"another verb":             {"GET /v1/users/{id}:a", "GET /v1/users/{id}:b", false},
		"no verb, after one":       {"GET /v1/users/{id}:a", "GET /v1/users/me", false},
		"a longer tail":            {"GET /v1/**/x", "GET /v1/**/y/x", true},
		"an RPC's own path":        {"POST /user.v1.Users/Get", "POST /user.v1.Users/Get", false},
		"a catch-all with a verb":  {"GET /v1/users/{id}", "GET /v1/**:undelete", true},
		"a verb that takes no one": {"GET /v1/users", "GET /v1/**:undelete", false},
	} {
		t.Run(name, func(t *testing.T) {
			var c Claims[string]
			c.Add(route(t, tt.old))
			method, template, value := route(t, tt.added)
			loser, ok := c.Loser(method, template, func(string) bool { return true })
			if ok != tt.loses || ok && loser.Value != tt.old {
				t.Errorf("%s would take requests from %q, %v; want %v", value, loser.Value, ok, tt.loses)
			}
			if _, ok := c.Loser(method, template, func(string) bool { return false }); ok {
				t.Error("a route that does not count loses")
			}
		})
	}
}

func route(t *testing.T, text string) (method string, template *Template, value string) {
	t.Helper()
	method, path, _ := strings.Cut(text, " ")
	template, err := Parse(path)
	if err != nil {
		t.Fatal(err)
	}
	return method, template, text
}

// TestLoserAgreesWithRouter tries all pairs of short templates: a route loses requests exactly if
// the router answers some short path in another way after the new one was added.
func TestLoserAgreesWithRouter(t *testing.T) {
	var templates []*Template
	texts := words(3, "a", "b", "*", "**")
	for _, text := range texts {
		for _, verb := range []string{"", ":v"} {
			if template, err := Parse(text + verb); err == nil {
				templates = append(templates, template)
			}
		}
	}
	paths := words(4, "a", "b", "a:v", "b:v", "c")
	for _, old := range templates {
		var c Claims[int]
		c.Add("GET", old, 0)
		mine := matched(old, paths)
		for _, added := range templates {
			_, ok := c.Loser("GET", added, func(int) bool { return true })
			if taken := firstTaken(old, added, mine); ok != (taken != "") {
				t.Fatalf("%s after %s: it takes requests: %v; by the router: %q", added, old, ok, taken)
			}
		}
	}
}

// matched returns the paths that a template matches.
func matched(template *Template, paths []string) (all []string) {
	var b Builder[int]
	b.Add("GET", template, 0)
	router, _ := b.Build()
	for _, path := range paths {
		if _, _, ok, _ := router.Match("GET", path, nil); ok {
			all = append(all, path)
		}
	}
	return all
}

// firstTaken returns a path of the old template that goes to the added one if that is there.
func firstTaken(old, added *Template, paths []string) string {
	var b Builder[int]
	b.Add("GET", old, 0)
	b.Add("GET", added, 1)
	router, _ := b.Build()
	for _, path := range paths {
		if value, _, _, _ := router.Match("GET", path, nil); value == 1 {
			return path
		}
	}
	return ""
}

// words returns all paths of up to n segments.
func words(n int, segments ...string) []string {
	if n == 0 {
		return nil
	}
	var all []string
	for _, s := range segments {
		all = append(all, "/"+s)
		for _, rest := range words(n-1, segments...) {
			all = append(all, fmt.Sprintf("/%s%s", s, rest))
		}
	}
	return all
}
