package negotiate

import (
	"errors"
	"mime"
	"strings"
	"testing"
)

func TestParseContentType(t *testing.T) {
	tests := []struct {
		name, value string
		want        string
		utf8        bool
	}{
		{"absent is JSON", "", "application/json", true},
		{"only whitespace is absent", " \t", "application/json", true},
		{"plain", "application/json", "application/json", true},
		{"case", "Application/JSON", "application/json", true},
		{"suffix and dots", "application/vnd.api+json", "application/vnd.api+json", true},
		{"charset", "application/json;charset=utf-8", "application/json", true},
		{"case and whitespace of the charset", "application/json ; Charset=UTF-8 ", "application/json", true},
		{"quoted charset", `application/json; charset="utf-8"`, "application/json", true},
		{"escapes in a quoted charset", `application/json; charset="u\tf-\8"`, "application/json", true},
		{"charset as misspelled by some", "application/json; charset=utf8", "application/json", true},
		{"another charset", "application/json; charset=iso-8859-1", "application/json", false},
		{"empty quoted charset", `application/json; charset=""`, "application/json", false},
		{"the first of two charsets counts", "a/b; charset=utf-8; charset=latin1", "a/b", true},
		{"empty parameters", "application/json;; charset=utf-8;", "application/json", true},
		{"semicolon in a quoted value", `a/b; x="1;charset=latin1"; charset=utf-8`, "a/b", true},
		{"quote in a quoted value", `a/b; x="\"; charset=latin1"`, "a/b", true},
		{"grpc-web", "application/grpc-web-text+proto", "application/grpc-web-text+proto", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseContentType(tt.value)
			if err != nil {
				t.Fatal(err)
			}
			if got.Type != tt.want || got.UTF8() != tt.utf8 {
				t.Errorf("%q, UTF-8 %v; want %q, %v", got.Type, got.UTF8(), tt.want, tt.utf8)
			}
		})
	}
}

func TestParseContentTypeErrors(t *testing.T) {
	for _, value := range []string{
		"json", "/", "application/", "/json", "application/json/x", "a b/c", "a/b c", "a/b, c/d", "gr\u00f6\u00dfe/x", ";charset=utf-8",
		"a/b; charset", "a/b; charset=", "a/b; =utf-8", "a/b; charset = utf-8", `a/b; charset="utf-8`, `a/b; charset="x"y`, `a/b; x="\`,
	} {
		got, err := ParseContentType(value)
		var malformed *MediaTypeError
		if !errors.As(err, &malformed) || malformed.Value != value {
			t.Errorf("ParseContentType(%q) = %+v, %v; want a *MediaTypeError", value, got, err)
		}
	}
}

func TestParameter(t *testing.T) {
	m, err := ParseContentType(`multipart/form-data; Boundary="a;\"b"; x=1`)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"boundary": `a;"b`, "BOUNDARY": `a;"b`, "x": "1", "X": "1"} {
		if got, ok := m.Parameter(name); got != want || !ok {
			t.Errorf("Parameter(%q) = %q, %v; want %q", name, got, ok, want)
		}
	}
	if got, ok := m.Parameter("y"); ok {
		t.Errorf("Parameter(y) = %q", got)
	}
}

// FuzzParseContentType holds the parser against the standard library's, which takes a little more.
func FuzzParseContentType(f *testing.F) {
	for _, seed := range []string{
		"application/json; charset=utf-8", `a/b;c="d\"e";f=g`, "A/B ;; c=d", `multipart/form-data; boundary="-- -"`, "a/b;c", "",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		got, err := ParseContentType(value)
		if err != nil || strings.Trim(value, " \t") == "" {
			return
		}
		if got.Type != strings.ToLower(got.Type) || strings.ContainsAny(got.Type, "; \t") {
			t.Fatalf("ParseContentType(%q): type %q", value, got.Type)
		}
		want, parameters, err := mime.ParseMediaType(value)
		if err != nil {
			return // a parameter twice, or something it cannot read
		}
		if got.Type != want {
			t.Fatalf("ParseContentType(%q): type %q, want %q", value, got.Type, want)
		}
		for name, want := range parameters {
			if value, ok := got.Parameter(name); !strings.Contains(got.parameters, "*") && !strings.Contains(got.parameters, `\`) && (value != want || !ok) {
				t.Fatalf("Parameter(%q) = %q, %v; want %q", name, value, ok, want)
			}
		}
	})
}
