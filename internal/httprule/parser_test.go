package httprule

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	tests := []struct {
		name, template string
		segments       []string
		variables      []string
		verb           string
	}{
		{"root", "/", nil, nil, ""},
		{"literals", "/v1/users", []string{"v1", "users"}, nil, ""},
		{"short variable is one segment", "/{a}", []string{"*"}, []string{"a"}, ""},
		{"variable of a literal", "/{a=b}", []string{"b"}, []string{"a"}, ""},
		{"nested field", "/{a.b_1.C}", []string{"*"}, []string{"a.b_1.C"}, ""},
		{"deep wildcard takes what is left", "/{a=b/**}", []string{"b", "**"}, []string{"a"}, ""},
		{"literals after a deep wildcard", "/{a=**}/b/c", []string{"**", "b", "c"}, []string{"a"}, ""},
		{"deep wildcard within a variable", "/{a=b/**/c}", []string{"b", "**", "c"}, []string{"a"}, ""},
		{"variable of a literal after a deep wildcard", "/**/{a=b}", []string{"**", "b"}, []string{"a"}, ""},
		{"verb after a literal", "/a:b", []string{"a"}, nil, "b"},
		{"verb after a variable", "/{a=b/*}:c", []string{"b", "*"}, []string{"a"}, "c"},
		{"escapes are decoded", "/a%20b:c%3ad", []string{"a b"}, nil, "c:d"},
		{"an escaped slash is text", "/a%2Fb", []string{"a/b"}, nil, ""},
		{"sub-delimiters and @", "/@a.b;c=d,e+f!$&'()~", []string{"@a.b;c=d,e+f!$&'()~"}, nil, ""},
		{"equals in a literal of a variable", "/{a=b=c}", []string{"b=c"}, []string{"a"}, ""},
		{"dots in literals", "/v1.2/.well-known/{a.b=c.d}", []string{"v1.2", ".well-known", "c.d"}, []string{"a.b"}, ""},
		{"a field and its parent", "/{a}/{a.b}", []string{"*", "*"}, []string{"a", "a.b"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Parse(tt.template)
			if err != nil {
				t.Fatal(err)
			}
			if got.String() != tt.template {
				t.Errorf("String() = %q, want %q", got, tt.template)
			}
			if texts := segmentTexts(got); !slices.Equal(texts, tt.segments) {
				t.Errorf("segments %q, want %q", texts, tt.segments)
			}
			if v := got.Variables(); !slices.Equal(v, tt.variables) {
				t.Errorf("variables %q, want %q", v, tt.variables)
			}
			if got.Verb() != tt.verb {
				t.Errorf("verb %q, want %q", got.Verb(), tt.verb)
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
	tests := []struct {
		name, template  string
		column          int
		expected, found string // expected: a part of it
	}{
		{"empty", "", 1, `"/"`, "the end"},
		{"no slash first", "a/b", 1, `"/"`, `"a"`},
		{"trailing slash", "/a/", 4, "a literal", "the end"},
		{"empty segment", "/a//b", 4, "a literal", `"/"`},
		{"verb of the root path", "/:a", 2, "a literal", `":"`},
		{"no verb after the colon", "/a:", 4, "a verb", "the end"},
		{"wildcard as a verb", "/a:*", 4, "a verb", `"*"`},
		{"verb before the end", "/a:b/c", 5, "the end after the verb", `"/"`},
		{"two verbs", "/a:b:c", 5, "the end after the verb", `":"`},
		{"text after a variable", "/{a}b", 5, `":" or the end`, `"b"`},
		{"variable after text", "/a{b}", 3, `":" or the end`, `"{"`},
		{"three stars", "/***", 4, `":" or the end`, `"*"`},
		{"star after text", "/a*", 3, `":" or the end`, `"*"`},
		{"closing brace alone", "/a}", 3, `":" or the end`, `"}"`},
		{"no field name", "/{}", 3, "a field name", `"}"`},
		{"no field name before the equals sign", "/{=a}", 3, "a field name", `"="`},
		{"field name that is a number", "/{1}", 3, "a field name", `"1"`},
		{"two dots", "/{a..b}", 5, "a field name", `"."`},
		{"dot at the end", "/{a.}", 5, "a field name", `"}"`},
		{"space in a field path", "/{a b}", 4, `".", "=" or "}"`, `" "`},
		{"variable without an end", "/{a", 4, `".", "=" or "}"`, "the end"},
		{"variable without a template", "/{a=}", 5, "a literal", `"}"`},
		{"variable that begins with a slash", "/{a=/b}", 5, "a literal", `"/"`},
		{"variable that ends with a slash", "/{a=b/}", 7, "a literal", `"}"`},
		{"variable without an end after its template", "/{a=b", 6, `"/" or "}"`, "the end"},
		{"verb in a variable", "/{a=b:c}", 6, `"/" or "}"`, `":"`},
		{"variable in a variable", "/{a=b/{c}}", 7, "cannot hold another", `"{"`},
		{"variable twice", "/{a.b}/{a.b=c}", 9, "each variable only once", `"a.b"`},
		{"wildcard after a deep one", "/**/a/*", 7, "only literals", `"*"`},
		{"two deep wildcards", "/**/**", 5, "only literals", `"**"`},
		{"variable after a deep wildcard", "/{a=**}/{b}", 11, "only literals", `"}"`},
		{"query", "/a?b=c", 3, "must be percent-encoded", `"?"`},
		{"space", "/a b", 3, "must be percent-encoded", `" "`},
		{"not ASCII", "/gr\u00f6\u00dfe", 4, "must be percent-encoded", "\"\u00f6\""},
		{"not UTF-8", "/a\xff", 3, "must be percent-encoded", `"\xff"`},
		{"escape cut off", "/a%2", 3, "two hexadecimal digits", `"%2"`},
		{"escape of no number", "/%zz/b", 2, "two hexadecimal digits", `"%zz"`},
		{"bad escape in a verb", "/a:b%", 5, "two hexadecimal digits", `"%"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Parse(tt.template)
			var syntax *SyntaxError
			if !errors.As(err, &syntax) {
				t.Fatalf("Parse(%q) = %v, %v; want a *SyntaxError", tt.template, got, err)
			}
			if syntax.Column != tt.column || !strings.Contains(syntax.Expected, tt.expected) || syntax.Found != tt.found {
				t.Errorf("%v\nwant column %d: expected …%s…, found %s", err, tt.column, tt.expected, tt.found)
			}
		})
	}
}

func TestSyntaxErrorSaysWhere(t *testing.T) {
	_, err := Parse("/a/{b")
	const want = `path template "/a/{b", column 6: expected ".", "=" or "}", found the end`
	if err == nil || err.Error() != want {
		t.Errorf("%v\nwant %s", err, want)
	}
}

func TestVariablesIsACopy(t *testing.T) {
	template := mustParse(t, "/{a}/{b}")
	template.Variables()[0] = "changed"
	if got := template.Variables(); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("Variables() = %q after a caller changed its slice", got)
	}
}

// FuzzParse holds that what parses says what it was parsed from: written out again from its parts
// it parses to the same.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"/", "/a/b:c", "/v1/{name=shelves/*}/books/{id}:archive", "/{a.b=**}/c", "/%2F/{x}:%3A", "/{", "/a%", "/{a=b=c}", "/***",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, source string) {
		template, err := Parse(source)
		if err != nil {
			var syntax *SyntaxError
			if !errors.As(err, &syntax) {
				t.Fatalf("Parse(%q): %v is no *SyntaxError", source, err)
			}
			if syntax.Column < 1 || syntax.Column > len(source)+1 {
				t.Fatalf("Parse(%q): %v is outside of the template", source, err)
			}
			return
		}
		if template.String() != source {
			t.Fatalf("String() = %q, want %q", template, source)
		}
		written := write(template)
		again, err := Parse(written)
		if err != nil {
			t.Fatalf("Parse(%q) succeeded, but not of its parts: %v", source, err)
		}
		if template.compare(again) != 0 || !slices.Equal(template.variables, again.variables) {
			t.Fatalf("%q parses to %+v, its parts written out as %q to %+v", source, template, written, again)
		}
	})
}

// write writes a template out from its parts.
func write(template *Template) string {
	var b strings.Builder
	variables := template.variables
	for i, s := range template.segments {
		b.WriteByte('/')
		if len(variables) > 0 && variables[0].start == i {
			b.WriteString("{" + variables[0].path + "=")
		}
		switch s.kind {
		case literalSegment:
			b.WriteString(encode(s.text))
		case singleSegment:
			b.WriteString("*")
		case deepSegment:
			b.WriteString("**")
		}
		if len(variables) > 0 && variables[0].end == i+1 {
			b.WriteByte('}')
			variables = variables[1:]
		}
	}
	if len(template.segments) == 0 {
		b.WriteByte('/')
	}
	if template.verb != "" {
		b.WriteString(":" + encode(template.verb))
	}
	return b.String()
}

// encode encodes every byte, which no path needs and every path may.
func encode(text string) string {
	const digits = "0123456789abcdef"
	var b strings.Builder
	for i := range len(text) {
		b.Write([]byte{'%', digits[text[i]>>4], digits[text[i]&15]})
	}
	return b.String()
}
