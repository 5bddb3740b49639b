package transcode

import (
	"errors"
	"unicode/utf8"
)

// any writes an Any as the message it holds, with its type URL as a member "@type"; or as that URL and a member "value"
// if the type has a JSON form of its own. What is wrong within it is a RangeError, since the Any itself is well formed.
func (w *writer) any(out []byte, from, to int) ([]byte, bool) {
	var url, value span
	c := cursor{span: from, to: to}
	for w.advance(&c) {
		switch c.tag {
		case 1<<3 | wireBytes:
			url.from, url.to = w.payload(c.at, c.p)
			if !utf8.Valid(w.in[url.from:url.to]) {
				return w.malformed(url.from, out, "valid UTF-8")
			}
		case 2<<3 | wireBytes:
			value.from, value.to = w.payload(c.at, c.p)
		}
	}
	if w.err != nil {
		return out, false
	}
	if url.from == url.to {
		if value.from != value.to {
			return w.unrepresentable(out, "google.protobuf.Any without a type URL")
		}
		return append(out, '{', '}'), true
	}
	name := w.in[url.from:url.to]
	m, err := w.c.anyType(name)
	if err != nil {
		return w.unrepresentable(out, "google.protobuf.Any: %v", err)
	}
	w.partial++
	out, ok := w.anyContent(out, m, name, value)
	w.partial--
	if e := (*SyntaxError)(nil); !ok && errors.As(w.err, &e) {
		w.err = &RangeError{trail: e.trail, Reason: "google.protobuf.Any holds no valid " + string(m.md.FullName()) + ": " + e.Error()}
	}
	return out, ok
}

func (w *writer) anyContent(out []byte, m *program, url []byte, value span) ([]byte, bool) {
	if m.wkt == notWellKnown || m.wkt == wktEmpty {
		return w.object(out, m, value.from, value.to, url) // the Any's level and the message's are one level of JSON
	}
	out, ok := w.enter(value.from, out, m)
	if !ok {
		return out, false
	}
	if out, ok = appendJSONString(append(out, `{"@type":`...), url); ok {
		n := len(w.spans)
		w.spans = append(w.spans, value)
		out, ok = w.wellKnown(append(out, `,"value":`...), m, n, n+1)
		w.spans = w.spans[:n]
		out = append(out, '}')
	}
	w.depth++
	return out, ok
}
