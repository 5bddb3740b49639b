package glob

import (
	"regexp"
	"strings"
	"testing"
)

func TestCapture(t *testing.T) {
	for _, tt := range []struct {
		pattern, name string
		first         string
		want          bool
	}{
		{"", "", "", true},
		{"", "a", "", false},
		{"a", "a", "", true},
		{"a", "ab", "", false},
		{"*", "", "", true},
		{"*", "abc", "abc", true},
		{"a*", "abc", "bc", true},
		{"*c", "abc", "ab", true},
		{"a*c", "ac", "", true},
		{"aa*aa", "aaa", "", false},
		{"*b*", "abcb", "a", true},
		{"x-*-*", "x-a-b-c", "a", true},
		{"**", "abc", "", true},
		{"*a*b", "xaxb", "x", true},
		{"*a*b", "xbxa", "", false},
		{"*ab*ab", "abab", "", true},
		{"*ab*ab", "ab", "", false},
		{"a.c", "abc", "", false},
		{"user.v1.*/Get*", "user.v1.UserService/GetUser", "UserService", true},
	} {
		first, ok := Capture(tt.pattern, tt.name)
		if ok != tt.want || first != tt.first {
			t.Errorf("Capture(%q, %q) = %q, %v; want %q, %v", tt.pattern, tt.name, first, ok, tt.first, tt.want)
		}
	}
}

// FuzzCapture compares with a regular expression whose stars are lazy.
func FuzzCapture(f *testing.F) {
	f.Add("a*b*", "aabb")
	f.Add("*aab*aab", "aaabaab")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		parts := strings.Split(pattern, "*")
		for i := range parts {
			parts[i] = regexp.QuoteMeta(parts[i])
		}
		re, err := regexp.Compile(`\A(?s)` + strings.Join(parts, "(.*?)") + `\z`)
		if err != nil {
			return // A pattern that is not UTF-8 cannot be a regular expression.
		}
		m := re.FindStringSubmatch(name)
		first, ok := Capture(pattern, name)
		if ok != (m != nil) {
			t.Fatalf("Capture(%q, %q) = %v", pattern, name, ok)
		}
		if len(m) > 1 && first != m[1] {
			t.Fatalf("Capture(%q, %q) = %q, want %q", pattern, name, first, m[1])
		}
	})
}

// BenchmarkCapture has the pattern and the name on which matching with backtracking takes the
// square of the length.
func BenchmarkCapture(b *testing.B) {
	name := strings.Repeat("a", 8<<10)
	for b.Loop() {
		Capture("*a*ab*", name)
	}
}
