package transcode

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// A Filter removes hidden fields (see Options.Hidden) from messages of one type that stay on the
// wire. It is immutable and safe for concurrent use.
//
// It looks into every message that may hold a hidden field, and keeps only what it understands
// there. So these go as well:
//
//   - Fields that the schema does not have, and fields with another wire type than the schema's.
//   - The content of an Any whose type is not known. The type URL stays. If an Any is in several
//     places on the wire, as no serializer writes it, each place must have the type.
//   - Fields whose type is missing from the schema or cannot be converted.
//
// A message of a type that cannot hold hidden fields, in itself or in what it contains, stays as it
// is.
type Filter struct {
	program *program
	sieved  bool
}

// Filter returns the filter for a message type. It is nil if no field is hidden.
func (c *Compiler) Filter(md protoreflect.MessageDescriptor) *Filter {
	if c.hidden == nil {
		return nil
	}
	p := c.program(md)
	return &Filter{program: p, sieved: c.sieved(p)}
}

// Passes reports whether all messages of the type stay as they are.
func (f *Filter) Passes() bool { return !f.sieved }

// Hides reports whether a field is hidden.
func (f *Filter) Hides(fd protoreflect.FieldDescriptor) bool { return f.program.compiler.hides(fd) }

// Append appends the message without its hidden fields. If the wire is malformed, or nested too
// deeply, dst is returned at its old length, and the error is a *SyntaxError or says which type
// cannot be looked into. The wire must not be part of dst's spare capacity.
func (f *Filter) Append(dst, wire []byte) ([]byte, error) {
	if !f.sieved {
		return append(dst, wire...), nil
	}
	return f.program.compiler.sift(dst, wire, f.program)
}

// AppendContent appends the content of an Any without its hidden fields. ok is false if the type is
// not known or the content is malformed.
func (f *Filter) AppendContent(dst []byte, url string, content []byte) (out []byte, ok bool) {
	c := f.program.compiler
	p, err := c.anyType([]byte(url))
	if err != nil || p.use() != nil {
		return dst, false
	}
	if !c.sieved(p) {
		return append(dst, content...), true
	}
	out, err = c.sift(dst, content, p)
	return out, err == nil
}

// States of program.sieve.
const (
	sieveUnknown uint32 = iota
	sievePasses
	sieveNeeded
)

// sieved reports whether messages of the type may hold a hidden field. An Any and a message with
// extensions may hold anything.
func (c *Compiler) sieved(p *program) bool {
	if s := p.sieve.Load(); s != sieveUnknown {
		return s == sieveNeeded
	}
	c.sieves.Lock()
	defer c.sieves.Unlock()
	// The types that p leads to, with the types that use each.
	users := map[*program][]*program{p: nil}
	todo := []*program{p}
	var needed []*program // Their users are still to be visited.
	for len(todo) > 0 {
		q := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		switch q.sieve.Load() {
		case sievePasses:
			continue
		case sieveNeeded:
			needed = append(needed, q)
			continue
		}
		if q.use() != nil || q.wkt == wktAny || q.ranges || len(q.fields) < q.md.Fields().Len() {
			q.sieve.Store(sieveNeeded)
			needed = append(needed, q)
		}
		for i := range q.fields {
			used := q.fields[i].message()
			if used == nil {
				continue
			}
			if _, known := users[used]; !known {
				todo = append(todo, used)
			}
			users[used] = append(users[used], q)
		}
	}
	for len(needed) > 0 {
		q := needed[len(needed)-1]
		needed = needed[:len(needed)-1]
		for _, user := range users[q] {
			if user.sieve.CompareAndSwap(sieveUnknown, sieveNeeded) {
				needed = append(needed, user)
			}
		}
	}
	for q := range users {
		q.sieve.CompareAndSwap(sieveUnknown, sievePasses)
	}
	return p.sieve.Load() == sieveNeeded
}

// message returns the type of the messages in a field, or nil if it has none.
func (f *field) message() *program {
	if f.shape == shapeMap {
		return f.mapValue.msg
	}
	return f.msg
}

// sift appends a message without its hidden fields.
func (c *Compiler) sift(dst, wire []byte, p *program) ([]byte, error) {
	if len(wire) > math.MaxInt32 {
		return dst, errors.New("the message is larger than 2 GiB")
	}
	e := c.newEncoder(wire, dst)
	defer e.release()
	out, ok := e.sift(dst, p, 0, len(wire))
	if !ok {
		return dst, settled(e.err)
	}
	return out, nil
}

// sift appends what may be seen of the message between p and end.
func (e *encoder) sift(out []byte, m *program, p, end int) ([]byte, bool) {
	out, ok := e.enter(p, out, m)
	if !ok {
		return out, false
	}
	if m.wkt == wktAny {
		out, ok = e.siftAny(out, p, end)
	} else {
		out, ok = e.siftFields(out, m, p, end)
	}
	e.depth++
	return out, ok
}

func (e *encoder) siftFields(out []byte, m *program, p, end int) ([]byte, bool) {
	kept := p // From here on nothing was appended yet, and all of it stays.
	for p < end {
		start := p
		tag, at := e.tag(p, end)
		if at < 0 {
			return out, false
		}
		if p = e.skip(at, end, tag); p < 0 {
			return out, false
		}
		f, err := e.shownField(m, tag)
		if err != nil {
			return e.malformed(start, out, err.Error())
		}
		inner := (*program)(nil)
		if f != nil {
			if inner = f.message(); inner == nil || !e.c.sieved(inner) {
				continue
			}
		}
		out = append(out, e.in[kept:start]...)
		kept = p
		if f == nil || inner.use() != nil {
			continue
		}
		out = append(out, e.in[start:at]...)
		var ok bool
		if out, ok = e.siftField(out, f, inner, at, p); !ok {
			return e.within(f.name, out)
		}
	}
	return append(out, e.in[kept:end]...), true
}

// shownField returns the field that a value with the tag belongs to. It is nil if the field is
// hidden, if the schema does not have it, or if the value has another wire type.
func (e *encoder) shownField(m *program, tag uint64) (*field, error) {
	f := m.byNumber(tag >> 3)
	if f == nil && m.ranges {
		var err error
		if f, err = m.extensionByNumber(int32(tag >> 3)); err != nil {
			return nil, err
		}
	}
	if f == nil || !f.takes(tag) {
		return nil, nil
	}
	return f, nil
}

// siftField appends a field that may hold a hidden one. Its value reaches from p to next, and its
// tag was appended.
func (e *encoder) siftField(out []byte, f *field, inner *program, p, next int) ([]byte, bool) {
	if f.kind == kindGroup {
		to, _ := e.group(p, next, uint64(f.num))
		out, ok := e.sift(out, inner, p, to)
		return append(out, e.in[to:next]...), ok
	}
	from, to := e.payload(p, next)
	out, start := beginSized(out, to-from)
	var ok bool
	if f.shape == shapeMap {
		out, ok = e.siftEntry(out, f, inner, from, to)
	} else {
		out, ok = e.sift(out, inner, from, to)
	}
	return endSized(out, start), ok
}

// siftEntry appends the map entry between p and end. Its value may hold a hidden field.
func (e *encoder) siftEntry(out []byte, f *field, inner *program, p, end int) ([]byte, bool) {
	for p < end {
		start := p
		tag, at := e.tag(p, end)
		if at < 0 {
			return out, false
		}
		if p = e.skip(at, end, tag); p < 0 {
			return out, false
		}
		switch uint32(tag) {
		case f.mapKey.tag:
			out = append(out, e.in[start:p]...)
		case f.mapValue.tag:
			out = append(out, e.in[start:at]...)
			var ok bool
			if out, ok = e.siftField(out, f.mapValue, inner, at, p); !ok {
				return out, false
			}
		}
	}
	return out, true
}

// siftAny appends the Any between p and end. It writes both of its fields, even empty ones. If the
// message has the Any in several places, the reader merges them field by field. An empty content
// then makes sure that no content is read as a message of another type than that of its filter.
func (e *encoder) siftAny(out []byte, p, end int) ([]byte, bool) {
	var url, value span
	for p < end {
		tag, at := e.tag(p, end)
		if at < 0 {
			return out, false
		}
		if p = e.skip(at, end, tag); p < 0 {
			return out, false
		}
		switch tag {
		case 1<<3 | wireBytes:
			url.from, url.to = e.payload(at, p)
		case 2<<3 | wireBytes:
			value.from, value.to = e.payload(at, p)
		}
	}
	if url.from == 0 && value.from == 0 {
		return out, true // The Any is empty, and changes nothing.
	}
	out = append(out, 1<<3|wireBytes)
	out = appendVarint(out, uint64(url.to-url.from))
	out = append(out, e.in[url.from:url.to]...)
	out = append(out, 2<<3|wireBytes)
	m, err := e.c.anyType(e.in[url.from:url.to])
	if err != nil || m.use() != nil {
		return append(out, 0), true
	}
	if !e.c.sieved(m) {
		out = appendVarint(out, uint64(value.to-value.from))
		return append(out, e.in[value.from:value.to]...), true
	}
	out, start := beginSized(out, value.to-value.from)
	out, ok := e.sift(out, m, value.from, value.to)
	if !ok {
		return e.within(fmt.Sprintf("[%s]", m.md.FullName()), out)
	}
	return endSized(out, start), true
}

// beginSized leaves room for the length of a message that is appended next. size is a guess of it.
// The result is passed to endSized.
func beginSized(out []byte, size int) (grown []byte, start int) {
	var room [maxVarint]byte
	return append(out, room[:varintSize(uint64(size))]...), len(out)<<4 | varintSize(uint64(size))
}

// endSized fills in the length of a message that was appended after beginSized.
func endSized(out []byte, start int) []byte {
	at, room := start>>4, start&15
	size := len(out) - at - room
	var text [maxVarint]byte
	n := binary.PutUvarint(text[:], uint64(size))
	if n > room {
		out = append(out, text[:n-room]...)
	}
	if n != room {
		copy(out[at+n:at+n+size], out[at+room:at+room+size])
		out = out[:at+n+size]
	}
	copy(out[at:], text[:n])
	return out
}
