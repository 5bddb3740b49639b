package httprule

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// build builds a router of routes written as "METHOD template"; what a match returns is the same
// text.
func build(t testing.TB, b *Builder[string], routes ...string) (*Router[string], []Ambiguity[string]) {
	t.Helper()
	for _, route := range routes {
		method, template, ok := strings.Cut(route, " ")
		if !ok {
			t.Fatalf("no method in %q", route)
		}
		b.Add(method, mustParse(t, template), route)
	}
	return b.Build()
}

// request is a request and the route it should find; an empty route is none.
type request struct {
	method, path string
	route        string
	values       []string
}

func (r request) check(t *testing.T, router *Router[string]) {
	t.Helper()
	got, values, ok, err := router.Match(r.method, r.path, nil)
	if err != nil {
		t.Errorf("%s %s: %v", r.method, r.path, err)
		return
	}
	if got != r.route || ok != (r.route != "") || !slices.Equal(values, r.values) {
		t.Errorf("%s %s: %q %q, want %q %q", r.method, r.path, got, values, r.route, r.values)
	}
}

func TestMatch(t *testing.T) {
	tests := []struct {
		name     string
		routes   []string
		requests []request
	}{
		{"root path", []string{"GET /"}, []request{
			{"GET", "/", "GET /", nil},
			{"GET", "//", "", nil},
			{"GET", "", "", nil},
			{"GET", "*", "", nil},
		}},
		{"trailing slash is significant", []string{"GET /a", "GET /b/{x}", "GET /c/{x=**}"}, []request{
			{"GET", "/a", "GET /a", nil},
			{"GET", "/a/", "", nil},
			{"GET", "/b/1/", "", nil},
			{"GET", "/c/1/", "GET /c/{x=**}", []string{"1/"}},
		}},
		{"one segment is never empty", []string{"GET /a/{x}/b", "GET /a/{y}"}, []request{
			{"GET", "/a/", "", nil},
			{"GET", "/a//b", "", nil},
			{"GET", "/a/%2F/b", "GET /a/{x}/b", []string{"/"}},
		}},
		{"deep wildcard takes none, one, many and empty segments", []string{"GET /a/{x=**}", "GET /b/{x=c/**}", "GET /{x=**}"}, []request{
			{"GET", "/a", "GET /a/{x=**}", []string{""}},
			{"GET", "/a/", "GET /a/{x=**}", []string{""}},
			{"GET", "/a/1", "GET /a/{x=**}", []string{"1"}},
			{"GET", "/a/1//2", "GET /a/{x=**}", []string{"1//2"}},
			{"GET", "/b/c", "GET /b/{x=c/**}", []string{"c"}},
			{"GET", "/b/c/", "GET /b/{x=c/**}", []string{"c/"}},
			{"GET", "/b/c/d/e", "GET /b/{x=c/**}", []string{"c/d/e"}},
			{"GET", "/b", "GET /{x=**}", []string{"b"}},
			{"GET", "/", "GET /{x=**}", []string{""}},
			{"GET", "//", "GET /{x=**}", []string{"/"}},
		}},
		{"what follows a deep wildcard does not overlap what precedes it", []string{"GET /a/{x=**}/a", "GET /b/{x=c/**/c}"}, []request{
			{"GET", "/a", "", nil},
			{"GET", "/a/a", "GET /a/{x=**}/a", []string{""}},
			{"GET", "/a/a/a", "GET /a/{x=**}/a", []string{"a"}},
			{"GET", "/b/c", "", nil},
			{"GET", "/b/c/c", "GET /b/{x=c/**/c}", []string{"c/c"}},
			{"GET", "/b/c/d/e/c", "GET /b/{x=c/**/c}", []string{"c/d/e/c"}},
		}},
		{"more text after a deep wildcard is more specific", []string{"GET /**", "GET /{x=**}/b", "GET /{x=**}/a/b"}, []request{
			{"GET", "/1/a/b", "GET /{x=**}/a/b", []string{"1"}},
			{"GET", "/1/c/b", "GET /{x=**}/b", []string{"1/c"}},
			{"GET", "/1/b/c", "GET /**", nil},
		}},
		{"literal before one segment before many", []string{"GET /a/**", "GET /a/{x}", "GET /a/b"}, []request{
			{"GET", "/a/b", "GET /a/b", nil},
			{"GET", "/a/c", "GET /a/{x}", []string{"c"}},
			{"GET", "/a/c/d", "GET /a/**", nil},
			{"GET", "/a", "GET /a/**", nil},
		}},
		{"the first segment that differs decides", []string{"GET /{x}/b/c", "GET /a/{y}/{z}", "GET /a/**"}, []request{
			{"GET", "/a/b/c", "GET /a/{y}/{z}", []string{"b", "c"}},
			{"GET", "/d/b/c", "GET /{x}/b/c", []string{"d"}},
		}},
		{"backtracking", []string{"GET /a/b/c", "GET /a/{x}/d", "GET /{x}/b/{y}", "GET /**"}, []request{
			{"GET", "/a/b/c", "GET /a/b/c", nil},
			{"GET", "/a/b/d", "GET /a/{x}/d", []string{"b"}},
			{"GET", "/a/b/e", "GET /{x}/b/{y}", []string{"a", "e"}},
			{"GET", "/a/c/e", "GET /**", nil},
		}},
		{"backtracking across methods", []string{"GET /a/b", "POST /a/{x}", "PUT /{x=**}"}, []request{
			{"GET", "/a/b", "GET /a/b", nil},
			{"POST", "/a/b", "POST /a/{x}", []string{"b"}},
			{"PUT", "/a/b", "PUT /{x=**}", []string{"a/b"}},
			{"DELETE", "/a/b", "", nil},
		}},
		{"any method, after the exact one", []string{"* /a", "GET /a", "* /b/{x}", "GET /b/{x=**}", "POST /b/1"}, []request{
			{"GET", "/a", "GET /a", nil},
			{"POST", "/a", "* /a", nil},
			{"PROPFIND", "/a", "* /a", nil},
			// The more specific template wins over the more specific method.
			{"GET", "/b/1", "* /b/{x}", []string{"1"}},
			{"POST", "/b/1", "POST /b/1", nil},
		}},
		{"methods are case-sensitive", []string{"GET /a"}, []request{{"get", "/a", "", nil}}},
		{"verb", []string{"GET /a/{x}", "GET /a/{x}:v", "GET /a/{x}/b", "POST /a/{x}:w"}, []request{
			{"GET", "/a/1", "GET /a/{x}", []string{"1"}},
			{"GET", "/a/1:v", "GET /a/{x}:v", []string{"1"}},
			{"GET", "/a/1:2:v", "GET /a/{x}:v", []string{"1:2"}},
			{"GET", "/a/1:other", "GET /a/{x}", []string{"1:other"}},
			{"GET", "/a/1:", "GET /a/{x}", []string{"1:"}},
			{"GET", "/a/:v", "GET /a/{x}", []string{":v"}}, // no verb: the segment would be empty
			{"GET", "/a/1%3Av", "GET /a/{x}", []string{"1:v"}},
			{"GET", "/a/1:%76", "GET /a/{x}:v", []string{"1"}},
			{"GET", "/a/1:v/b", "GET /a/{x}/b", []string{"1:v"}},
			{"GET", "/a/1:w", "GET /a/{x}", []string{"1:w"}}, // registered, but not for GET
			{"POST", "/a/1:w", "POST /a/{x}:w", []string{"1"}},
			{"POST", "/a/1:v", "", nil},
			{"GET", "/b/1:v", "", nil},
		}},
		{"a verb is more specific than any segment", []string{"GET /a/b:v", "GET /{x=**}:v", "GET /a/{x}"}, []request{
			{"GET", "/a/b:v", "GET /a/b:v", nil},
			{"GET", "/a/c:v", "GET /{x=**}:v", []string{"a/c"}},
			{"GET", "/:v", "GET /{x=**}:v", []string{""}},
			{"GET", "/a/:v", "GET /{x=**}:v", []string{"a/"}},
		}},
		{"verb of a literal, and a literal with an escaped colon", []string{"GET /a:v", "GET /a%3Av"}, []request{
			{"GET", "/a:v", "GET /a:v", nil},
			{"GET", "/a%3av", "GET /a%3Av", nil},
		}},
		{"an escaped colon in a verb", []string{"GET /a:v%3Aw"}, []request{
			{"GET", "/a:v%3aw", "GET /a:v%3Aw", nil},
			{"GET", "/a:v:w", "", nil},
		}},
		{"literals compare decoded", []string{"GET /a%20b/{x}", "GET /~c/{x}", "GET /d%2Fe"}, []request{
			{"GET", "/a%20b/1", "GET /a%20b/{x}", []string{"1"}},
			{"GET", "/%61%20%62/1", "GET /a%20b/{x}", []string{"1"}},
			{"GET", "/%7Ec/1", "GET /~c/{x}", []string{"1"}},
			{"GET", "/%7ec/1", "GET /~c/{x}", []string{"1"}},
			{"GET", "/d%2fe", "GET /d%2Fe", nil},
			{"GET", "/d/e", "", nil},
		}},
		{"many literals beside each other", []string{"GET /a", "GET /b", "GET /c", "GET /d", "GET /e", "GET /f/{x}"}, []request{
			{"GET", "/a", "GET /a", nil},
			{"GET", "/%65", "GET /e", nil},
			{"GET", "/f/1", "GET /f/{x}", []string{"1"}},
			{"GET", "/g", "", nil},
		}},
		{"decoded once", []string{"GET /{x}", "GET /m/{x=*/*}"}, []request{
			{"GET", "/%2541", "GET /{x}", []string{"%41"}},
			{"GET", "/m/%252F/%2541", "GET /m/{x=*/*}", []string{"%2F/%41"}},
		}},
		{"an encoded slash: text in one segment, kept in several", []string{"GET /s/{x}", "GET /m/{x=a/*}", "GET /d/{x=**}", "GET /l/{x=a}"}, []request{
			{"GET", "/s/a%2Fb", "GET /s/{x}", []string{"a/b"}},
			{"GET", "/m/a/b%2Fc%2fd", "GET /m/{x=a/*}", []string{"a/b%2Fc%2fd"}},
			{"GET", "/d/a%2Fb", "GET /d/{x=**}", []string{"a%2Fb"}},
			{"GET", "/d/a%2F%20/%2b", "GET /d/{x=**}", []string{"a%2F /+"}},
		}},
		{"a plus is a plus", []string{"GET /{x}"}, []request{{"GET", "/a+b", "GET /{x}", []string{"a+b"}}}},
		{"dots are text", []string{"GET /{x}/{y}"}, []request{{"GET", "/../%2e%2E", "GET /{x}/{y}", []string{"..", ".."}}}},
		{"variables around a deep wildcard", []string{"GET /{a}/{b=c/*}/{d=**/e}/{f=g}"}, []request{
			{"GET", "/1/c/2/e/g", "GET /{a}/{b=c/*}/{d=**/e}/{f=g}", []string{"1", "c/2", "e", "g"}},
			{"GET", "/1/c/2/3/4/e/g", "GET /{a}/{b=c/*}/{d=**/e}/{f=g}", []string{"1", "c/2", "3/4/e", "g"}},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			router, ambiguities := build(t, &Builder[string]{}, tt.routes...)
			if len(ambiguities) > 0 {
				t.Errorf("ambiguities: %+v", ambiguities)
			}
			for _, r := range tt.requests {
				r.check(t, router)
			}
		})
	}
}

func TestFullyDecodeReserved(t *testing.T) {
	router, _ := build(t, &Builder[string]{FullyDecodeReserved: true}, "GET /{x=a/*}")
	request{"GET", "/a/b%2Fc%20", "GET /{x=a/*}", []string{"a/b/c "}}.check(t, router)
}

func TestEmptyRouter(t *testing.T) {
	router, ambiguities := new(Builder[string]).Build()
	if ambiguities != nil {
		t.Errorf("ambiguities: %+v", ambiguities)
	}
	request{"GET", "/", "", nil}.check(t, router)
	if got := router.Allowed("/"); len(got) > 0 {
		t.Errorf("Allowed = %q", got)
	}
}

func TestBuilderGoesOnWithoutChangingItsRouter(t *testing.T) {
	var b Builder[string]
	first, _ := build(t, &b, "GET /a")
	second, _ := build(t, &b, "GET /b")
	request{"GET", "/b", "", nil}.check(t, first)
	request{"GET", "/a", "GET /a", nil}.check(t, second)
	request{"GET", "/b", "GET /b", nil}.check(t, second)
}

func TestMatchReplacesTheScratch(t *testing.T) {
	router, _ := build(t, &Builder[string]{}, "GET /{x}", "GET /a")
	scratch := []string{"old", "older"}
	_, values, ok, _ := router.Match("GET", "/1", scratch)
	if !ok || !slices.Equal(values, []string{"1"}) || &values[0] != &scratch[0] {
		t.Errorf("values %q, scratch %q: not in the scratch", values, scratch)
	}
	if _, values, _, _ := router.Match("GET", "/a", scratch); len(values) > 0 {
		t.Errorf("values %q of a template without variables", values)
	}
}

func TestBadPercentEncoding(t *testing.T) {
	router, _ := build(t, &Builder[string]{}, "GET /{x}", "GET /a/**")
	tests := []struct {
		name, path string
		offset     int
	}{
		{"in a variable", "/a%zz", 2},
		{"cut off", "/a%2", 2},
		{"at the end", "/%", 1},
		{"after a good one", "/%20%2g", 4},
		{"where no variable is", "/a/b/%0", 5},
		{"on an unknown path", "/x/y/%", 5},
		{"in a verb", "/x:%q0", 3},
		{"an escaped percent sign is good, what follows is not", "/%25%", 4},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, _, ok, err := router.Match("GET", tt.path, nil)
			var encoding *EncodingError
			if !errors.As(err, &encoding) || ok {
				t.Fatalf("Match(%s) = %q, %v, %v; want an *EncodingError", tt.path, got, ok, err)
			}
			if encoding.Offset != tt.offset || encoding.Path != tt.path {
				t.Errorf("%+v, want offset %d of %s", encoding, tt.offset, tt.path)
			}
			if got := router.Allowed(tt.path); len(got) > 0 {
				t.Errorf("Allowed = %q", got)
			}
		})
	}
}

func TestEncodingErrorSaysWhere(t *testing.T) {
	err := &EncodingError{Path: "/abc/%zz-and-more", Offset: 5}
	if want := `bad percent-encoding "%zz" at byte 5 of the path`; err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestAllowed(t *testing.T) {
	router, _ := build(t, &Builder[string]{},
		"GET /a/b", "POST /a/{x}", "DELETE /{x=**}", "GET /a/**", "PUT /a/{x}:v", "* /any", "GET /any", "PATCH /{x=**}/b")
	tests := []struct {
		path string
		want []string
	}{
		{"/a/b", []string{"DELETE", "GET", "PATCH", "POST"}},
		{"/a/c", []string{"DELETE", "GET", "POST"}},
		{"/a/c:v", []string{"DELETE", "GET", "POST", "PUT"}},
		{"/x", []string{"DELETE"}},
		{"/any", []string{"*", "DELETE", "GET"}},
		{"relative", nil},
	}
	for _, tt := range tests {
		if got := router.Allowed(tt.path); !slices.Equal(got, tt.want) {
			t.Errorf("Allowed(%s) = %q, want %q", tt.path, got, tt.want)
		}
	}
}

func TestAmbiguities(t *testing.T) {
	router, got := build(t, &Builder[string]{},
		"GET /a/{x}", "GET /a/{y}", "POST /a/{x}", "GET /a/*", "* /a/{x}", "GET /b:v", "GET /b", "GET /b:v", "GET /%63", "GET /c")
	want := []Ambiguity[string]{
		{"GET", "GET /b:v", "GET /b:v", "GET /b:v is there twice"},
		{"GET", "GET /a/{x}", "GET /a/{y}", "GET /a/{x} and /a/{y} match the same paths"},
		{"GET", "GET /a/{x}", "GET /a/*", "GET /a/{x} and /a/* match the same paths"},
		{"GET", "GET /%63", "GET /c", "GET /%63 and /c match the same paths"},
	}
	if !slices.Equal(got, want) {
		t.Errorf("ambiguities\n%+v\nwant\n%+v", got, want)
	}
	request{"GET", "/a/1", "GET /a/{x}", []string{"1"}}.check(t, router)
	request{"GET", "/c", "GET /%63", nil}.check(t, router)
	request{"GET", "/b:v", "GET /b:v", nil}.check(t, router)
}

func TestRoutesAreInTheOrderOfPrecedence(t *testing.T) {
	want := []string{
		"GET /**:v",
		"GET /",
		"* /",
		"GET /a",
		"POST /a",
		"* /a",
		"GET /a/b",
		"GET /a/*",
		"GET /a/**/b/c",
		"GET /a/**/c",
		"GET /a/**",
		"GET /b/{x}",
		"GET /{x}/a",
		"GET /**",
	}
	shuffled := slices.Clone(want)
	slices.Reverse(shuffled)
	router, _ := build(t, &Builder[string]{}, append(shuffled, "GET /b/{y=**}", "GET /b/{loser}")...)
	var got []string
	for route := range router.Routes() {
		got = append(got, route.Method+" "+route.Template.String())
	}
	want = slices.Insert(want, 12, "GET /b/{y=**}")
	if !slices.Equal(got, want) {
		t.Errorf("routes\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
