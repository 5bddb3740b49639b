package transcode

import (
	"fmt"
	"math"
	"slices"
)

// An encoder converts one message on the wire to JSON.
//
// Canonical wire has the fields in the order of their declaration, each in one place. It is written
// in one pass. If a message turns out not to be canonical, the encoder starts again with care: it
// then indexes each message before it writes it. It also remembers the type, so that the next
// message of that type is indexed from the start. Nothing is ever written more than twice.
//
// Methods append to the output, return it, and report success. If they fail, err says why.
type encoder struct {
	c   *Compiler
	in  []byte
	err located

	depth int // how many more messages may be nested
	elems int // how many more elements may be written
	limit int // maximum length of the output
	// partial counts the Any messages around the current value. If it is positive, required fields
	// may be missing.
	partial int

	// careful makes the encoder index every message.
	careful bool

	// lenient makes the encoder write a value without a JSON form as something close to it. See
	// lenient.go.
	lenient bool
	// departures counts the values that were written like that, and departure describes the first
	// one.
	departures int
	departure  string
	// wasted counts the bytes that were read and written for broken content of Anys, in vain.
	wasted int

	spans     []span
	found     []occurrence
	entries   []mapEntry
	oneofs    []oneofState
	groupEnds map[int]groupEnd
}

// A span is a part of the input that holds fields of one message.
type span struct{ from, to int }

func (c *Compiler) newEncoder(in []byte, dst []byte) *encoder {
	e := c.encoders.Get().(*encoder)
	e.in = in[:len(in):len(in)]
	e.reset(len(dst))
	e.careful = false
	e.lenient = false
	return e
}

func (e *encoder) reset(size int) {
	e.err = nil
	e.depth = e.c.opts.MaxWireDepth
	e.elems = e.c.opts.MaxElements
	e.limit = size + e.c.opts.MaxOutput
	e.partial = 0
	e.spans = e.spans[:0]
	e.found = e.found[:0]
	e.entries = e.entries[:0]
	e.oneofs = e.oneofs[:0]
}

func (e *encoder) release() {
	e.in = nil
	e.err = nil
	e.spans = keep(e.spans)
	e.found = keep(e.found)
	e.entries = keep(e.entries)
	e.oneofs = keep(e.oneofs)
	if len(e.groupEnds) > 64 {
		e.groupEnds = nil
	} else {
		clear(e.groupEnds)
	}
	e.c.encoders.Put(e)
}

// document writes the input as a message, in one pass.
func (e *encoder) document(dst []byte, m *program) ([]byte, bool) {
	if len(e.in) > math.MaxInt32 {
		return dst, false
	}
	out, ok := e.message(dst, m, 0, len(e.in))
	return out, ok && len(out) <= e.limit
}

// again calls write after the one pass has failed, and makes it index each message. The order of
// the fields may have been the reason, or a value that a later one replaces. Only this second time
// may be lenient.
func (e *encoder) again(dst []byte, lenient bool, write func(out []byte) ([]byte, bool)) ([]byte, *RangeError, bool) {
	if len(e.in) > math.MaxInt32 {
		out, ok := e.tooLarge(dst)
		return out, nil, ok
	}
	first := e.err
	e.reset(len(dst))
	e.careful, e.lenient = true, lenient
	e.departures, e.departure, e.wasted = 0, "", 0
	out, ok := write(dst)
	note := e.note(first)
	if ok && len(out) > e.limit {
		out, ok = e.tooLarge(out)
	}
	return out, note, ok
}

// malformed sets the error that says what was expected on the wire at p.
func (e *encoder) malformed(p int, out []byte, expected string) ([]byte, bool) {
	e.err = &SyntaxError{Offset: p, Expected: expected}
	return out, false
}

func (e *encoder) within(segment string, out []byte) ([]byte, bool) {
	within(e.err, segment)
	return out, false
}

// unrepresentable sets the error that says why a value has no JSON form.
func (e *encoder) unrepresentable(out []byte, format string, args ...any) ([]byte, bool) {
	e.err = &RangeError{Reason: fmt.Sprintf(format, args...)}
	return out, false
}

func (e *encoder) tooLarge(out []byte) ([]byte, bool) {
	return e.unrepresentable(out, "the JSON form exceeds the limit of size")
}

// element counts one element of a list or entry of a map, and reports whether the limits allow it.
func (e *encoder) element(out []byte) bool {
	e.elems--
	return e.elems >= 0 && len(out) <= e.limit
}

func (e *encoder) tooMany(out []byte) ([]byte, bool) {
	if e.elems >= 0 {
		return e.tooLarge(out)
	}
	return e.unrepresentable(out, "the elements exceed the limit of their number")
}

// stray gives up the one pass, because the message is not canonical.
func (e *encoder) stray(out []byte, m *program) ([]byte, bool) {
	m.indexed.Store(true)
	return out, false
}

// enter goes one message deeper and makes sure that its type is compiled.
func (e *encoder) enter(p int, out []byte, m *program) ([]byte, bool) {
	if e.depth <= 0 {
		return e.malformed(p, out, "nesting within the limit of depth")
	}
	if !m.ready.Load() {
		if err := m.use(); err != nil {
			return e.unrepresentable(out, "%v", err)
		}
	}
	e.depth--
	return out, true
}

// message writes the JSON form of the message between p and end.
func (e *encoder) message(out []byte, m *program, p, end int) ([]byte, bool) {
	out, ok := e.enter(p, out, m)
	if !ok {
		if !e.opaque(m) {
			return out, false
		}
		return e.appendOpaque(out, e.in[p:end]), true
	}
	if m.wkt != notWellKnown && m.wkt != wktEmpty {
		n := len(e.spans)
		e.spans = append(e.spans, span{p, end})
		out, ok = e.wellKnown(out, m, n, n+1)
		e.spans = e.spans[:n]
	} else {
		out, ok = e.object(out, m, p, end, nil)
	}
	e.depth++
	return out, ok
}

// plainMessage is message with a short way for the most common cases: a canonical message without a
// JSON form of its own, and a Timestamp.
func (e *encoder) plainMessage(out []byte, m *program, p, end int) ([]byte, bool) {
	if e.depth <= 0 || !m.ready.Load() {
		return e.message(out, m, p, end)
	}
	switch {
	case m.wkt == notWellKnown && !e.careful && !m.indexed.Load():
		e.depth--
		out, ok := e.fields(append(out, '{'), m, p, end)
		e.depth++
		return closeObject(out), ok
	case m.wkt == wktTimestamp && p < end && e.in[p] == 1<<3|wireVarint:
		seconds, q := readLongVarint(e.in, p+1, end)
		nanos := uint64(0)
		if q > 0 && q < end && e.in[q] == 2<<3|wireVarint {
			nanos, q = readLongVarint(e.in, q+1, end)
		}
		if q == end && uint64(int64(seconds)-minTimestamp) <= maxTimestamp-minTimestamp && nanos < 1e9 {
			return appendTimestamp(out, int64(seconds), int32(nanos)), true
		}
	}
	return e.message(out, m, p, end)
}

// object writes the fields between p and end as an object, with the type URL first if the object
// represents an Any.
func (e *encoder) object(out []byte, m *program, p, end int, url []byte) ([]byte, bool) {
	out = append(out, '{')
	if url != nil {
		// any has made sure that the URL is UTF-8.
		out, _ = appendJSONString(append(out, `"@type":`...), url)
		out = append(out, ',')
	}
	var ok bool
	if e.careful || m.indexed.Load() {
		n := len(e.spans)
		e.spans = append(e.spans, span{p, end})
		out, ok = e.indexed(out, m, n, n+1)
		e.spans = e.spans[:n]
	} else {
		out, ok = e.fields(out, m, p, end)
	}
	return closeObject(out), ok
}

// merged writes a message whose fields are in several spans, e.spans[from:to].
func (e *encoder) merged(out []byte, m *program, from, to int) ([]byte, bool) {
	out, ok := e.enter(e.spans[from].from, out, m)
	if !ok {
		if !e.opaque(m) {
			return out, false
		}
		return e.appendOpaque(out, e.joined(from, to)), true
	}
	if m.wkt != notWellKnown && m.wkt != wktEmpty {
		out, ok = e.wellKnown(out, m, from, to)
	} else {
		out, ok = e.indexed(append(out, '{'), m, from, to)
		out = closeObject(out)
	}
	e.depth++
	return out, ok
}

// tag reads the tag at p. The position is negative if there is none; err then says why.
func (e *encoder) tag(p, end int) (uint64, int) {
	tag, q := readVarint(e.in, p, end)
	if q < 0 || tag>>3 == 0 || tag>>3 > maxFieldNumber {
		e.malformed(p, nil, "a field tag")
		return 0, -1
	}
	return tag, q
}

// payload returns where the payload of a length-delimited field at p begins and ends.
func (e *encoder) payload(p, end int) (int, int) {
	size, q := readVarint(e.in, p, end)
	if q < 0 || size > uint64(end-q) {
		e.malformed(p, nil, "a length within the message")
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
