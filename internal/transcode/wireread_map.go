package transcode

import (
	"bytes"
	"cmp"
	"slices"
)

// A mapEntry is an entry of a map on the wire. Its key is a number whose order is that of the keys, or where the
// string stands.
type mapEntry struct {
	key    uint64
	keyEnd int // of a string; -1 for a number
	from   int
	to     int
	value  int // where the value stands, or one of the following
	seq    int
}

const (
	noValue    = -1 // the entry has no value: it is the default
	manyValues = -2 // the entry has several: messages merge, of others the last counts
)

// mapRun writes the run of a map field whose first tag was read before p. The run ends where another field begins.
func (w *writer) mapRun(out []byte, f *field, p, end int) ([]byte, int, bool) {
	base := len(w.entries)
	for {
		from, to := w.payload(p, end)
		if to < 0 || !w.entry(f, from, to) {
			return out, p, false
		}
		if p = to; p >= end {
			break
		}
		tag, q := w.tag(p, end)
		if q < 0 {
			return out, p, false
		}
		if uint32(tag) != f.tag {
			break
		}
		p = q
	}
	out, ok := w.mapEntries(appendKey(out, f), f, base)
	return append(out, ','), p, ok
}

// entry takes the map entry between from and to apart and notes it.
func (w *writer) entry(f *field, from, to int) bool {
	e := mapEntry{from: from, to: to, value: noValue, keyEnd: -1, seq: len(w.entries)}
	key, value := f.mapKey, f.mapValue
	if key.kind == kindString {
		e.key, e.keyEnd = uint64(from), from
	} else {
		e.key = key.keyOrder(0)
	}
	for p := from; p < to; {
		tag, q := w.tag(p, to)
		if q < 0 {
			return false
		}
		if p = w.skip(q, to, tag); p < 0 {
			return false
		}
		switch uint32(tag) {
		case key.tag:
			if key.kind != kindString {
				v, _ := w.bits(key, q, to)
				e.key = key.keyOrder(v)
				continue
			}
			at, keyEnd := w.payload(q, to)
			if !w.validateField(key, tag, q, p) {
				return false
			}
			e.key, e.keyEnd = uint64(at), keyEnd
		case value.tag:
			if e.value == noValue {
				e.value = q
			} else {
				e.value = manyValues
			}
		}
	}
	w.entries = append(w.entries, e)
	return true
}

// keyOrder turns what the wire says for a map key into a number that sorts as the key does.
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

// mapEntries writes the entries noted from base on as an object, by ascending keys. Of entries with the same key the last
// counts.
func (w *writer) mapEntries(out []byte, f *field, base int) ([]byte, bool) {
	compare := func(a, b mapEntry) int {
		if a.keyEnd < 0 {
			return cmp.Compare(a.key, b.key)
		}
		return bytes.Compare(w.in[a.key:a.keyEnd], w.in[b.key:b.keyEnd])
	}
	run := w.entries[base:]
	for i := 1; i < len(run); i++ {
		if compare(run[i-1], run[i]) >= 0 {
			slices.SortFunc(run, func(a, b mapEntry) int {
				return cmp.Or(compare(a, b), cmp.Compare(a.seq, b.seq))
			})
			break
		}
	}
	out = append(out, '{')
	sep := false
	for i := base; i < len(w.entries); i++ {
		e := w.entries[i]
		if !w.element(out) {
			return w.tooMany(out)
		}
		if i+1 < len(w.entries) && compare(e, w.entries[i+1]) == 0 {
			if !w.validateEntry(f, e.from, e.to) {
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
		if e.keyEnd < 0 {
			out = f.mapKey.appendMapKey(out, e.key)
		} else {
			out, ok = w.str(out, f.mapKey, int(e.key), e.keyEnd)
		}
		if !ok {
			return out, false
		}
		key := len(out)
		if out, ok = w.entryValue(append(out, ':'), f.mapValue, e); !ok {
			within(w.err, string(out[before+1:key-1]))
			return out, false
		}
	}
	w.entries = w.entries[:base]
	return append(out, '}'), true
}

// entryValue writes the value of a map entry.
func (w *writer) entryValue(out []byte, f *field, e mapEntry) ([]byte, bool) {
	switch e.value {
	default:
		out, _, ok := w.value(out, f, e.value, e.to)
		return out, ok
	case noValue:
		if f.msg != nil {
			return w.message(out, f.msg, e.to, e.to)
		}
		return append(out, w.c.zeroValue(f)...), true
	case manyValues:
		n := len(w.spans)
		w.spans = append(w.spans, span{e.from, e.to})
		out, ok := w.lastValue(out, f, n, n+1)
		w.spans = w.spans[:n]
		return out, ok
	}
}

// lastValue writes the field that stands once or more in the spans: messages merged, of others the last. An absent
// field is written as its zero, an absent message as an empty one.
func (w *writer) lastValue(out []byte, f *field, from, to int) ([]byte, bool) {
	base := len(w.spans)
	last := span{-1, -1}
	c := cursor{span: from, to: to}
	for w.advance(&c) {
		if uint32(c.tag) != f.tag {
			continue
		}
		if f.msg != nil {
			w.spans = append(w.spans, w.content(f, c.at, c.p))
			continue
		}
		if last.from >= 0 && !w.validateField(f, c.tag, last.from, last.to) {
			return out, false
		}
		last = span{c.at, c.p}
	}
	ok := w.err == nil
	switch {
	case !ok:
	case f.msg != nil && len(w.spans) == base:
		out, ok = w.message(out, f.msg, c.p, c.p)
	case f.msg != nil:
		out, ok = w.merged(out, f.msg, base, len(w.spans))
	case last.from < 0:
		out = append(out, w.c.zeroValue(f)...)
	default:
		out, _, ok = w.value(out, f, last.from, last.to)
	}
	w.spans = w.spans[:base]
	return out, ok
}

// content returns the fields within the message or group whose value stands from p to next and is well formed.
func (w *writer) content(f *field, p, next int) span {
	if f.kind == kindGroup {
		to, _ := w.group(p, next, uint64(f.num))
		return span{p, to}
	}
	from, to := w.payload(p, next)
	return span{from, to}
}

// A cursor goes over the fields of a message that stands in several spans.
type cursor struct {
	span, to int // the spans still to be visited
	p, end   int // within the current one
	tag      uint64
	at       int // where the value of the current field stands; it ends at p
}

// advance goes to the next field and reports whether there is one. If the wire is broken there is none, and err is set.
func (w *writer) advance(c *cursor) bool {
	for c.p >= c.end {
		if c.span == c.to {
			return false
		}
		s := w.spans[c.span]
		c.span++
		c.p, c.end = s.from, s.to
	}
	if c.tag, c.at = w.tag(c.p, c.end); c.at < 0 {
		return false
	}
	c.p = w.skip(c.at, c.end, c.tag)
	return c.p >= 0
}
