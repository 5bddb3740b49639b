package transcode

import (
	"math"
	"unicode/utf8"
)

// maxGroups is how deeply groups that are skipped may be nested. protowire has the same limit.
const maxGroups = 10_000

// notedGroup is the size in bytes from which on the end of a group is noted. Shorter groups are
// searched again. If a message has very many, that takes less memory than notes.
const notedGroup = 32

// A groupEnd is where the content of a group ends, and where its end tag does.
type groupEnd struct{ to, next int }

// skip skips the value after a tag and returns the position after it. The position is negative if
// the wire is broken.
func (e *encoder) skip(p, end int, tag uint64) int {
	switch tag & 7 {
	case wireVarint:
		_, q := readVarint(e.in, p, end)
		if q < 0 {
			e.malformed(p, nil, "a varint")
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
		_, to := e.payload(p, end)
		return to
	case wireStartGroup:
		_, next := e.group(p, end, tag>>3)
		return next
	}
	e.malformed(p, nil, "a whole value of wire type "+wireTypeName(tag&7))
	return -1
}

// group returns where the content of the group that starts at p ends, and the position after its
// end tag. It notes the ends of the groups within. So no large group is searched twice, however
// deeply groups are nested.
func (e *encoder) group(p, end int, num uint64) (int, int) {
	if known, ok := e.groupEnds[p]; ok {
		return known.to, known.next
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
		tag, q := readVarint(e.in, p, end)
		if q < 0 || tag>>3 == 0 || tag>>3 > math.MaxInt32 {
			e.malformed(p, nil, "a field tag")
			return -1, -1
		}
		p = q
		switch tag & 7 {
		case wireStartGroup:
			if len(stack) > maxGroups {
				e.malformed(at, nil, "groups within the limit of depth")
				return -1, -1
			}
			stack = append(stack, open{tag >> 3, p})
			continue
		case wireEndGroup:
			top := stack[len(stack)-1]
			if top.num != tag>>3 {
				e.malformed(at, nil, "the end of the group that is open")
				return -1, -1
			}
			stack = stack[:len(stack)-1]
			if len(stack) == 0 {
				return at, p
			}
			if at-top.from >= notedGroup {
				if e.groupEnds == nil {
					e.groupEnds = make(map[int]groupEnd)
				}
				e.groupEnds[top.from] = groupEnd{at, p}
			}
			continue
		}
		if p = e.skip(p, end, tag); p < 0 {
			return -1, -1
		}
	}
}

// validate checks a message that is not written because a later value replaces it. Its wire must be
// as good as if it were written.
func (e *encoder) validate(m *program, p, end int) bool {
	if _, ok := e.enter(p, nil, m); !ok {
		return e.opaque(m)
	}
	for p < end {
		start := p
		tag, q := e.tag(p, end)
		if q < 0 {
			return false
		}
		p = e.skip(q, end, tag)
		if p < 0 {
			return false
		}
		f := m.byNumber(tag >> 3)
		if f == nil && m.ranges {
			var err error
			if f, err = m.extensionByNumber(int32(tag >> 3)); err != nil && !e.depart("%v", err) {
				_, ok := e.malformed(start, nil, err.Error())
				return ok
			}
		}
		if f == nil {
			continue
		}
		if !e.validateField(f, tag, q, p) {
			within(e.err, f.name)
			return false
		}
	}
	e.depth++
	return true
}

// validateField checks the field whose value reaches from p to next.
func (e *encoder) validateField(f *field, tag uint64, p, next int) bool {
	if uint32(tag) != f.tag {
		if !f.packable || tag&7 != wireBytes {
			return true
		}
		from, to := e.payload(p, next)
		for from < to {
			if _, from = e.bits(f, from, to); from < 0 {
				return false
			}
		}
		return true
	}
	switch f.kind {
	case kindGroup:
		to, _ := e.group(p, next, uint64(f.num))
		return e.validate(f.msg, p, to)
	case kindString, kindBytes, kindMessage:
	default:
		return true
	}
	from, to := e.payload(p, next)
	switch {
	case f.shape == shapeMap:
		return e.validateEntry(f, from, to)
	case f.kind == kindMessage:
		return e.validate(f.msg, from, to)
	case f.utf8 && !e.lenient && !utf8.Valid(e.in[from:to]):
		_, ok := e.malformed(from, nil, "valid UTF-8")
		return ok
	}
	return true
}

// validateEntry checks a map entry.
func (e *encoder) validateEntry(f *field, p, end int) bool {
	for p < end {
		tag, q := e.tag(p, end)
		if q < 0 {
			return false
		}
		if p = e.skip(q, end, tag); p < 0 {
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
		if uint32(tag) == part.tag && !e.validateField(part, tag, q, p) {
			return false
		}
	}
	return true
}
