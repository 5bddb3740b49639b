package httprule

import (
	"fmt"
	"strings"
)

// escapeLen is the length of a percent-encoded byte, "%2F".
const escapeLen = 3

// EncodingError reports a path with bad percent-encoding. It is the client's mistake: HTTP 400.
type EncodingError struct {
	Path   string // the raw path
	Offset int    // of the bad escape, in bytes from the start of the path
}

// Error says where the escape is. It quotes the escape, not the path, which may be long.
func (e *EncodingError) Error() string {
	bad := e.Path[e.Offset:min(e.Offset+escapeLen, len(e.Path))]
	return fmt.Sprintf("bad percent-encoding %q at byte %d of the path", bad, e.Offset)
}

// unescape returns the byte that the escape at the start of s stands for. It returns false if there
// is no escape.
func unescape(s string) (byte, bool) {
	if len(s) < escapeLen || s[0] != '%' {
		return 0, false
	}
	high, ok := unhex(s[1])
	if !ok {
		return 0, false
	}
	low, ok := unhex(s[2])
	return high<<4 | low, ok
}

func unhex(c byte) (byte, bool) {
	switch {
	case isDigit(c):
		return c - '0', true
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10, true
	}
	return 0, false
}

// badEscape returns the offset of the first `%` in s that does not begin an escape, or -1 if every
// `%` does.
func badEscape(s string) int {
	for pos := 0; ; pos += escapeLen {
		next := strings.IndexByte(s[pos:], '%')
		if next < 0 {
			return -1
		}
		pos += next
		if _, ok := unescape(s[pos:]); !ok {
			return pos
		}
	}
}

// decode replaces the escapes of s, which must be valid. With keepSlash an encoded slash stays as
// it was written. A string without escapes is returned as it is.
func decode(s string, keepSlash bool) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	return string(appendDecoded(make([]byte, 0, len(s)), s, keepSlash))
}

func appendDecoded(dst []byte, s string, keepSlash bool) []byte {
	for {
		next := strings.IndexByte(s, '%')
		if next < 0 {
			return append(dst, s...)
		}
		dst = append(dst, s[:next]...)
		s = s[next:]
		c, ok := unescape(s)
		switch {
		case !ok:
			// Not an escape, so it is text. Callers have checked; this only keeps the loop going.
			dst, s = append(dst, s[0]), s[1:]
			continue
		case keepSlash && c == '/':
			dst = append(dst, s[:escapeLen]...)
		default:
			dst = append(dst, c)
		}
		s = s[escapeLen:]
	}
}
