package negotiate

import (
	"fmt"
	"strings"
)

// MediaType is a parsed Content-Type.
type MediaType struct {
	// Type is type and subtype in lower case, "application/json".
	Type string

	parameters string // As written. They are well-formed.
}

// MediaTypeError reports a Content-Type that is not a media type: HTTP 415.
type MediaTypeError struct {
	Value string
}

// Error quotes the value.
func (e *MediaTypeError) Error() string {
	return fmt.Sprintf("malformed content type %q", e.Value)
}

// ParseContentType parses the value of a Content-Type header. An empty value means JSON. Case and
// whitespace around parameters do not matter (RFC 9110, section 8.3.1). An error is a
// [*MediaTypeError].
//
// The charset is not checked. Those who read the body as text do that with [MediaType.UTF8].
func ParseContentType(value string) (MediaType, error) {
	name, parameters, _ := cut(value, ';')
	if name == "" && parameters == "" {
		return MediaType{Type: "application/json"}, nil
	}
	main, sub, ok := strings.Cut(name, "/")
	if !ok || !isToken(main) || !isToken(sub) {
		return MediaType{}, &MediaTypeError{Value: value}
	}
	for rest := parameters; rest != ""; {
		if _, _, rest, ok = cutParameter(rest); !ok {
			return MediaType{}, &MediaTypeError{Value: value}
		}
	}
	return MediaType{Type: strings.ToLower(name), parameters: parameters}, nil
}

// Parameter returns the value of a parameter, unquoted, or false if it is not there. Names are
// compared without case. If a parameter is given twice, the first one counts.
func (m MediaType) Parameter(name string) (string, bool) {
	for rest := m.parameters; rest != ""; {
		var found, value string
		if found, value, rest, _ = cutParameter(rest); strings.EqualFold(found, name) {
			return unquote(value), true
		}
	}
	return "", false
}

// UTF8 reports whether the charset is UTF-8 or missing. Text in any other charset is not supported:
// HTTP 415.
func (m MediaType) UTF8() bool {
	charset, ok := m.Parameter("charset")
	return !ok || isUTF8(charset)
}

// isUTF8 takes the registered name of UTF-8 and another one that some clients use.
func isUTF8(charset string) bool {
	return strings.EqualFold(charset, "utf-8") || strings.EqualFold(charset, "utf8")
}
