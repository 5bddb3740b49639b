package negotiate

import "strings"

// These are lists and parameters as RFC 9110, section 5.6, defines them. Commas separate elements,
// and semicolons separate parameters. Neither counts within a quoted string.

// cut cuts s at the first separator outside of a quoted string and trims both parts. found is false
// if there is none.
func cut(s string, separator byte) (before, after string, found bool) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			quoted = !quoted
		case quoted && c == '\\':
			i++
		case !quoted && c == separator:
			return trim(s[:i]), trim(s[i+1:]), true
		}
	}
	return trim(s), "", false
}

// cutParameter cuts the first parameter off a list such as `charset="utf-8"; v=1`. RFC 9110 allows
// an empty parameter, which has no name. The value is still quoted. ok is false if something is not
// a parameter.
func cutParameter(parameters string) (name, value, rest string, ok bool) {
	parameter, rest, _ := cut(parameters, ';')
	if parameter == "" {
		return "", "", rest, true
	}
	name, value, found := strings.Cut(parameter, "=")
	ok = found && isToken(name) && (isToken(value) || isQuoted(value))
	return name, value, rest, ok
}

// isQuoted reports whether s is one whole quoted string.
func isQuoted(s string) bool {
	if len(s) < 2 || s[0] != '"' {
		return false
	}
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i == len(s)-1
		}
	}
	return false
}

// unquote returns the text of a token or a quoted string.
func unquote(s string) string {
	if !isQuoted(s) {
		return s
	}
	s = s[1 : len(s)-1]
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	text := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' { // isQuoted has checked that something follows.
			i++
		}
		text = append(text, s[i])
	}
	return string(text)
}

// trim removes optional whitespace around s.
func trim(s string) string { return strings.Trim(s, " \t") }

// isToken reports whether s is a token (RFC 9110, section 5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		if !isTokenByte(s[i]) {
			return false
		}
	}
	return s != ""
}

func isTokenByte(c byte) bool {
	switch {
	case 'a' <= c|0x20 && c|0x20 <= 'z', isDigit(c):
		return true
	}
	return strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
