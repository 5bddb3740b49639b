package transcode

import (
	"math"
)

// WireToJSON takes the wire form of the codec's message and appends the JSON value of this field.
// This is how a response_body is written. An absent field is written as its default, and an absent
// message as null. The rest of the message is read only as far as it takes to find the field.
// Errors are those of Codec.WireToJSON.
func (f *Field) WireToJSON(dst, wire []byte) ([]byte, error) {
	out, _, err := f.wireToJSON(dst, wire, false)
	return out, err
}

// AnswerToJSON is Codec.AnswerToJSON for the value of this field.
func (f *Field) AnswerToJSON(dst, wire []byte) (json []byte, note *RangeError, err error) {
	return f.wireToJSON(dst, wire, true)
}

func (f *Field) wireToJSON(dst, wire []byte, lenient bool) ([]byte, *RangeError, error) {
	f.prepare()
	e := f.root.compiler.newEncoder(wire, dst)
	var note *RangeError
	out, ok := dst, false
	if len(wire) <= math.MaxInt32 {
		out, ok = e.fieldOf(dst, f)
	}
	if !ok || len(out) > e.limit {
		out, note, ok = e.again(dst, lenient, func(out []byte) ([]byte, bool) { return e.fieldOf(out, f) })
	}
	err := e.err
	e.release()
	if !ok {
		return dst, nil, f.settle(err)
	}
	if note != nil {
		note = &RangeError{Path: f.pointer() + note.Path, Reason: note.Reason}
	}
	return out, note, nil
}

// WithEnumNumbers returns the same field of a codec that writes enum values as numbers. See
// Codec.WithEnumNumbers.
func (f *Field) WithEnumNumbers() *Field {
	p := f.root.compiler.withEnumNumbers().program(f.root.md)
	if p.compiler == f.root.compiler {
		return f
	}
	n := &Field{root: p, path: f.path, entry: f.entry, key: f.key, text: f.text, number: f.number}
	for _, g := range f.chain {
		if p.use() != nil { // it does not fail: this field's type was compiled
			return f
		}
		n.chain = append(n.chain, &p.fields[g.index])
		p = n.last().msg
	}
	if f.narrowed != nil {
		if m, err := n.Mask(f.mask); err == nil { // It does not fail: this field has the mask.
			return m
		}
		return f
	}
	return n
}

// fieldOf writes one field of the input.
func (e *encoder) fieldOf(out []byte, f *Field) ([]byte, bool) {
	e.spans = append(e.spans, span{0, len(e.in)})
	base := 0
	m := f.root
	for _, g := range f.chain[:len(f.chain)-1] {
		if !e.find(m, g, base) {
			return out, false
		}
		base = len(e.spans)
		e.contents(g, e.found)
		m = g.msg
		if err := m.use(); err != nil {
			return e.unrepresentable(out, "%v", err)
		}
	}
	if !e.find(m, f.last(), base) {
		return out, false
	}
	before := len(out)
	switch n := len(e.found); {
	case n == 0:
	case f.entry:
		return e.entryOf(out, f)
	default:
		var ok bool
		if out, ok = e.occurrences(out, f.bare, 0, n); !ok {
			return out, false
		}
		out = out[:max(before, len(out)-1)] // without the comma after it, if it was written
	}
	if len(out) == before {
		out = append(out, f.absent...)
	}
	return out, true
}

// find notes where a field is on the wire. The message of the field is in the spans from base on.
func (e *encoder) find(m *program, f *field, base int) bool {
	e.found = e.found[:0]
	c := cursor{span: base, to: len(e.spans)}
	for e.advance(&c) {
		g := m.byNumber(c.tag >> 3)
		if g == nil || !g.takes(c.tag) {
			continue
		}
		switch {
		case g == f:
			e.found = append(e.found, newOccurrence(f, c.tag, c.at, c.p))
		case f.oneof >= 0 && g.oneof == f.oneof:
			e.found = e.found[:0]
		}
	}
	return e.err == nil
}

// entryOf writes the value of one map entry. find has noted where the map is.
func (e *encoder) entryOf(out []byte, f *Field) ([]byte, bool) {
	for i := range e.found {
		from, to := e.payload(e.found[i].place())
		if !e.entry(f.bare, from, to) {
			return out, false
		}
	}
	for i := len(e.entries) - 1; i >= 0; i-- {
		entry := e.entries[i]
		if entry.keyEnd < 0 && entry.key == f.number || entry.keyEnd >= 0 && string(e.in[entry.key:uint64(entry.keyEnd)]) == f.text {
			return e.entryValue(out, f.bare.mapValue, entry)
		}
	}
	return append(out, f.absent...), true
}

// absentText returns the JSON of the field if it is not set.
func (f *Field) absentText(c *Compiler) string {
	g := f.last()
	switch {
	case f.entry:
		g = g.mapValue
	case g.shape == shapeList:
		return "[]"
	case g.shape == shapeMap:
		return "{}"
	}
	if g.msg != nil {
		return "null"
	}
	v := g.fd.Default()
	switch g.kind {
	case kindString:
		text, _ := appendJSONString(nil, []byte(v.String()))
		return string(text)
	case kindBytes:
		return string(appendBase64(nil, v.Bytes()))
	}
	var bits uint64
	switch v := v.Interface().(type) {
	case bool:
		bits = uint64(boolBit(v))
	case float32:
		bits = uint64(math.Float32bits(v))
	case float64:
		bits = math.Float64bits(v)
	default:
		switch g.kind {
		case kindEnum, kindNull:
			bits = uint64(int64(g.fd.Default().Enum()))
		case kindUint32, kindFixed32, kindUint64, kindFixed64:
			bits = g.fd.Default().Uint()
		case kindSint32, kindSint64:
			bits = zigzag(g.fd.Default().Int())
		default:
			bits = uint64(g.fd.Default().Int())
		}
	}
	return string(c.appendScalar(nil, g, bits))
}
