package discovery

import (
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"":                             "",
		"10.0.0.1:9000 is down":        "10.0.0.1:9000 is down",
		`C:\path "quoted"`:             `C:\path "quoted"`,
		"Ünïcödé 用户 ✓":                 "Ünïcödé 用户 ✓",
		"two\nlines":                   `two\nlines`,
		"a\r\tb":                       `a\r\tb`,
		"\x1b[2Jcleared":               `\x1b[2Jcleared`,
		"\u009b31mred":                 `\u009b31mred`,
		"nul\x00":                      `nul\x00`,
		"delete\x7f":                   `delete\x7f`,
		"\u202egpj.exe":                `\u202egpj.exe`,
		"\u2028separator":              `\u2028separator`,
		"zero\u200bwidth":              `zero\u200bwidth`,
		"\ufeffmark":                   `\ufeffmark`,
		"bad \xff\xc3 bytes":           `bad \xff\xc3 bytes`,
		"replacement \ufffd character": "replacement \ufffd character",
		"\U000e0041tag":                `\U000e0041tag`,
	} {
		if got := Printable(in); got != want {
			t.Errorf("%q: expected %s, found %s", in, want, got)
		}
	}
}

func FuzzPrintable(f *testing.F) {
	f.Add("a\nb\x1b\u202e\xff")
	f.Fuzz(func(t *testing.T, in string) {
		out := Printable(in)
		if !utf8.ValidString(out) || strings.ContainsFunc(out, func(r rune) bool { return !strconv.IsPrint(r) }) {
			t.Errorf("%q became %q", in, out)
		}
		if again := Printable(out); again != out {
			t.Errorf("%q became %q and then %q", in, out, again)
		}
	})
}
