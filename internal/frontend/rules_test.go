package frontend

import (
	"strings"
	"testing"
)

func TestParseRule(t *testing.T) {
	for _, tc := range []struct {
		line string
		want Rule
		err  string
	}{
		{"authorization", Rule{0, "authorization", ""}, ""},
		{"+X-*", Rule{'+', "X-*", ""}, ""},
		{"-cookie", Rule{'-', "cookie", ""}, ""},
		{"+Grpc-Metadata-* *", Rule{'+', "Grpc-Metadata-*", "*"}, ""},
		{"*", Rule{0, "*", ""}, ""},
		{"a B  c", Rule{0, "a", "B c"}, ""},
		{"x-* y-* z", Rule{0, "x-*", "y-* z"}, ""},
		{"", Rule{}, "want [+|-]<glob> [<as>...]"},
		{"+", Rule{}, "the header name is empty"},
		{"-cookie crumb", Rule{}, "cannot have another name"},
		{"x a*b*c", Rule{}, "more than one *"},
		{"x-* y-* a*b*c", Rule{}, "more than one *"},
		{"x y z-*", Rule{}, "the glob has none"},
		{"x y ü", Rule{}, "not a metadata key"},
		{"x y-*", Rule{}, "the glob has none"},
		{"x:y", Rule{}, "a name has letters"},
		{"x ü", Rule{}, "not a metadata key"},
	} {
		r, err := ParseRule(strings.Fields(tc.line)...)
		switch {
		case tc.err == "" && (err != nil || r != tc.want):
			t.Errorf("%q: got %+v, %v", tc.line, r, err)
		case tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)):
			t.Errorf("%q: got %v, want %s", tc.line, err, tc.err)
		}
	}
}

func TestRulesOfTheProtocolCannotBeSet(t *testing.T) {
	for _, r := range []Rule{
		{'+', "te", ""}, {0, "content-type", ""}, {'+', "User-Agent", ""},
		{'+', "x", "grpc-timeout"}, {'+', "x", "y te"}, {0, "x-*", "y-* grpc-*"}, {'+', "x", "grpc-retry-pushback-ms"}, {'+', "x", "grpc-anything"},
		{'+', "grpc-*", ""}, {'+', "Grpc-Metadata-*", ""}, {0, "grpc-metadata-x", ""},
		{0, "*", "grpc-*"}, {'+', "x-*", "grpc-x-*"}, {'+', "grpc-*", "grpc-*"},
	} {
		if _, err := CompileRequestRules([]Rule{r}); err == nil || !strings.Contains(err.Error(), "belongs to the protocol") {
			t.Errorf("%+v: %v", r, err)
		}
	}
	for _, r := range []Rule{
		{'+', "content-length", ""}, {0, "x", "transfer-encoding"},
		{'+', "x", "grpc-status"}, {'+', "x", "grpc-message"}, {'+', "x", "grpc-metadata"}, {'+', "grpc-*", ""},
		{0, "*", "grpc-*"}, {0, "*", "grpc-x-*"}, {0, "*", "Grpc-Status-*"},
	} {
		if _, err := CompileResponseRules([]Rule{r}); err == nil || !strings.Contains(err.Error(), "belongs to the protocol") {
			t.Errorf("%+v: %v", r, err)
		}
	}
	if _, err := CompileRequestRules([]Rule{{'?', "x", ""}}); err == nil {
		t.Error("an unknown sign is taken")
	}
}

func TestRefusedRuleSaysWhatToWrite(t *testing.T) {
	for _, tc := range []struct {
		compile func([]Rule) (*Rules, error)
		rule    Rule
		want    string
	}{
		{CompileRequestRules, Rule{'+', "grpc-metadata-*", ""}, `write "grpc-metadata-* *"`},
		{CompileRequestRules, Rule{'+', "x", "grpc-timeout"}, `without "grpc-"`},
		{CompileResponseRules, Rule{0, "*", "grpc-*"}, "only grpc-metadata-* and grpc-trailer-*"},
	} {
		if _, err := tc.compile([]Rule{tc.rule}); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%+v: %v, want %s", tc.rule, err, tc.want)
		}
	}
}

// Gateways that others wrote use Grpc-Metadata-* and Grpc-Trailer-* in REST, which no protocol
// does.
func TestNamesThatOnlyLookReserved(t *testing.T) {
	for _, tc := range []struct {
		name    string
		compile func([]Rule) (*Rules, error)
		rule    Rule
		want    map[string]string // "" for dropped
	}{
		{"request header to metadata", CompileRequestRules, Rule{'+', "Grpc-Metadata-*", "*"},
			map[string]string{"grpc-metadata-foo": "foo", "grpc-metadata-grpc-timeout": "", "grpc-metadata-": "", "grpc-timeout": "", "x": "x"}},
		{"one request header to metadata", CompileRequestRules, Rule{'+', "Grpc-Metadata-Foo", "foo"},
			map[string]string{"grpc-metadata-foo": "foo", "grpc-metadata-bar": ""}},
		{"all metadata to response headers", CompileResponseRules, Rule{0, "*", "Grpc-Metadata-*"},
			map[string]string{"foo": "grpc-metadata-foo", "content-type": "grpc-metadata-content-type"}},
		{"one key to a response header", CompileResponseRules, Rule{'+', "foo", "Grpc-Trailer-Foo"},
			map[string]string{"foo": "grpc-trailer-foo", "bar": "bar"}},
		{"keys of another gateway", CompileResponseRules, Rule{'+', "grpc-metadata-*", ""},
			map[string]string{"grpc-metadata-foo": "grpc-metadata-foo", "grpc-trailer-foo": "", "grpc-status": ""}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, err := tc.compile([]Rule{tc.rule})
			if err != nil {
				t.Fatal(err)
			}
			for name, want := range tc.want {
				if got, _, ok := r.target(name); got != want || ok != (want != "") {
					t.Errorf("%s: got %q, %v; want %q", name, got, ok, want)
				}
			}
		})
	}
	if _, _, ok := DefaultResponseRules().target("grpc-metadata-foo"); ok {
		t.Error("the default set has a name with grpc-")
	}
}

func TestRulesDecide(t *testing.T) {
	for _, tc := range []struct {
		name  string
		rules []Rule
		want  map[string]string // "" for dropped
	}{
		{"none: the default set", nil, map[string]string{"x-a": "x-a", "accept": "", "authorization": "authorization", "grpc-x": ""}},
		{"plus adds", []Rule{{'+', "Accept", ""}}, map[string]string{"accept": "accept", "accept-language": "", "x-a": "x-a"}},
		{"minus takes away", []Rule{{'-', "x-*", ""}}, map[string]string{"x-a": "", "authorization": "authorization"}},
		{"without a sign only that", []Rule{{0, "x-*", ""}}, map[string]string{"x-a": "x-a", "authorization": ""}},
		{"the last that matches decides", []Rule{{'-', "x-*", ""}, {'+', "x-ok", ""}}, map[string]string{"x-a": "", "x-ok": "x-ok"}},
		{"another name", []Rule{{'+', "x-a", "y"}}, map[string]string{"x-a": "y"}},
		{"a star stands for what matched", []Rule{{'+', "p-*-s", "q-*"}}, map[string]string{"p-mid-s": "q-mid"}},
		{"nothing becomes what is reserved", []Rule{{'+', "p-*", "*"}}, map[string]string{"p-": "", "p-te": "", "p-grpc-status": "", "p-x": "x"}},
		{"everything under another name", []Rule{{0, "*", "h-*"}}, map[string]string{"accept": "h-accept", "grpc-x": "h-grpc-x"}},
		{"everything but what is reserved", []Rule{{'+', "*", ""}}, map[string]string{"accept": "accept", "te": "", "content-type": "", "grpc-timeout": ""}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, err := CompileRequestRules(tc.rules)
			if err != nil {
				t.Fatal(err)
			}
			for name, want := range tc.want {
				if got, _, ok := r.target(name); got != want || ok != (want != "") {
					t.Errorf("%s: got %q, %v; want %q", name, got, ok, want)
				}
			}
		})
	}
}

func FuzzRules(f *testing.F) {
	for _, seed := range [][3]string{{"+x-*", "y-*", "x-a"}, {"-a*b*c", "", "abbc"}, {"*", "*", ""}, {"a*a*a*a*b", "", "aaaaaaaaaaaaaaaaaaaa"}, {"*-bin", "", "x-bin"}} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, glob, as, name string) {
		words := []string{glob}
		if as != "" {
			words = append(words, as)
		}
		rule, err := ParseRule(words...)
		if err != nil {
			return
		}
		rules, err := CompileRequestRules([]Rule{rule})
		if err != nil {
			return
		}
		if as, _, ok := rules.target(name); ok && refusedRequest(as) {
			t.Fatalf("%q is passed on as %q", name, as)
		}
	})
}
