package transcode

import (
	"fmt"
	"slices"
)

// A writer converts one message on the wire to JSON.
//
// Canonical wire has the fields in the order they are declared in, each in one place, and is written in one pass. When a
// message is found to be otherwise, the writer starts anew with care: it then indexes each message before it writes it. The
// type is remembered to be such, so that the next message of the type is indexed from the start. Nothing is ever written
// more than twice.
//
// Methods append to the output and return it, and report success; err says why if there is none.
type writer struct {
	c       *Compiler
	in      []byte
	err     located
	depth   int // levels of messages that may still be opened
	elems   int // elements that may still be written
	limit   int // length that the output may reach
	partial int // if positive, required fields need not be set; counts the Any messages around

	careful bool // index every message

	spans     []span
	found     []occurrence
	entries   []mapEntry
	oneofs    []oneofState
	groupEnds map[int]groupEnd
}

// A span is a part of the input that holds fields of one message.
type span struct{ from, to int }

func (c *Compiler) newWriter(in []byte, dst []byte) *writer {
	w := c.writers.Get().(*writer)
	w.in = in[:len(in):len(in)]
	w.reset(len(dst))
	w.careful = false
	return w
}

func (w *writer) reset(size int) {
	w.err = nil
	w.depth = w.c.opts.MaxDepth
	w.elems = w.c.opts.MaxElements
	w.limit = size + w.c.opts.MaxOutput
	w.partial = 0
	w.spans = w.spans[:0]
	w.found = w.found[:0]
	w.entries = w.entries[:0]
	w.oneofs = w.oneofs[:0]
}

func (w *writer) release() {
	w.in = nil
	w.err = nil
	w.spans = keep(w.spans)
	w.found = keep(w.found)
	w.entries = keep(w.entries)
	w.oneofs = keep(w.oneofs)
	if len(w.groupEnds) > 64 {
		w.groupEnds = nil
	} else {
		clear(w.groupEnds)
	}
	w.c.writers.Put(w)
}

// document writes the input as a message: in one pass or, if that fails, with care. That may be for the order of the
// fields, or for a value that a later one replaces.
func (w *writer) document(dst []byte, m *program) ([]byte, bool) {
	out, ok := w.message(dst, m, 0, len(w.in))
	if !ok && !w.careful {
		w.reset(len(dst))
		w.careful = true
		out, ok = w.message(dst, m, 0, len(w.in))
	}
	if ok && len(out) > w.limit {
		return w.tooLarge(out)
	}
	return out, ok
}

// malformed notes that the wire is broken at p.
func (w *writer) malformed(p int, out []byte, expected string) ([]byte, bool) {
	w.err = &SyntaxError{Offset: p, Expected: expected}
	return out, false
}

func (w *writer) within(segment string, out []byte) ([]byte, bool) {
	within(w.err, segment)
	return out, false
}

// unrepresentable notes that a value has no JSON form.
func (w *writer) unrepresentable(out []byte, format string, args ...any) ([]byte, bool) {
	w.err = &RangeError{Reason: fmt.Sprintf(format, args...)}
	return out, false
}

func (w *writer) tooLarge(out []byte) ([]byte, bool) {
	return w.unrepresentable(out, "the JSON form exceeds the limit of size")
}

// element counts one element of a list or entry of a map, and reports whether the limits allow it.
func (w *writer) element(out []byte) bool {
	w.elems--
	return w.elems >= 0 && len(out) <= w.limit
}

func (w *writer) tooMany(out []byte) ([]byte, bool) {
	if w.elems >= 0 {
		return w.tooLarge(out)
	}
	return w.unrepresentable(out, "the elements exceed the limit of their number")
}

// stray gives the one pass up, because the message is not canonical.
func (w *writer) stray(out []byte, m *program) ([]byte, bool) {
	m.indexed.Store(true)
	return out, false
}

// enter goes one message deeper and makes sure that its type is compiled.
func (w *writer) enter(p int, out []byte, m *program) ([]byte, bool) {
	if w.depth <= 0 {
		return w.malformed(p, out, "nesting within the limit of depth")
	}
	if !m.ready.Load() {
		if err := m.use(); err != nil {
			return w.unrepresentable(out, "%v", err)
		}
	}
	w.depth--
	return out, true
}

// message writes the JSON form of the message between p and end.
func (w *writer) message(out []byte, m *program, p, end int) ([]byte, bool) {
	out, ok := w.enter(p, out, m)
	if !ok {
		return out, false
	}
	if m.wkt != notWellKnown && m.wkt != wktEmpty {
		n := len(w.spans)
		w.spans = append(w.spans, span{p, end})
		out, ok = w.wellKnown(out, m, n, n+1)
		w.spans = w.spans[:n]
	} else {
		out, ok = w.object(out, m, p, end, nil)
	}
	w.depth++
	return out, ok
}

// plainMessage is message, with a short way for what is most common: a canonical message that has no JSON form of its own, and
// a Timestamp.
func (w *writer) plainMessage(out []byte, m *program, p, end int) ([]byte, bool) {
	if w.depth <= 0 || !m.ready.Load() {
		return w.message(out, m, p, end)
	}
	switch {
	case m.wkt == notWellKnown && !w.careful && !m.indexed.Load():
		w.depth--
		out, ok := w.fields(append(out, '{'), m, p, end, 1)
		w.depth++
		return append(out, '}'), ok
	case m.wkt == wktTimestamp && p < end && w.in[p] == 1<<3|wireVarint:
		seconds, q := readVarint(w.in, p+1, end)
		nanos := uint64(0)
		if q > 0 && q < end && w.in[q] == 2<<3|wireVarint {
			nanos, q = readVarint(w.in, q+1, end)
		}
		if q == end {
			return w.timestamp(out, int64(seconds), int32(nanos))
		}
	}
	return w.message(out, m, p, end)
}

// object writes the fields between p and end as an object, with the type URL first if the object stands for an Any.
func (w *writer) object(out []byte, m *program, p, end int, url []byte) ([]byte, bool) {
	out = append(out, '{')
	skip := 1
	if url != nil {
		var ok bool
		if out, ok = appendJSONString(append(out, `"@type":`...), url); !ok {
			return w.unrepresentable(out, "invalid UTF-8 in a type URL")
		}
		skip = 0
	}
	var ok bool
	if w.careful || m.indexed.Load() {
		n := len(w.spans)
		w.spans = append(w.spans, span{p, end})
		out, ok = w.indexed(out, m, n, n+1, skip)
		w.spans = w.spans[:n]
	} else {
		out, ok = w.fields(out, m, p, end, skip)
	}
	return append(out, '}'), ok
}

// merged writes a message whose fields stand in several spans, w.spans[from:to].
func (w *writer) merged(out []byte, m *program, from, to int) ([]byte, bool) {
	out, ok := w.enter(w.spans[from].from, out, m)
	if !ok {
		return out, false
	}
	if m.wkt != notWellKnown && m.wkt != wktEmpty {
		out, ok = w.wellKnown(out, m, from, to)
	} else {
		out, ok = w.indexed(append(out, '{'), m, from, to, 1)
		out = append(out, '}')
	}
	w.depth++
	return out, ok
}

// tag reads the tag at p. The position is negative if there is none; err then says why.
func (w *writer) tag(p, end int) (uint64, int) {
	tag, q := readVarint(w.in, p, end)
	if q < 0 || tag>>3 == 0 || tag>>3 > maxFieldNumber {
		w.malformed(p, nil, "a field tag")
		return 0, -1
	}
	return tag, q
}

// payload returns where the payload of a length-delimited field at p begins and ends.
func (w *writer) payload(p, end int) (int, int) {
	size, q := readVarint(w.in, p, end)
	if q < 0 || size > uint64(end-q) {
		w.malformed(p, nil, "a length within the message")
		return 0, -1
	}
	return q, q + int(size)
}

// fields writes the fields between p and end in one pass. Each field is written behind a comma; skip is 1 if the first is
// to go without.
func (w *writer) fields(out []byte, m *program, p, end, skip int) ([]byte, bool) {
	in := w.in
	last := -1
	required := 0
	var oneofs uint64
	defaults := w.c.opts.EmitDefaults
	for p < end {
		start := p
		tag := uint64(in[p])
		p++
		if tag >= 0x80 || tag < 8 {
			if tag, p = w.tag(start, end); p < 0 {
				return out, false
			}
		}
		f := m.byNumber(tag >> 3)
		if f == nil {
			if m.ranges {
				if x, err := m.extensionByNumber(int32(tag >> 3)); err != nil {
					return w.malformed(start, out, err.Error())
				} else if x != nil {
					return w.stray(out, m)
				}
			}
			if p = w.skip(p, end, tag); p < 0 {
				return out, false
			}
			continue
		}
		if !f.takes(tag) {
			if p = w.skip(p, end, tag); p < 0 {
				return w.within(f.name, out)
			}
			continue
		}
		i := int(f.index)
		if i <= last {
			return w.stray(out, m)
		}
		if defaults {
			out, skip = appendZeros(out, m.fields[last+1:i], skip)
		}
		last = i
		if f.oneof >= 0 {
			if f.oneof >= 64 || oneofs&(1<<uint(f.oneof)) != 0 {
				return w.stray(out, m)
			}
			oneofs |= 1 << uint(f.oneof)
		}
		if f.required {
			required++
		}
		var ok bool
		before := len(out)
		switch f.shape {
		case shapeSingular:
			out, p, ok = w.singular(out, f, p, end, skip)
		case shapeList:
			out, p, ok = w.list(out, f, p, end, tag, skip)
		default:
			out, p, ok = w.mapRun(out, f, p, end, skip)
		}
		if !ok {
			return w.within(f.name, out)
		}
		if len(out) > before {
			skip = 0
		}
	}
	if defaults {
		out, _ = appendZeros(out, m.fields[last+1:], skip)
	}
	if required < m.required && w.partial == 0 {
		return w.malformed(end, out, fmt.Sprintf("all required fields of %s", m.md.FullName()))
	}
	return out, true
}

// appendZeros appends the absent fields that EmitDefaults writes, and returns what skip is then.
func appendZeros(out []byte, fields []field, skip int) ([]byte, int) {
	for i := range fields {
		if zero := fields[i].zero; zero != "" {
			out = append(out, zero[skip:]...)
			skip = 0
		}
	}
	return out, skip
}

// appendKey appends the name of a field and the colon, behind a comma unless skip is 1.
func appendKey(out []byte, f *field, skip int) []byte {
	if f.keySize > 0 && cap(out)-len(out) >= len(f.keyWords) {
		n := len(out) - skip
		if skip == 0 || n >= 0 {
			first := byte(0)
			if skip == 1 {
				first = out[n]
			}
			*(*[len(f.keyWords)]byte)(out[n : n+len(f.keyWords)]) = f.keyWords
			if skip == 1 {
				out[n] = first
			}
			return out[:n+int(f.keySize)]
		}
	}
	return append(out, f.key[skip:]...)
}

// singular writes the field at p, whose wire type is right. A zero without presence is not written, or as the default.
func (w *writer) singular(out []byte, f *field, p, end, skip int) ([]byte, int, bool) {
	if f.kind < kindString {
		var v uint64
		q := p + 1
		if f.fixed == 0 && p < end && w.in[p] < 0x80 {
			v = uint64(w.in[p])
		} else if v, q = w.bits(f, p, end); q < 0 {
			return out, p, false
		}
		if f.implicit && f.isZero(v) {
			return w.absent(out, f, skip), q, true
		}
		return w.c.appendScalar(appendKey(out, f, skip), f, v), q, true
	}
	if f.implicit && p < end && w.in[p] == 0 {
		return w.absent(out, f, skip), p + 1, true
	}
	if f.kind == kindString && p < end && w.in[p] < 0x80 {
		if from, to := p+1, p+1+int(w.in[p]); to <= end {
			out, ok := appendJSONString(appendKey(out, f, skip), w.in[from:to])
			if !ok {
				out, ok = w.invalid(out, f, from)
			}
			return out, to, ok
		}
	}
	return w.value(appendKey(out, f, skip), f, p, end)
}

// value writes the value at p, whose wire type is right, and returns the position after it.
func (w *writer) value(out []byte, f *field, p, end int) ([]byte, int, bool) {
	switch f.kind {
	case kindString, kindBytes, kindMessage:
		from, to := w.payload(p, end)
		if to < 0 {
			return out, p, false
		}
		ok := true
		switch f.kind {
		case kindString:
			out, ok = w.str(out, f, from, to)
		case kindBytes:
			out = appendBase64(out, w.in[from:to])
		default:
			out, ok = w.plainMessage(out, f.msg, from, to)
		}
		return out, to, ok
	case kindGroup:
		to, next := w.group(p, end, uint64(f.num))
		if next < 0 {
			return out, p, false
		}
		out, ok := w.message(out, f.msg, p, to)
		return out, next, ok
	}
	v, q := w.bits(f, p, end)
	if q < 0 {
		return out, p, false
	}
	return w.c.appendScalar(out, f, v), q, true
}

// isZero reports whether what the wire says for a number is the kind's zero.
func (f *field) isZero(v uint64) bool {
	switch f.kind {
	case kindInt32, kindSint32, kindUint32, kindEnum, kindNull:
		return uint32(v) == 0
	default:
		return v == 0
	}
}

// absent writes what stands for a field that is set to its default.
func (w *writer) absent(out []byte, f *field, skip int) []byte {
	if !w.c.opts.EmitDefaults || f.zero == "" {
		return out
	}
	return append(out, f.zero[skip:]...)
}

// bits reads a number, bool or enum at p.
func (w *writer) bits(f *field, p, end int) (uint64, int) {
	switch f.fixed {
	case 0:
		v, q := readVarint(w.in, p, end)
		if q < 0 {
			w.malformed(p, nil, "a varint")
		}
		return v, q
	case 4:
		if end-p < 4 {
			w.malformed(p, nil, "four bytes")
			return 0, -1
		}
		return uint64(load32(w.in, p)), p + 4
	default:
		if end-p < 8 {
			w.malformed(p, nil, "eight bytes")
			return 0, -1
		}
		return load64(w.in, p), p + 8
	}
}

// str writes the string between from and to.
func (w *writer) str(out []byte, f *field, from, to int) ([]byte, bool) {
	out, ok := appendJSONString(out, w.in[from:to])
	if ok {
		return out, true
	}
	return w.invalid(out, f, from)
}

// invalid notes that the string from there on is no UTF-8.
func (w *writer) invalid(out []byte, f *field, from int) ([]byte, bool) {
	if f.utf8 {
		return w.malformed(from, out, "valid UTF-8")
	}
	return w.unrepresentable(out, "invalid UTF-8")
}

// grow makes room for n more bytes.
func grow(out []byte, n int) []byte {
	if cap(out)-len(out) < n {
		return slices.Grow(out, n)
	}
	return out
}
