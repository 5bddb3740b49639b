package httprule

import (
	"slices"
	"strings"
)

// Template is a parsed path template, immutable.
type Template struct {
	source    string
	segments  []segment
	deep      int    // index in segments of the `**`, or -1
	verb      string // decoded, or ""
	variables []variable
}

type segmentKind uint8

// The kinds are in the order of precedence: the more specific comes first.
const (
	literalSegment segmentKind = iota
	singleSegment              // `*`: one segment that is not empty
	deepSegment                // `**`: any number of segments, even none, even empty ones
)

// segment is one part of a template between slashes. Variables are kept apart, see variable.
type segment struct {
	kind segmentKind
	text string // of a literal, percent-decoded
}

// variable is a part of a template that is bound to a field.
type variable struct {
	path       string // the field path as written, "a.b"
	start, end int    // the segments it covers: start <= i < end
	// multi says that the variable may cover more than one segment of a path. Then an encoded slash
	// in its value must stay distinguishable from a slash between segments.
	multi bool
}

// String returns the template as it was written.
func (t *Template) String() string { return t.source }

// Variables returns the field paths of the template's variables, in the order in which Match
// returns their values. The caller may change the slice.
func (t *Template) Variables() []string {
	paths := make([]string, len(t.variables))
	for i, v := range t.variables {
		paths[i] = v.path
	}
	return paths
}

// Verb returns the template's custom verb, percent-decoded and without the colon; empty when there
// is none.
func (t *Template) Verb() string { return t.verb }

// compare orders templates by precedence: if two of them match one path, the lesser wins. Zero
// means that they match exactly the same paths.
//
// A template with a verb comes first, since `a:verb` is plain text of the last segment for
// templates without. Then the first segment that differs decides: literal before `*` before `**`.
// If one template ends where the other goes on, both can match a path only if the other goes on
// with `**`, so the end comes first.
func (t *Template) compare(other *Template) int {
	switch {
	case t.verb != other.verb && t.verb == "":
		return 1
	case t.verb != other.verb && other.verb == "":
		return -1
	case t.verb != other.verb:
		return strings.Compare(t.verb, other.verb)
	}
	for i := range min(len(t.segments), len(other.segments)) {
		a, b := t.segments[i], other.segments[i]
		switch {
		case a.kind != b.kind:
			return int(a.kind) - int(b.kind)
		case a.kind == deepSegment:
			return compareTails(t.segments[i+1:], other.segments[i+1:])
		case a.text != b.text:
			return strings.Compare(a.text, b.text)
		}
	}
	return len(t.segments) - len(other.segments)
}

// compareTails orders what follows a `**`: only literals, matched from the end of the path. Two
// tails match the same path only if one ends with the other. The longer one is more specific.
func compareTails(a, b []segment) int {
	if len(a) != len(b) {
		return len(b) - len(a)
	}
	return slices.CompareFunc(a, b, func(a, b segment) int { return strings.Compare(a.text, b.text) })
}
