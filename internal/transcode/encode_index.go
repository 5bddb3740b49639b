package transcode

import (
	"cmp"
	"fmt"
	"slices"
)

// An occurrence is one place where a field stands on the wire.
type occurrence struct {
	f     *field
	order uint64 // index of the field, then the place among all occurrences
	tag   uint32
	at    int // where the value begins
	next  int // and where it ends
}

func (o *occurrence) seq() uint64 { return o.order & 0xffffffff }

// oneofState says which member of a oneof was set last, and since when.
type oneofState struct {
	f     *field
	since uint64
}

// indexed writes the fields of a message that stands in e.spans[from:to], whatever their order. It notes all occurrences
// first, brings them in the order in which fields are declared, and merges what stands in several places. Each field
// is written with a comma behind it.
func (e *encoder) indexed(out []byte, m *program, from, to int) ([]byte, bool) {
	base, oneofs := len(e.found), len(e.oneofs)
	for range m.oneofs {
		e.oneofs = append(e.oneofs, oneofState{})
	}
	if !e.index(m, from, to, base, oneofs) {
		return out, false
	}
	out, ok := e.writeIndexed(out, m, base, oneofs)
	e.found = e.found[:base]
	e.oneofs = e.oneofs[:oneofs]
	return out, ok
}

// index notes the occurrences of known fields in the spans, and sorts them.
func (e *encoder) index(m *program, from, to, base, oneofs int) bool {
	c := cursor{span: from, to: to}
	sorted, extended := true, false
	last := uint64(0)
	for seq := uint64(0); e.advance(&c); {
		f := m.byNumber(c.tag >> 3)
		if f == nil && m.ranges {
			var err error
			if f, err = m.extensionByNumber(int32(c.tag >> 3)); err != nil {
				_, ok := e.malformed(c.at, nil, err.Error())
				return ok
			}
		}
		if f == nil || !f.takes(c.tag) {
			continue
		}
		if f.oneof >= 0 {
			if s := &e.oneofs[oneofs+int(f.oneof)]; s.f != f {
				*s = oneofState{f, seq}
			}
		}
		extended = extended || f.index == extensionIndex
		order := uint64(f.index)<<32 | seq
		sorted = sorted && order >= last
		last = order
		e.found = append(e.found, occurrence{f: f, order: order, tag: uint32(c.tag), at: c.at, next: c.p})
		seq++
	}
	if e.err != nil {
		if f := m.byNumber(c.tag >> 3); f != nil && c.at >= 0 {
			within(e.err, f.name)
		}
		return false
	}
	if !sorted || extended {
		slices.SortFunc(e.found[base:], compareOccurrences)
	}
	return true
}

// compareOccurrences orders by the declaration of the fields, extensions last and by their full names, and then by place.
func compareOccurrences(a, b occurrence) int {
	if a.f.index == extensionIndex && b.f.index == extensionIndex && a.f != b.f {
		return cmp.Compare(a.f.fd.FullName(), b.f.fd.FullName())
	}
	return cmp.Compare(a.order, b.order)
}

// writeIndexed writes the fields noted from base on.
func (e *encoder) writeIndexed(out []byte, m *program, base, oneofs int) ([]byte, bool) {
	last := -1
	required := 0
	end := len(e.found)
	for next := base; next < end; {
		i, f := next, e.found[next].f
		for next < end && e.found[next].f == f {
			next++
		}
		j := next
		if f.oneof >= 0 {
			s := e.oneofs[oneofs+int(f.oneof)]
			for i < j && (s.f != f || e.found[i].seq() < s.since) {
				o := e.found[i]
				if !e.validateField(f, uint64(o.tag), o.at, o.next) {
					return e.within(f.name, out)
				}
				i++
			}
			if i == j {
				continue
			}
		}
		if f.required {
			required++
		}
		before := min(int(f.index), len(m.fields))
		out = e.absentFields(out, m.fields[min(last+1, before):before])
		last = int(f.index)
		var ok bool
		if out, ok = e.occurrences(out, f, i, j); !ok {
			return e.within(f.name, out)
		}
	}
	out = e.absentFields(out, m.fields[min(last+1, len(m.fields)):])
	if required < m.required && e.partial == 0 {
		return e.malformed(len(e.in), out, fmt.Sprintf("all required fields of %s", m.md.FullName()))
	}
	return out, true
}

// occurrences writes the field that stands at e.found[i:j].
func (e *encoder) occurrences(out []byte, f *field, i, j int) ([]byte, bool) {
	switch {
	case f.shape == shapeList:
		return e.listOf(out, f, i, j)
	case f.shape == shapeMap:
		base := len(e.entries)
		for ; i < j; i++ {
			from, to := e.payload(e.found[i].at, e.found[i].next)
			if !e.entry(f, from, to) {
				return out, false
			}
		}
		out, ok := e.mapEntries(appendKey(out, f), f, base)
		return append(out, ','), ok
	case f.msg != nil && j-i > 1:
		base := len(e.spans)
		for ; i < j; i++ {
			e.spans = append(e.spans, e.content(f, e.found[i].at, e.found[i].next))
		}
		out, ok := e.merged(appendKey(out, f), f.msg, base, len(e.spans))
		e.spans = e.spans[:base]
		return append(out, ','), ok
	}
	for ; i < j-1; i++ {
		if !e.validateField(f, uint64(e.found[i].tag), e.found[i].at, e.found[i].next) {
			return out, false
		}
	}
	out, _, ok := e.singular(out, f, e.found[i].at, e.found[i].next)
	return out, ok
}

// listOf writes the repeated field that stands at e.found[i:j].
func (e *encoder) listOf(out []byte, f *field, i, j int) ([]byte, bool) {
	before := len(out)
	out = append(appendKey(out, f), '[')
	first := len(out)
	for start := i; i < j; i++ {
		o := e.found[i]
		var ok bool
		if o.tag != f.tag {
			out, _, ok = e.packed(out, f, o.at, o.next)
		} else {
			out, _, ok = e.oneElement(out, f, o.at, o.next, i-start)
		}
		if !ok {
			return out, false
		}
	}
	if len(out) == first {
		return e.absent(out[:before], f), true
	}
	out[len(out)-1] = ']' // in place of the comma behind the last element
	return append(out, ','), true
}
