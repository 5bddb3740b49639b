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
		out, ok := w.fields(append(out, '{'), m, p, end)
		w.depth++
		return closeObject(out), ok
	case m.wkt == wktTimestamp && p < end && w.in[p] == 1<<3|wireVarint:
		seconds, q := readLongVarint(w.in, p+1, end)
		nanos := uint64(0)
		if q > 0 && q < end && w.in[q] == 2<<3|wireVarint {
			nanos, q = readLongVarint(w.in, q+1, end)
		}
		if q == end && uint64(int64(seconds)-minTimestamp) <= maxTimestamp-minTimestamp && nanos < 1e9 {
			return appendTimestamp(out, int64(seconds), int32(nanos)), true
		}
	}
	return w.message(out, m, p, end)
}

// object writes the fields between p and end as an object, with the type URL first if the object stands for an Any.
func (w *writer) object(out []byte, m *program, p, end int, url []byte) ([]byte, bool) {
	out = append(out, '{')
	if url != nil {
		var ok bool
		if out, ok = appendJSONString(append(out, `"@type":`...), url); !ok {
			return w.unrepresentable(out, "invalid UTF-8 in a type URL")
		}
		out = append(out, ',')
	}
	var ok bool
	if w.careful || m.indexed.Load() {
		n := len(w.spans)
		w.spans = append(w.spans, span{p, end})
		out, ok = w.indexed(out, m, n, n+1)
		w.spans = w.spans[:n]
	} else {
		out, ok = w.fields(out, m, p, end)
	}
	return closeObject(out), ok
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
		out, ok = w.indexed(append(out, '{'), m, from, to)
		out = closeObject(out)
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

// grow makes room for n more bytes.
func grow(out []byte, n int) []byte {
	if cap(out)-len(out) < n {
		return growMore(out, n)
	}
	return out
}

//go:noinline
func growMore(out []byte, n int) []byte { return slices.Grow(out, n) }
