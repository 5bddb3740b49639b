package httprule

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// pathCase is one fact of testdata/path_cases.json, collected from the public test tables of other
// implementations and from the comment on google.api.HttpRule.
type pathCase struct {
	ID     string   `json:"id"`
	Kind   string   `json:"kind"` // "match" or "template"
	Source string   `json:"source"`
	Tags   []string `json:"tags"`

	Routes []struct {
		Method   string `json:"method"`
		Template string `json:"template"`
	} `json:"routes"`
	Method string     `json:"method"`
	Path   string     `json:"path"`
	Want   *matchCase `json:"want"`

	Template  string   `json:"template"`
	Valid     bool     `json:"valid"`
	Segments  []string `json:"segments"`
	Verb      string   `json:"verb"`
	Variables []string `json:"variables"`
}

type matchCase struct {
	Route    string            `json:"route"`
	Bindings map[string]string `json:"bindings"`
}

// decisions says what we do where implementations or the comment disagree: by tag, and by case
// where we differ from what the case wants. docs/routing.md has the same table for users.
var decisions = map[string]struct {
	why string
	// differs holds, for the cases that we decide otherwise, what we do instead.
	differs map[string]any
}{
	"deep-wildcard-not-last": {
		why: "accepted when only literals follow: Envoy and grpc-gateway take such templates, and they have one meaning",
		differs: map[string]any{
			"t064": templateIs{valid: true, segments: []string{"foo", "**", "bar"}},
		},
	},
	"grpc-httpjson-accepts": {why: "as deep-wildcard-not-last"},
	"trailing-slash":        {why: "significant, as RFC 3986 has it; `**` takes the empty segment after it"},
	"empty-segment":         {why: "`*` and `{x}` refuse an empty segment, so that an id is never empty; `**` takes any"},
	"caddy-cleans-slashes":  {why: "the router matches the path it is given; whoever merges slashes does so before"},
	"root-path":             {why: "`/` is a template: the root path, no segments"},
	"nul": {
		why: "decoded like any other byte: a proto string may hold it, and it is for the backend to judge",
	},
	"reserved-decoding": {why: "everything but %2F is decoded in several segments: the comment's rule"},
	"case-of-kept-escape": {
		why: "%2F and %2f are left unchanged, which is the comment's word, so the case stays as the client wrote it",
		differs: map[string]any{
			"m133": &matchCase{
				Route:    "/foo/bar/*/{thing.id}/{cat=**}",
				Bindings: map[string]string{"thing.id": "/", "cat": "*/%2f"},
			},
		},
	},
	"unregistered-verb-is-literal": {why: "a colon is plain text unless a matching route has that verb"},
	"query":                        {why: "the query is no part of the path: the caller cuts it off"},
	"duplicate-variable":           {why: "refused: two values for one field"},
	"nested-variable": {
		why: "refused: the comment forbids a variable in a variable, though its grammar has it",
		differs: map[string]any{
			"m135": refused("/foo/bob/{book_id={author}/{isbn}/*}/details"),
			"m136": refused("/foo/bob/{book_id={author}/{isbn}/*}/details"),
			"m137": refused("/percent_encoding/{outer={inner}/suffix}"),
		},
	},
}

// refused is the decision that a template of the case does not parse.
type refused string

// templateIs is the decision that a template parses otherwise than the case wants.
type templateIs struct {
	valid    bool
	segments []string
}

func TestPathCases(t *testing.T) {
	data, err := os.ReadFile("testdata/path_cases.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Cases []pathCase `json:"cases"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for _, c := range file.Cases {
		t.Run(c.ID, func(t *testing.T) {
			decided := decide(t, c)
			used[c.ID] = decided != nil
			switch c.Kind {
			case "match":
				c.runMatch(t, decided)
			case "template":
				c.runTemplate(t, decided)
			default:
				t.Fatalf("unknown kind %q", c.Kind)
			}
		})
	}
	for tag, decision := range decisions {
		for id := range decision.differs {
			if !used[id] {
				t.Errorf("decision for %s under %s: no such case with that tag", id, tag)
			}
		}
	}
}

// decide returns what we do instead of what a case wants, nil when we do that. Each tag must have
// been thought about.
func decide(t *testing.T, c pathCase) any {
	var decided any
	for _, tag := range c.Tags {
		decision, known := decisions[tag]
		if !known || decision.why == "" {
			t.Fatalf("no decision about the tag %q of %s", tag, c.Source)
		}
		if d, differs := decision.differs[c.ID]; differs {
			decided = d
		}
	}
	return decided
}

func (c pathCase) runMatch(t *testing.T, decided any) {
	var b Builder[string]
	for _, route := range c.Routes {
		template, err := Parse(route.Template)
		if decided == refused(route.Template) {
			if err == nil {
				t.Fatalf("Parse(%q) succeeded, decided to refuse it", route.Template)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		b.Add(route.Method, template, route.Template)
	}
	want := c.Want
	if d, ok := decided.(*matchCase); ok {
		want = d
	}
	router, ambiguities := b.Build()
	if len(ambiguities) > 0 {
		t.Errorf("ambiguities: %+v", ambiguities)
	}
	path, _, _ := strings.Cut(c.Path, "?")
	got, values, ok, err := router.Match(c.Method, path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if ok != (want != nil) {
		t.Fatalf("Match(%s %s) = %q, %v; want %+v", c.Method, path, got, ok, want)
	}
	if !ok {
		return
	}
	if got != want.Route {
		t.Errorf("route %q, want %q", got, want.Route)
	}
	if bindings := bind(t, got, values); !maps.Equal(bindings, want.Bindings) {
		t.Errorf("bindings %q, want %q", bindings, want.Bindings)
	}
}

func (c pathCase) runTemplate(t *testing.T, decided any) {
	want := templateIs{c.Valid, c.Segments}
	if d, ok := decided.(templateIs); ok {
		want = d
	}
	template, err := Parse(c.Template)
	if (err == nil) != want.valid {
		t.Fatalf("Parse(%q): %v; want valid %v", c.Template, err, want.valid)
	}
	if err != nil {
		t.Log(err)
		return
	}
	if got := segmentTexts(template); !slices.Equal(got, want.segments) {
		t.Errorf("segments %q, want %q", got, want.segments)
	}
	if got := template.Variables(); !slices.Equal(got, c.Variables) {
		t.Errorf("variables %q, want %q", got, c.Variables)
	}
	if got := template.Verb(); got != c.Verb {
		t.Errorf("verb %q, want %q", got, c.Verb)
	}
}

// bind pairs the values of a match with the variables of its template.
func bind(t *testing.T, template string, values []string) map[string]string {
	t.Helper()
	variables := mustParse(t, template).Variables()
	if len(variables) != len(values) {
		t.Fatalf("%d values %q for %d variables %q", len(values), values, len(variables), variables)
	}
	bindings := map[string]string{}
	for i, v := range variables {
		bindings[v] = values[i]
	}
	return bindings
}

func segmentTexts(template *Template) []string {
	texts := make([]string, 0, len(template.segments))
	for _, s := range template.segments {
		texts = append(texts, [...]string{literalSegment: s.text, singleSegment: "*", deepSegment: "**"}[s.kind])
	}
	return texts
}

func mustParse(t testing.TB, template string) *Template {
	t.Helper()
	parsed, err := Parse(template)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}
