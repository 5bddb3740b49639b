package transcode

import (
	"bytes"
	"cmp"
	"slices"
)

// A mapEntry is an entry of a map on the wire.
type mapEntry struct {
	// key is where a string key begins. For other kinds it is a number that sorts as the key does.
	key uint64
	// keyEnd is where a string key ends. It is -1 for other kinds.
	keyEnd int32
	// from and to are where the entry begins and ends.
	from, to int32
	// value is where the value begins, or noValue or manyValues.
	value int32
}

const (
	noValue    = -1 // the entry has no value; the default counts
	manyValues = -2 // the entry has several; messages merge, and of others the last counts
)

// mapRun writes a run of a map field. Its first tag ends at p. The run ends where another field
// begins.
func (e *encoder) mapRun(out []byte, f *field, p, end int) ([]byte, int, bool) {
	base := len(e.entries)
	for {
		from, to := e.payload(p, end)
		if to < 0 || !e.entry(f, from, to) {
			return out, p, false
		}
		if p = to; p >= end {
			break
		}
		tag, q := e.tag(p, end)
		if q < 0 {
			return out, p, false
		}
		if uint32(tag) != f.tag {
			break
		}
		p = q
	}
	if f.picked != nil && !e.pick(f, base) {
		return e.absent(out, f), p, true
	}
	out, ok := e.mapEntries(appendKey(out, f), f, base)
	return append(out, ','), p, ok
}

// entry parses the map entry between from and to, and notes it.
func (e *encoder) entry(f *field, from, to int) bool {
	entry := mapEntry{from: int32(from), to: int32(to), value: noValue, keyEnd: -1}
	key, value := f.mapKey, f.mapValue
	if key.kind == kindString {
		entry.key, entry.keyEnd = uint64(from), int32(from)
	} else {
		entry.key = key.keyOrder(0)
	}
	for p := from; p < to; {
		tag, q := e.tag(p, to)
		if q < 0 {
			return false
		}
		if p = e.skip(q, to, tag); p < 0 {
			return false
		}
		switch uint32(tag) {
		case key.tag:
			if key.kind != kindString {
				v, _ := e.bits(key, q, to)
				entry.key = key.keyOrder(v)
				continue
			}
			at, keyEnd := e.payload(q, to)
			if !e.validateField(key, tag, q, p) {
				return false
			}
			entry.key, entry.keyEnd = uint64(at), int32(keyEnd)
		case value.tag:
			if entry.value == noValue {
				entry.value = int32(q)
			} else {
				entry.value = manyValues
			}
		}
	}
	e.entries = append(e.entries, entry)
	return true
}

// keyOrder turns the wire value of a map key into a number that sorts as the key does.
func (f *field) keyOrder(v uint64) uint64 {
	const sign = 1 << 63
	switch f.kind {
	case kindBool:
		return uint64(boolBit(v != 0))
	case kindInt32, kindSfixed32:
		return uint64(int64(int32(v))) ^ sign
	case kindSint32:
		return uint64(int64(int32(unzigzag(v&0xffffffff)))) ^ sign
	case kindInt64, kindSfixed64:
		return v ^ sign
	case kindSint64:
		return uint64(unzigzag(v)) ^ sign
	case kindUint32, kindFixed32:
		return v & 0xffffffff
	default:
		return v
	}
}

// appendMapKey appends the quoted key that keyOrder turned into a number.
func (f *field) appendMapKey(out []byte, key uint64) []byte {
	out = append(out, '"')
	switch f.kind {
	case kindBool:
		if key != 0 {
			out = append(out, "true"...)
		} else {
			out = append(out, "false"...)
		}
	case kindUint32, kindFixed32, kindUint64, kindFixed64:
		out = appendUint(out, key)
	default:
		out = appendInt(out, int64(key^1<<63))
	}
	return append(out, '"')
}

// mapEntries writes the entries noted from base on as an object, sorted by key. If several entries
// have the same key, the last one counts.
func (e *encoder) mapEntries(out []byte, f *field, base int) ([]byte, bool) {
	compare := func(a, b mapEntry) int {
		if a.keyEnd < 0 {
			return cmp.Compare(a.key, b.key)
		}
		return bytes.Compare(e.in[a.key:uint64(a.keyEnd)], e.in[b.key:uint64(b.keyEnd)])
	}
	run := e.entries[base:]
	for i := 1; i < len(run); i++ {
		if compare(run[i-1], run[i]) >= 0 {
			slices.SortFunc(run, func(a, b mapEntry) int {
				return cmp.Or(compare(a, b), cmp.Compare(a.from, b.from))
			})
			break
		}
	}
	out = append(out, '{')
	sep := false
	for i := base; i < len(e.entries); i++ {
		entry := e.entries[i]
		if !e.element(out) {
			return e.tooMany(out)
		}
		if i+1 < len(e.entries) && compare(entry, e.entries[i+1]) == 0 {
			if !e.validateEntry(f, int(entry.from), int(entry.to)) {
				return out, false
			}
			continue
		}
		if sep {
			out = append(out, ',')
		}
		sep = true
		before := len(out)
		ok := true
		if entry.keyEnd < 0 {
			out = f.mapKey.appendMapKey(out, entry.key)
		} else {
			out, ok = e.str(out, f.mapKey, int(entry.key), int(entry.keyEnd))
		}
		if !ok {
			return out, false
		}
		key := len(out)
		value := f.mapValue
		if f.picked != nil {
			value = f.picked.value(e.in, entry)
		}
		if out, ok = e.entryValue(append(out, ':'), value, entry); !ok {
			within(e.err, string(out[before+1:key-1]))
			return out, false
		}
	}
	e.entries = e.entries[:base]
	return append(out, '}'), true
}

// entryValue writes the value of a map entry.
func (e *encoder) entryValue(out []byte, f *field, entry mapEntry) ([]byte, bool) {
	switch entry.value {
	default:
		out, _, ok := e.value(out, f, int(entry.value), int(entry.to))
		return out, ok
	case noValue:
		if f.msg != nil {
			return e.message(out, f.msg, int(entry.to), int(entry.to))
		}
		return append(out, e.c.zeroValue(f)...), true
	case manyValues:
		n := len(e.spans)
		e.spans = append(e.spans, span{int(entry.from), int(entry.to)})
		out, ok := e.lastValue(out, f, n, n+1)
		e.spans = e.spans[:n]
		return out, ok
	}
}

// lastValue writes a singular field of the message in the spans. If the field occurs several times,
// messages are merged, and of other values the last one counts. An absent field is written as its
// zero, an absent message as an empty one.
func (e *encoder) lastValue(out []byte, f *field, from, to int) ([]byte, bool) {
	base := len(e.spans)
	last := span{-1, -1}
	c := cursor{span: from, to: to}
	for e.advance(&c) {
		if uint32(c.tag) != f.tag {
			continue
		}
		if f.msg != nil {
			if s := e.contentAt(f, c.at, c.p); s.from < s.to || len(e.spans) == base {
				e.spans = append(e.spans, s)
			}
			continue
		}
		if last.from >= 0 && !e.validateField(f, c.tag, last.from, last.to) {
			return out, false
		}
		last = span{c.at, c.p}
	}
	ok := e.err == nil
	switch {
	case !ok:
	case f.msg != nil && len(e.spans) == base:
		out, ok = e.message(out, f.msg, c.p, c.p)
	case f.msg != nil:
		out, ok = e.merged(out, f.msg, base, len(e.spans))
	case last.from < 0:
		out = append(out, e.c.zeroValue(f)...)
	default:
		out, _, ok = e.value(out, f, last.from, last.to)
	}
	e.spans = e.spans[:base]
	return out, ok
}

// content returns the span of the fields within a message or group, given one of its occurrences.
func (e *encoder) content(f *field, o occurrence) span {
	at, next := o.place()
	return e.contentAt(f, at, next)
}

// contentAt is content for a well-formed value that reaches from p to next.
func (e *encoder) contentAt(f *field, p, next int) span {
	if f.kind == kindGroup {
		to, _ := e.group(p, next, uint64(f.num))
		return span{p, to}
	}
	from, to := e.payload(p, next)
	return span{from, to}
}

// A cursor goes over the fields of a message that is in several spans.
type cursor struct {
	span, to int // the spans still to be visited
	p, end   int // within the current one
	tag      uint64
	at       int // where the value of the current field is; it ends at p
}

// advance goes to the next field and reports whether there is one. If the wire is broken there is
// none, and err is set.
func (e *encoder) advance(c *cursor) bool {
	for c.p >= c.end {
		if c.span == c.to {
			return false
		}
		s := e.spans[c.span]
		c.span++
		c.p, c.end = s.from, s.to
	}
	if c.tag, c.at = e.tag(c.p, c.end); c.at < 0 {
		return false
	}
	c.p = e.skip(c.at, c.end, c.tag)
	return c.p >= 0
}
