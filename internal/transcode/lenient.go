package transcode

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// A lenient encoder writes a value without a JSON form as something close to it, so that the rest
// of the message is not lost. It writes all other values in their JSON form.

// depart notes that the value at hand is written in a form that ProtoJSON does not know. It reports
// whether the encoder is lenient, which means that this may be done.
func (e *encoder) depart(format string, args ...any) bool {
	if !e.lenient {
		return false
	}
	if e.departures++; e.departures == 1 {
		e.departure = fmt.Sprintf(format, args...)
	}
	return true
}

// note describes the departures. It returns nil if there were none. first is the error of the
// strict pass, which knows the place.
func (e *encoder) note(first located) *RangeError {
	if e.departures == 0 {
		return nil
	}
	note := &RangeError{Reason: e.departure}
	if first != nil {
		first.settle()
		var rng *RangeError
		var syntax *SyntaxError
		switch {
		case errors.As(first, &rng):
			note = rng
		case errors.As(first, &syntax):
			note = &RangeError{Path: syntax.Path, Reason: e.departure}
		}
	}
	if e.departures > 1 {
		note.Reason += fmt.Sprintf(" (and %d more)", e.departures-1)
	}
	return note
}

// missing handles a message without a required field. A lenient encoder writes the other fields.
func (e *encoder) missing(p int, out []byte, m *program) ([]byte, bool) {
	if e.depart("a required field of %s is missing", m.md.FullName()) {
		return out, true
	}
	return e.malformed(p, out, fmt.Sprintf("all required fields of %s", m.md.FullName()))
}

// appendOpaque writes a message whose type cannot be converted as the base64 of its wire. If fields
// are hidden, the text is empty, because the message may hold some.
func (e *encoder) appendOpaque(out, wire []byte) []byte {
	if e.c.hidden != nil {
		wire = nil
	}
	return appendBase64(out, wire)
}

// opaque reports whether a message whose type cannot be converted is written by appendOpaque.
func (e *encoder) opaque(m *program) bool {
	err := m.use()
	if err == nil || !e.depart("%v", err) {
		return false
	}
	e.err = nil
	return true
}

// joined returns the wire of the message that is in e.spans[from:to].
func (e *encoder) joined(from, to int) []byte {
	var wire []byte
	for _, s := range e.spans[from:to] {
		wire = append(wire, e.in[s.from:s.to]...)
	}
	return wire
}

// rawAny writes an Any whose content cannot be converted. It writes the type URL and the base64 of
// the content. If fields are hidden, the content is left out, because it may hold some.
func (e *encoder) rawAny(out, url []byte, value span) []byte {
	out = appendValidText(append(out, `{"@type":`...), url)
	if e.c.hidden != nil {
		return append(out, '}')
	}
	out = appendBase64(append(out, `,"value":`...), e.in[value.from:value.to])
	return append(out, '}')
}

// maxWasted plus the size of the input is how many bytes may be read and written for broken content
// of Anys, in vain. Anys may be nested, and each may turn out to be broken at its end.
const maxWasted = 1 << 16

// An encoderMark is a state of the encoder that it can go back to.
type encoderMark struct {
	depth, partial, spans, found, entries, oneofs int
}

func (e *encoder) mark() encoderMark {
	return encoderMark{e.depth, e.partial, len(e.spans), len(e.found), len(e.entries), len(e.oneofs)}
}

func (e *encoder) backTo(m encoderMark) {
	e.err = nil
	e.depth, e.partial = m.depth, m.partial
	e.spans, e.found = e.spans[:m.spans], e.found[:m.found]
	e.entries, e.oneofs = e.entries[:m.entries], e.oneofs[:m.oneofs]
}

// appendValidText appends s as a JSON string, with U+FFFD for each byte that is not UTF-8.
func appendValidText(out, s []byte) []byte {
	text := make([]byte, 0, len(s)+len(s)/2)
	for len(s) > 0 {
		r, n := utf8.DecodeRune(s)
		text = utf8.AppendRune(text, r)
		s = s[n:]
	}
	out, _ = appendJSONString(out, text)
	return out
}

// nearestTimestamp returns the same time with nanoseconds from 0 to 999,999,999, or the first or
// the last time that JSON has.
func (e *encoder) nearestTimestamp(seconds int64, nanos int32) (int64, int32) {
	s, n := seconds, nanos
	if n < 0 || n > 999_999_999 {
		carry := int64(n / 1e9)
		if n %= 1e9; n < 0 {
			n += 1e9
			carry--
		}
		s = addSeconds(s, carry)
	}
	switch {
	case s < minTimestamp:
		s, n = minTimestamp, 0
	case s > maxTimestamp:
		s, n = maxTimestamp, 999_999_999
	}
	if s != seconds || n != nanos {
		e.depart("timestamp of %d seconds and %d nanoseconds", seconds, nanos)
	}
	return s, n
}

// nearestDuration returns the same duration with seconds and nanoseconds of one sign, or the lowest
// or the highest duration that JSON has.
func (e *encoder) nearestDuration(seconds int64, nanos int32) (int64, int32) {
	s, n := addSeconds(seconds, int64(nanos/1e9)), nanos%1e9
	switch {
	case s > 0 && n < 0:
		s, n = s-1, n+1e9
	case s < 0 && n > 0:
		s, n = s+1, n-1e9
	}
	switch {
	case s < -maxDuration:
		s, n = -maxDuration, 0
	case s > maxDuration:
		s, n = maxDuration, 0
	}
	if s != seconds || n != nanos {
		e.depart("duration of %d seconds and %d nanoseconds", seconds, nanos)
	}
	return s, n
}

// addSeconds adds a few seconds. If the sum overflows, it returns seconds, which are far out of
// range then.
func addSeconds(seconds, few int64) int64 {
	if sum := seconds + few; (sum > seconds) == (few > 0) {
		return sum
	}
	return seconds
}

// oddPath handles a path of a FieldMask that has no form in lowerCamelCase. It writes the path as
// it is, if RawMaskPaths or a lenient encoder allows that.
func (e *encoder) oddPath(out, path []byte) ([]byte, bool) {
	reads := e.c.opts.RawMaskPaths && rawPath(path) && !camelPath(path)
	if !reads && !e.depart("field mask path %q has no form in lowerCamelCase", excerpt(path, len(path))) {
		return out, false
	}
	quoted := appendValidText(nil, path)
	return append(out, quoted[1:len(quoted)-1]...), true
}
