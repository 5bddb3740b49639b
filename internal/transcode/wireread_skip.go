package transcode

import (
	"math"
	"unicode/utf8"
)

// maxGroups is how deeply groups that are passed over may be nested, as in protowire.
const maxGroups = 10_000

// A groupEnd is where the content of a group ends, and where its end tag does.
type groupEnd struct{ to, next int }

// skip passes over the value behind a tag and returns the position after it, which is negative if the wire is broken.
func (w *writer) skip(p, end int, tag uint64) int {
	switch tag & 7 {
	case wireVarint:
		_, q := readVarint(w.in, p, end)
		if q < 0 {
			w.malformed(p, nil, "a varint")
		}
		return q
	case wireFixed64:
		if end-p >= 8 {
			return p + 8
		}
	case wireFixed32:
		if end-p >= 4 {
			return p + 4
		}
	case wireBytes:
		_, to := w.payload(p, end)
		return to
	case wireStartGroup:
		_, next := w.group(p, end, tag>>3)
		return next
	}
	w.malformed(p, nil, "a whole value of wire type "+wireTypeName(tag&7))
	return -1
}

// group returns where the content of the group that starts at p ends, and the position after its end tag. Groups within
// it are noted, so that none is searched twice however deeply they are nested.
func (w *writer) group(p, end int, num uint64) (int, int) {
	if e, ok := w.groupEnds[p]; ok {
		return e.to, e.next
	}
	type open struct {
		num  uint64
		from int
	}
	var few [16]open
	stack := append(few[:0], open{num, p})
	for {
		at := p
		// Field numbers are not checked as closely as in messages: the group may be unknown.
		tag, q := readVarint(w.in, p, end)
		if q < 0 || tag>>3 == 0 || tag>>3 > math.MaxInt32 {
			w.malformed(p, nil, "a field tag")
			return -1, -1
		}
		p = q
		switch tag & 7 {
		case wireStartGroup:
			if len(stack) > maxGroups {
				w.malformed(at, nil, "groups within the limit of depth")
				return -1, -1
			}
			stack = append(stack, open{tag >> 3, p})
			continue
		case wireEndGroup:
			top := stack[len(stack)-1]
			if top.num != tag>>3 {
				w.malformed(at, nil, "the end of the group that is open")
				return -1, -1
			}
			stack = stack[:len(stack)-1]
			if len(stack) == 0 {
				return at, p
			}
			if w.groupEnds == nil {
				w.groupEnds = make(map[int]groupEnd)
			}
			w.groupEnds[top.from] = groupEnd{at, p}
			continue
		}
		if p = w.skip(p, end, tag); p < 0 {
			return -1, -1
		}
	}
}

// validate checks a message that is not written, because a later value replaces it, as if it were.
func (w *writer) validate(m *program, p, end int) bool {
	if _, ok := w.enter(p, nil, m); !ok {
		return false
	}
	for p < end {
		start := p
		tag, q := w.tag(p, end)
		if q < 0 {
			return false
		}
		p = w.skip(q, end, tag)
		if p < 0 {
			return false
		}
		f := m.byNumber(tag >> 3)
		if f == nil && m.ranges {
			var err error
			if f, err = m.extensionByNumber(int32(tag >> 3)); err != nil {
				_, ok := w.malformed(start, nil, err.Error())
				return ok
			}
		}
		if f == nil {
			continue
		}
		if !w.validateField(f, tag, q, p) {
			within(w.err, f.name)
			return false
		}
	}
	w.depth++
	return true
}

// validateField checks the field whose value stands from p to next.
func (w *writer) validateField(f *field, tag uint64, p, next int) bool {
	if uint32(tag) != f.tag {
		if !f.packable || tag&7 != wireBytes {
			return true
		}
		from, to := w.payload(p, next)
		for from < to {
			if _, from = w.bits(f, from, to); from < 0 {
				return false
			}
		}
		return true
	}
	switch f.kind {
	case kindGroup:
		to, _ := w.group(p, next, uint64(f.num))
		return w.validate(f.msg, p, to)
	case kindString, kindBytes, kindMessage:
	default:
		return true
	}
	from, to := w.payload(p, next)
	switch {
	case f.shape == shapeMap:
		return w.validateEntry(f, from, to)
	case f.kind == kindMessage:
		return w.validate(f.msg, from, to)
	case f.utf8 && !utf8.Valid(w.in[from:to]):
		_, ok := w.malformed(from, nil, "valid UTF-8")
		return ok
	}
	return true
}

// validateEntry checks a map entry.
func (w *writer) validateEntry(f *field, p, end int) bool {
	for p < end {
		tag, q := w.tag(p, end)
		if q < 0 {
			return false
		}
		if p = w.skip(q, end, tag); p < 0 {
			return false
		}
		var part *field
		switch tag >> 3 {
		case 1:
			part = f.mapKey
		case 2:
			part = f.mapValue
		default:
			continue
		}
		if uint32(tag) == part.tag && !w.validateField(part, tag, q, p) {
			return false
		}
	}
	return true
}
