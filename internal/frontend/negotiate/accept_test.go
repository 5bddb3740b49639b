package negotiate

import (
	"slices"
	"strings"
	"testing"
)

func TestAccept(t *testing.T) {
	streams := []string{"application/x-ndjson", "text/event-stream", "application/json"}
	unary := []string{"application/json"}
	tests := []struct {
		name   string
		accept []string
		offers []string
		want   string // empty: none is acceptable
	}{
		{"no header is the first offer", nil, streams, "application/x-ndjson"},
		{"empty header is like none", []string{""}, streams, "application/x-ndjson"},
		{"named", []string{"text/event-stream"}, streams, "text/event-stream"},
		{"case", []string{"Text/Event-Stream"}, streams, "text/event-stream"},
		{"not offered", []string{"text/html"}, streams, ""},
		{"anything", []string{"*/*"}, streams, "application/x-ndjson"},
		{"any subtype", []string{"text/*"}, streams, "text/event-stream"},
		{"a browser's header", []string{"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}, unary, "application/json"},
		{"java.net's header", []string{"text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2"}, unary, "application/json"},
		{"named before anything, at the same weight", []string{"application/json, text/plain, */*"}, streams, "application/json"},
		{"the higher weight", []string{"application/json;q=0.5, text/event-stream;q=0.6"}, streams, "text/event-stream"},
		{"a higher weight before a more exact range", []string{"application/json;q=0.5, */*"}, streams, "application/x-ndjson"},
		{"the server's order at the same weight", []string{"application/json, application/x-ndjson"}, streams, "application/x-ndjson"},
		{"several headers are one list", []string{"text/html", "application/json;q=0.1"}, streams, "application/json"},
		{"weight 0 excludes", []string{"application/x-ndjson;q=0, */*"}, streams, "text/event-stream"},
		{"weight 0 excludes, in any order", []string{"*/*, application/x-ndjson;q=0.000"}, streams, "text/event-stream"},
		{"only excluded", []string{"application/json;q=0"}, unary, ""},
		{"everything excluded", []string{"*/*;q=0"}, unary, ""},
		{"everything else excluded", []string{"application/json, */*;q=0"}, streams, "application/json"},
		{"a subtype's weight over the type's", []string{"application/*;q=0.9, application/json;q=0.1, text/*;q=0.5"}, []string{"application/json", "text/event-stream"}, "text/event-stream"},
		{"named twice, at the higher weight", []string{"application/json;q=0, application/json"}, unary, "application/json"},
		{"charset is no other version", []string{"application/json;charset=utf-8;q=0.9, */*;q=0.1"}, streams, "application/json"},
		{"quoted charset", []string{`application/json; charset="UTF-8"`}, unary, "application/json"},
		{"another version, rather than refused", []string{"application/json;version=2"}, unary, "application/json"},
		{"another version excluded", []string{"application/json;version=2;q=0"}, unary, ""},
		{"another version does not speak for ours", []string{"application/json;version=2;q=0.1, application/json"}, []string{"text/event-stream", "application/json"}, "application/json"},
		{"extensions after the weight", []string{"application/json;q=0.5;level=1, text/event-stream;q=0.4"}, streams, "application/json"},
		{"Q in upper case and whitespace", []string{"application/json ; Q=0.1 ,\ttext/event-stream; q=0.2"}, streams, "text/event-stream"},
		{"more decimals than three", []string{"application/json;q=0.12345, text/event-stream;q=0.1"}, streams, "application/json"},
		{"a tiny weight is not 0", []string{"application/json;q=0.0001"}, unary, "application/json"},
		{"comma in a quoted string", []string{`text/html;x="a,application/json"`}, unary, ""},
		{"empty elements", []string{", ,application/json,,"}, unary, "application/json"},
		{"malformed elements are ignored", []string{"json, */json, application/json/x, a b/c, text/event-stream"}, streams, "text/event-stream"},
		{"malformed weights are ignored with their element", []string{"application/json;q=2, application/x-ndjson;q=-1, */*;q=a, text/event-stream;q=0.1"}, streams, "text/event-stream"},
		{"malformed parameters too", []string{"application/json;x, text/event-stream"}, streams, "text/event-stream"},
		{"nothing well-formed is like no header", []string{"json;q=1"}, streams, "application/x-ndjson"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := Accept(tt.accept, tt.offers)
			if got != tt.want || ok != (tt.want != "") {
				t.Errorf("Accept(%q, %q) = %q, %v; want %q", tt.accept, tt.offers, got, ok, tt.want)
			}
		})
	}
}

func TestParseQuality(t *testing.T) {
	for s, want := range map[string]int{
		"0": 0, "1": 1000, "0.5": 500, "0.05": 50, "0.123": 123, "1.000": 1000, "0.": 0, "1.": 1000, ".2": 200, "0.9999": 999, "0.0001": 1,
		"": -1, ".": -1, "2": -1, "1.1": -1, "1.0001": -1, "-1": -1, "0.5x": -1, "0..5": -1, "01": -1, "1e0": -1, "+1": -1,
	} {
		got, ok := parseQuality(s)
		if ok != (want >= 0) || ok && got != want {
			t.Errorf("parseQuality(%q) = %d, %v; want %d", s, got, ok, want)
		}
	}
}

func TestWeight(t *testing.T) {
	const problem = "application/problem+json"
	for _, tc := range []struct {
		name   string
		values []string
		weight int
		named  bool
	}{
		{"no header", nil, 0, false},
		{"another type", []string{"application/json"}, 0, false},
		{"a wildcard", []string{"*/*"}, 1000, false},
		{"a wildcard for its kind", []string{"application/*;q=0.2, */*"}, 200, false},
		{"its name", []string{problem}, 1000, true},
		{"its name in other letters", []string{"Application/Problem+JSON"}, 1000, true},
		{"its name beside a wildcard", []string{"*/*", problem + ";q=0.3"}, 300, true},
		{"its name with parameters", []string{problem + ";v=1;q=0.3"}, 300, true},
		{"its name, excluded", []string{"*/*, " + problem + ";q=0"}, 0, true},
		{"something that is not a range", []string{problem + ";q=x"}, 0, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if weight, named := Weight(tc.values, problem); weight != tc.weight || named != tc.named {
				t.Errorf("got %d, %v", weight, named)
			}
		})
	}
}

// FuzzAccept checks what holds for any header of a client.
func FuzzAccept(f *testing.F) {
	for _, seed := range []string{
		"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "*;q=.2", `a/b;c="d,e";q=0.1,application/json`, "application/json;q=0",
	} {
		f.Add(seed)
	}
	offers := []string{"application/x-ndjson", "text/event-stream", "application/json"}
	f.Fuzz(func(t *testing.T, header string) {
		values := []string{header}
		chosen, ok := Accept(values, offers)
		if ok != slices.Contains(offers, chosen) {
			t.Fatalf("Accept(%q) = %q, %v", header, chosen, ok)
		}
		for _, offer := range offers {
			quality, exactness, _ := weigh(values, offer)
			if quality < 0 || quality > maxQuality || exactness < 0 || exactness > exactType {
				t.Fatalf("weigh(%q, %q) = %d, %d", header, offer, quality, exactness)
			}
			if mine, _, stated := weigh(values, chosen); stated && quality > mine {
				t.Fatalf("Accept(%q) = %q of weight %d, but %q has %d", header, chosen, mine, offer, quality)
			}
		}
		if !strings.Contains(header, `"`) {
			split, splitOK := Accept(strings.Split(header, ","), offers)
			if split != chosen || splitOK != ok {
				t.Fatalf("Accept(%q) = %q, %v, but %q, %v as several headers", header, chosen, ok, split, splitOK)
			}
		}
	})
}
