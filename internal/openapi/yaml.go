package openapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/caddy-grpc/gateway/internal/frontend"
)

// YAML turns a document of Build into YAML, in the same order. JSON is YAML already, so this only
// changes the style. It is written here because a library needs a gigabyte for the largest
// documents.
func YAML(document []byte) ([]byte, error) {
	w := yamlWriter{in: json.NewDecoder(bytes.NewReader(document)), out: make([]byte, 0, len(document)+len(document)/4)}
	w.in.UseNumber()
	if err := w.value(0, false); err != nil {
		return nil, fmt.Errorf("write the OpenAPI document as YAML: %w", err)
	}
	return append(bytes.TrimPrefix(w.out, []byte("\n")), '\n'), nil
}

// yamlWriter turns tokens of JSON into YAML in block style.
type yamlWriter struct {
	in  *json.Decoder
	out []byte
}

// value writes the next value, after the name of a member or the dash of an element. The lines of
// an object or a list have the indentation. If they follow a dash, the first one is on its line.
func (w *yamlWriter) value(indent int, afterDash bool) error {
	token, err := w.in.Token()
	if err != nil {
		return err
	}
	delim, isDelim := token.(json.Delim)
	switch {
	case isDelim && !w.in.More():
		w.out = append(w.out, ' ', byte(delim), byte(delim)+2) // {} or []
	case isDelim && delim == '{':
		return w.object(indent, afterDash)
	case isDelim:
		return w.list(indent, afterDash)
	default:
		w.out = append(w.out, ' ')
		w.scalar(token, indent)
		return nil
	}
	_, err = w.in.Token()
	return err
}

// longestKey is the longest name of a member, in bytes, that is written before a colon. YAML allows
// 1024 characters there, with their escapes.
const longestKey = 128

func (w *yamlWriter) object(indent int, afterDash bool) error {
	for i := 0; w.in.More(); i++ {
		w.line(indent, afterDash && i == 0)
		key, err := w.in.Token()
		if err != nil {
			return err
		}
		name, _ := key.(string) // JSON has no other names.
		if len(name) > longestKey {
			w.out = append(w.out, "? "...)
			w.text(name)
			w.line(indent, false)
		} else {
			w.text(name)
		}
		w.out = append(w.out, ':')
		if err := w.value(indent+2, false); err != nil {
			return err
		}
	}
	_, err := w.in.Token()
	return err
}

func (w *yamlWriter) list(indent int, afterDash bool) error {
	for i := 0; w.in.More(); i++ {
		w.line(indent, afterDash && i == 0)
		w.out = append(w.out, '-')
		if err := w.value(indent+2, true); err != nil {
			return err
		}
	}
	_, err := w.in.Token()
	return err
}

// line begins a line, or goes on after a dash.
func (w *yamlWriter) line(indent int, afterDash bool) {
	if afterDash {
		w.out = append(w.out, ' ')
		return
	}
	w.out = append(w.out, '\n')
	for range indent {
		w.out = append(w.out, ' ')
	}
}

func (w *yamlWriter) scalar(token json.Token, indent int) {
	switch v := token.(type) {
	case string:
		if isLiteral(v) {
			w.literal(v, indent)
		} else {
			w.text(v)
		}
	case json.Number:
		w.out = append(w.out, v...)
	case bool:
		w.out = strconv.AppendBool(w.out, v)
	default:
		w.out = append(w.out, "null"...)
	}
}

// plainText are texts that YAML cannot take for anything else, and neither can a reader: words that
// begin with a letter, a slash or an underscore, and no sign that means something in YAML.
var plainText = regexp.MustCompile(`^[A-Za-z/_][A-Za-z0-9_/.$+-]*( [A-Za-z0-9_/.$+(-][A-Za-z0-9_/.,$+();-]*)*$`)

// otherScalars are what YAML 1.1 or 1.2 reads as something else than text.
var otherScalars = regexp.MustCompile(`(?i)^(y|n|yes|no|on|off|true|false|null)$`)

// text writes a text on one line. A string of JSON is one of YAML, but for the characters above
// ASCII that cannot be printed, which JSON leaves as they are.
func (w *yamlWriter) text(text string) {
	if plainText.MatchString(text) && !otherScalars.MatchString(text) {
		w.out = append(w.out, text...)
		return
	}
	quoted := frontend.AppendJSONString(nil, text)
	for _, r := range string(quoted) {
		if r >= utf8.RuneSelf && !unicode.IsPrint(r) {
			w.out = append(w.out, escaped(r)...)
		} else {
			w.out = utf8.AppendRune(w.out, r)
		}
	}
}

func escaped(r rune) string {
	if r > 0xffff {
		return fmt.Sprintf(`\U%08x`, r)
	}
	return fmt.Sprintf(`\u%04x`, r)
}

// isLiteral reports whether a text of several lines can be written as it is.
func isLiteral(text string) bool {
	if !strings.Contains(text, "\n") || strings.HasPrefix(text, " ") || strings.HasPrefix(text, "\n") || strings.HasSuffix(text, "\n") {
		return false
	}
	return !strings.ContainsFunc(text, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) })
}

func (w *yamlWriter) literal(text string, indent int) {
	w.out = append(w.out, "|-"...)
	for line := range strings.SplitSeq(text, "\n") {
		if line == "" {
			w.out = append(w.out, '\n')
			continue
		}
		w.line(max(indent, 2), false)
		w.out = append(w.out, line...)
	}
}

// WithServer returns the document with a base URL. It does not write into the document.
func WithServer(document []byte, url string) []byte {
	at := bytes.Index(document, []byte(`,"info":`))
	if url == "" || at < 0 {
		return document
	}
	quoted := frontend.AppendJSONString(nil, url)
	return bytes.Join([][]byte{document[:at], []byte(`,"servers":[{"url":`), quoted, []byte(`}]`), document[at:]}, nil)
}

// YAMLWithServer is WithServer for a document of YAML.
func YAMLWithServer(document []byte, url string) []byte {
	at := bytes.Index(document, []byte("\ninfo:"))
	if url == "" || at < 0 {
		return document
	}
	quoted := frontend.AppendJSONString(nil, url) // A string of JSON is one of YAML.
	return bytes.Join([][]byte{document[:at], []byte("\nservers:\n  - url: "), quoted, document[at:]}, nil)
}
