package transcode

import (
	"errors"
	"unicode/utf8"
)

// any writes an Any as the object of the message that it holds, with the type URL as the first
// member "@type". If the type has a JSON form of its own, the object has only "@type" and a member
// "value" with that form. Broken content is a RangeError, because the Any itself is well formed.
func (e *encoder) any(out []byte, from, to int) ([]byte, bool) {
	var url, value span
	c := cursor{span: from, to: to}
	for e.advance(&c) {
		switch c.tag {
		case 1<<3 | wireBytes:
			url.from, url.to = e.payload(c.at, c.p)
			// A URL that a later one replaces must be valid, too.
			if !e.lenient && !utf8.Valid(e.in[url.from:url.to]) {
				return e.malformed(url.from, out, "valid UTF-8")
			}
		case 2<<3 | wireBytes:
			value.from, value.to = e.payload(c.at, c.p)
		}
	}
	if e.err != nil {
		return out, false
	}
	name := e.in[url.from:url.to]
	if !utf8.Valid(name) && e.depart("invalid UTF-8 in a type URL") {
		return e.rawAny(out, name, value), true
	}
	if len(name) == 0 {
		switch {
		case value.from == value.to:
			return append(out, '{', '}'), true
		case e.depart("google.protobuf.Any without a type URL"):
			return e.rawAny(out, name, value), true
		}
		return e.unrepresentable(out, "google.protobuf.Any without a type URL")
	}
	m, err := e.c.anyType(name)
	if err != nil {
		if e.depart("google.protobuf.Any: %v", err) {
			return e.rawAny(out, name, value), true
		}
		return e.unrepresentable(out, "google.protobuf.Any: %v", err)
	}
	before := e.mark()
	size := len(out)
	e.partial++
	out, ok := e.anyContent(out, m, name, value)
	e.partial--
	if syntax := (*SyntaxError)(nil); !ok && errors.As(e.err, &syntax) {
		reason := "google.protobuf.Any holds no valid " + string(m.md.FullName()) + ": " + syntax.Error()
		if e.wasted += len(out) - size + value.to - value.from; e.wasted <= maxWasted+len(e.in) && e.depart("%s", reason) {
			e.backTo(before)
			return e.rawAny(out[:size], name, value), true
		}
		e.err = &RangeError{trail: syntax.trail, Reason: reason}
	}
	return out, ok
}

func (e *encoder) anyContent(out []byte, m *program, url []byte, value span) ([]byte, bool) {
	if m.wkt == notWellKnown || m.wkt == wktEmpty {
		// The Any and the message in it are one level of JSON, and count as one.
		return e.object(out, m, value.from, value.to, url)
	}
	out, ok := e.enter(value.from, out, m)
	if !ok {
		return out, false
	}
	if out, ok = appendJSONString(append(out, `{"@type":`...), url); ok {
		n := len(e.spans)
		e.spans = append(e.spans, value)
		out, ok = e.wellKnown(append(out, `,"value":`...), m, n, n+1)
		e.spans = e.spans[:n]
		out = append(out, '}')
	}
	e.depth++
	return out, ok
}
