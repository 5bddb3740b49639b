package discovery

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Printable returns a text of somebody else so that it can stand in a log line or on a terminal.
// Characters that do not print are escaped as in a Go string: line breaks, escape sequences, marks
// that change the direction of writing, and bytes that are not UTF-8. A text without such
// characters is returned as it is.
func Printable(s string) string {
	if isPrintable(s) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		switch {
		case r == '\\' || strconv.IsPrint(r) && (r != utf8.RuneError || size > 1):
			b.WriteString(s[:size])
		default:
			quoted := strconv.Quote(s[:size])
			b.WriteString(quoted[1 : len(quoted)-1])
		}
		s = s[size:]
	}
	return b.String()
}

func isPrintable(s string) bool {
	for i, r := range s {
		if !strconv.IsPrint(r) {
			return false
		}
		if r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD") {
			return false
		}
	}
	return true
}

// Excerpt quotes the beginning of what was found, for an error message.
func Excerpt(s string) string {
	const most = 64 // bytes
	if len(s) > most {
		return strconv.Quote(s[:most]) + "…"
	}
	return strconv.Quote(s)
}
