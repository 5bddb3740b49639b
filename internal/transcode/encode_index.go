package transcode

import (
	"cmp"
	"slices"
)

// An occurrence is one place where a field is on the wire.
//
// It is small because a message may have one for every two bytes of its wire.
type occurrence struct {
	// key is twice the field's index, plus one if the value is packed.
	key uint32
	// at is where the value begins, and next where it ends. Later occurrences have a larger at.
	at, next int32
}

// place returns where the value of an occurrence begins and ends.
func (o occurrence) place() (at, next int) { return int(o.at), int(o.next) }

// tagOf returns the tag that an occurrence of the field has on the wire.
func (o occurrence) tagOf(f *field) uint64 {
	if o.key&1 != 0 {
		return uint64(f.num)<<3 | wireBytes
	}
	return uint64(f.tag)
}

func newOccurrence(f *field, tag uint64, at, next int) occurrence {
	key := uint32(f.index) << 1
	if uint32(tag) != f.tag {
		key |= 1
	}
	return occurrence{key: key, at: int32(at), next: int32(next)}
}

// oneofState says which member of a oneof was set last, and since when.
type oneofState struct {
	f     *field
	since int // where the value of its first occurrence begins
}

// indexed writes the fields of the message that is in e.spans[from:to], each followed by a comma.
// On the wire they may have any order. indexed first notes all occurrences and sorts them by the
// declaration of their fields. Then it merges the occurrences of each field.
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
	last := uint32(0)
	e.makeRoom(from, to)
	for e.advance(&c) {
		f := m.byNumber(c.tag >> 3)
		if f == nil && m.ranges {
			var err error
			if f, err = m.extensionByNumber(int32(c.tag >> 3)); err != nil && !e.depart("%v", err) {
				_, ok := e.malformed(c.at, nil, err.Error())
				return ok
			}
		}
		if f == nil || !f.takes(c.tag) {
			if m.whole != nil {
				e.noteOther(m, &c, oneofs)
			}
			continue
		}
		if f.oneof >= 0 {
			if s := &e.oneofs[oneofs+int(f.oneof)]; s.f != f {
				*s = oneofState{f, c.at}
			}
		}
		extended = extended || f.index >= extensionIndex
		o := newOccurrence(f, c.tag, c.at, c.p)
		sorted = sorted && o.key>>1 >= last
		last = o.key >> 1
		e.found = append(e.found, o)
	}
	if e.err != nil {
		if f := m.byNumber(c.tag >> 3); f != nil && c.at >= 0 {
			within(e.err, f.name)
		}
		return false
	}
	if !sorted || extended {
		slices.SortFunc(e.found[base:], m.compareOccurrences)
	}
	return true
}

// noteOther notes that a member of a oneof was set that the mask does not name.
func (e *encoder) noteOther(m *program, c *cursor, oneofs int) {
	if g, ok := m.otherMember(c.tag); ok {
		if s := &e.oneofs[oneofs+int(g.oneof)]; s.f != g {
			*s = oneofState{g, c.at}
		}
	}
}

// compareOccurrences orders occurrences by the declaration of their fields, and those of one field
// by place. Extensions come last, by full name.
func (p *program) compareOccurrences(a, b occurrence) int {
	i, j := a.key>>1, b.key>>1
	if i != j {
		if min(i, j) >= extensionIndex {
			return cmp.Compare(p.fieldAt(i).fd.FullName(), p.fieldAt(j).fd.FullName())
		}
		return cmp.Compare(i, j)
	}
	return cmp.Compare(a.at, b.at)
}

// makeRoom allocates the room for what index is about to append, if that is much. Otherwise the
// buffer would grow step by step, and each step would leave garbage.
func (e *encoder) makeRoom(from, to int) {
	size := 0
	for _, s := range e.spans[from:to] {
		size += s.to - s.from
	}
	if size < largeMessage {
		return
	}
	n := 0
	for c := (cursor{span: from, to: to}); e.advance(&c); {
		n++
	}
	if e.err == nil {
		e.found = slices.Grow(e.found, n)
	}
}

// largeMessage is the size in bytes from which on the fields of a message are counted before they
// are noted. It also is the number of occurrences from which on contents counts them.
const largeMessage = 1 << 15

// writeIndexed writes the fields noted from base on.
func (e *encoder) writeIndexed(out []byte, m *program, base, oneofs int) ([]byte, bool) {
	last := -1
	required := 0
	end := len(e.found)
	for next := base; next < end; {
		i, key := next, e.found[next].key>>1
		f := m.fieldAt(key)
		for next < end && e.found[next].key>>1 == key {
			next++
		}
		j := next
		if f.oneof >= 0 {
			s := e.oneofs[oneofs+int(f.oneof)]
			for i < j && (s.f != f || int(e.found[i].at) < s.since) {
				o := e.found[i]
				if at, to := o.place(); !e.validateField(f, o.tagOf(f), at, to) {
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
		return e.missing(len(e.in), out, m)
	}
	return out, true
}

// occurrences writes the field that is at e.found[i:j].
func (e *encoder) occurrences(out []byte, f *field, i, j int) ([]byte, bool) {
	switch {
	case f.shape == shapeList:
		return e.listOf(out, f, i, j)
	case f.shape == shapeMap:
		base := len(e.entries)
		for ; i < j; i++ {
			from, to := e.payload(e.found[i].place())
			if !e.entry(f, from, to) {
				return out, false
			}
		}
		if f.picked != nil && !e.pick(f, base) {
			return e.absent(out, f), true
		}
		out, ok := e.mapEntries(appendKey(out, f), f, base)
		return append(out, ','), ok
	case f.msg != nil && j-i > 1:
		base := len(e.spans)
		e.contents(f, e.found[i:j])
		out, ok := e.merged(appendKey(out, f), f.msg, base, len(e.spans))
		e.spans = e.spans[:base]
		return append(out, ','), ok
	}
	for ; i < j-1; i++ {
		at, next := e.found[i].place()
		if !e.validateField(f, e.found[i].tagOf(f), at, next) {
			return out, false
		}
	}
	at, next := e.found[i].place()
	out, _, ok := e.singular(out, f, at, next)
	return out, ok
}

// contents appends the spans of a message that is in several places. Empty spans add nothing to the
// message and are left out, but at least one span stays.
func (e *encoder) contents(f *field, found []occurrence) {
	base, n := len(e.spans), 0
	if len(found) >= largeMessage {
		for _, o := range found {
			if s := e.content(f, o); s.from < s.to {
				n++
			}
		}
		e.spans = slices.Grow(e.spans, n+1)
	}
	for i, o := range found {
		if s := e.content(f, o); s.from < s.to || i == len(found)-1 && len(e.spans) == base {
			e.spans = append(e.spans, s)
		}
	}
}

// listOf writes the repeated field that is at e.found[i:j].
func (e *encoder) listOf(out []byte, f *field, i, j int) ([]byte, bool) {
	before := len(out)
	out = append(appendKey(out, f), '[')
	first := len(out)
	for start := i; i < j; i++ {
		o := e.found[i]
		var ok bool
		at, next := o.place()
		if o.key&1 != 0 {
			out, _, ok = e.packed(out, f, at, next)
		} else {
			out, _, ok = e.oneElement(out, f, at, next, i-start)
		}
		if !ok {
			return out, false
		}
	}
	if len(out) == first {
		return e.absent(out[:before], f), true
	}
	out[len(out)-1] = ']' // in place of the comma after the last element
	return append(out, ','), true
}
