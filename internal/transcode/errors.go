package transcode

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A SyntaxError says that the input is not what the message type accepts. The reason may be bad
// JSON, a wrong type, an unknown field, malformed wire, a missing required field, or a limit that
// the input exceeds.
type SyntaxError struct {
	// Path has the form of a JSON pointer, such as "/books/3/title". It is empty for the whole
	// input.
	Path string
	// Offset counts bytes from the start of the input.
	Offset int
	// Expected says what would have been accepted, or which rule is broken.
	Expected string
	// Found is the text at the offset, shortened. It may be empty.
	Found string

	// trail gathers the segments of Path, the last one first.
	trail []string
}

// Error says where the input is wrong, what was expected there and what was found.
func (e *SyntaxError) Error() string {
	var b strings.Builder
	if e.Path != "" {
		b.WriteString(e.Path)
		b.WriteString(": ")
	}
	b.WriteString("expected ")
	b.WriteString(e.Expected)
	if e.Found != "" {
		b.WriteString(", found ")
		b.WriteString(e.Found)
	}
	b.WriteString(" (offset ")
	b.WriteString(strconv.Itoa(e.Offset))
	b.WriteString(")")
	return b.String()
}

// A RangeError says that a message is well formed but has no JSON form, such as a Timestamp out of
// range.
type RangeError struct {
	// Path has the form of a JSON pointer, such as "/books/3/published". It is empty for the whole
	// message.
	Path string
	// Reason says why there is no JSON form.
	Reason string

	// trail gathers the segments of Path, the last one first.
	trail []string
}

// Error says which value has no JSON form and why.
func (e *RangeError) Error() string {
	if e.Path == "" {
		return e.Reason
	}
	return e.Path + ": " + e.Reason
}

// maxSegment is how many bytes of a member name the path of an error repeats at most.
const maxSegment = 64

// maxFound is how many bytes of the input an error repeats at most.
const maxFound = 32

// A located error gathers its path on the way out of the members and elements that it happened in.
// So the last segment comes first. settle puts the segments together once.
type located interface {
	error
	within(segment string)
	settle()
}

func (e *SyntaxError) within(segment string) { e.trail = append(e.trail, segment) }

func (e *RangeError) within(segment string) { e.trail = append(e.trail, segment) }

func (e *SyntaxError) settle() { e.Path, e.trail = joinPath(e.trail)+e.Path, nil }

func (e *RangeError) settle() { e.Path, e.trail = joinPath(e.trail)+e.Path, nil }

// within notes that an error happened in a member or element. err is nil if the one pass was given
// up.
func within(err located, segment string) {
	if err != nil {
		err.within(segment)
	}
}

// settled returns an error with its path in place.
func settled(err located) error {
	err.settle()
	return err
}

// joinPath makes a JSON pointer (RFC 6901) of segments. The last segment comes first in the trail.
func joinPath(trail []string) string {
	var b strings.Builder
	for _, segment := range slices.Backward(trail) {
		if len(segment) > maxSegment {
			segment = strings.ToValidUTF8(segment[:maxSegment], "") + "..."
		}
		if strings.ContainsAny(segment, "~/") {
			segment = strings.ReplaceAll(segment, "~", "~0")
			segment = strings.ReplaceAll(segment, "/", "~1")
		}
		b.WriteByte('/')
		b.WriteString(segment)
	}
	return b.String()
}

// describeJSON names the JSON token at p, for the Found part of an error.
func describeJSON(in []byte, p int) string {
	if p >= len(in) {
		return "the end of the input"
	}
	rest := in[p:]
	switch c := rest[0]; {
	case c == '{':
		return "an object"
	case c == '[':
		return "an array"
	case c == '"':
		return "string " + excerpt(rest, stringExtent(rest))
	case c == '-' || '0' <= c && c <= '9':
		return "number " + excerpt(rest, wordExtent(rest))
	case isWordByte(c):
		return excerpt(rest, wordExtent(rest))
	default:
		r, _ := utf8.DecodeRune(rest)
		return "character " + strconv.QuoteRune(r)
	}
}

func excerpt(b []byte, n int) string {
	if n > maxFound {
		return strings.ToValidUTF8(string(b[:maxFound]), "?") + "..."
	}
	return strings.ToValidUTF8(string(b[:n]), "?")
}

// stringExtent returns the length of the string literal at the start of b. It looks only as far as
// an excerpt reaches.
func stringExtent(b []byte) int {
	for i := 1; i < len(b) && i <= maxFound; i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return min(len(b), maxFound+1)
}

func wordExtent(b []byte) int {
	n := 0
	for n < len(b) && n <= maxFound && isWordByte(b[n]) {
		n++
	}
	return n
}

// isWordByte reports whether c may continue a number or a literal. A token that is followed by such
// a byte does not end there, so "nullx" and "12ab" are not read as "null" and "12".
func isWordByte(c byte) bool {
	return c == '-' || c == '+' || c == '.' || c == '_' ||
		'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

func wireTypeName(t uint64) string {
	switch t {
	case wireVarint:
		return "varint"
	case wireFixed64:
		return "64-bit"
	case wireBytes:
		return "length-delimited"
	case wireStartGroup:
		return "start-group"
	case wireEndGroup:
		return "end-group"
	case wireFixed32:
		return "32-bit"
	default:
		return fmt.Sprintf("reserved wire type %d", t)
	}
}
