package httprule

import (
	"strconv"
	"unicode/utf8"
)

type tokenKind uint8

const (
	tokenEnd tokenKind = iota
	tokenSlash
	tokenOpen  // {
	tokenClose // }
	tokenColon
	tokenEquals // only in a field path; a plain character elsewhere
	tokenDot    // only in a field path; a plain character elsewhere
	tokenStar
	tokenDeepStar
	tokenLiteral // text of a segment or verb, still percent-encoded
	tokenIdent   // one name of a field path
	tokenBadEscape
	tokenForbidden // a character that must be percent-encoded in a literal
	tokenInvalid   // a character that a field path cannot have
)

// token is a piece of a template.
type token struct {
	kind tokenKind
	text string
	pos  int // byte offset in the template
}

// found describes the token for an error.
func (t token) found() string {
	if t.kind == tokenEnd {
		return "the end"
	}
	return strconv.Quote(t.text)
}

// scanner cuts a template into tokens. The meaning of a character depends on its place: a dot
// separates names in a field path and is plain text in a literal. So the parser calls segmentToken
// or fieldToken.
type scanner struct {
	source string
	pos    int
}

// segmentToken reads a token outside of field paths.
func (s *scanner) segmentToken() token {
	if s.pos == len(s.source) {
		return s.take(tokenEnd, 0)
	}
	switch c := s.source[s.pos]; {
	case c == '/':
		return s.take(tokenSlash, 1)
	case c == '{':
		return s.take(tokenOpen, 1)
	case c == '}':
		return s.take(tokenClose, 1)
	case c == ':':
		return s.take(tokenColon, 1)
	case c == '*':
		if n := s.pos + 1; n < len(s.source) && s.source[n] == '*' {
			return s.take(tokenDeepStar, 2)
		}
		return s.take(tokenStar, 1)
	case c == '%' || isLiteral(c):
		return s.literal()
	}
	return s.character(tokenForbidden)
}

// literal reads the longest run of characters of a literal. A bad escape ends it and is returned by
// the next call.
func (s *scanner) literal() token {
	end := s.pos
	for end < len(s.source) {
		if isLiteral(s.source[end]) {
			end++
			continue
		}
		if _, ok := unescape(s.source[end:]); !ok {
			break
		}
		end += escapeLen
	}
	if end == s.pos { // it begins with a bad escape
		return s.take(tokenBadEscape, min(escapeLen, len(s.source)-s.pos))
	}
	return s.take(tokenLiteral, end-s.pos)
}

// fieldToken reads a token of a field path: from after the opening brace to the `=` or the closing
// brace.
func (s *scanner) fieldToken() token {
	if s.pos == len(s.source) {
		return s.take(tokenEnd, 0)
	}
	switch c := s.source[s.pos]; {
	case c == '}':
		return s.take(tokenClose, 1)
	case c == '=':
		return s.take(tokenEquals, 1)
	case c == '.':
		return s.take(tokenDot, 1)
	case isIdentStart(c):
		n := 1
		for s.pos+n < len(s.source) && isIdent(s.source[s.pos+n]) {
			n++
		}
		return s.take(tokenIdent, n)
	}
	return s.character(tokenInvalid)
}

// character takes one whole character, so that an error can quote it.
func (s *scanner) character(kind tokenKind) token {
	_, size := utf8.DecodeRuneInString(s.source[s.pos:])
	return s.take(kind, size)
}

func (s *scanner) take(kind tokenKind, n int) token {
	t := token{kind: kind, text: s.source[s.pos : s.pos+n], pos: s.pos}
	s.pos += n
	return t
}

// isLiteral reports whether a literal may have the character unescaped: RFC 3986's pchar without
// `*` and `:`, which are the wildcard and the verb here.
func isLiteral(c byte) bool {
	switch c {
	case '-', '.', '_', '~', '!', '$', '&', '\'', '(', ')', '+', ',', ';', '=', '@':
		return true
	}
	return isLetter(c) || isDigit(c)
}

func isIdentStart(c byte) bool { return c == '_' || isLetter(c) }
func isIdent(c byte) bool      { return isIdentStart(c) || isDigit(c) }
func isLetter(c byte) bool     { return 'a' <= c|0x20 && c|0x20 <= 'z' }
func isDigit(c byte) bool      { return '0' <= c && c <= '9' }
