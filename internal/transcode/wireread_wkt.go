package transcode

import "math"

// wellKnown writes the JSON form of a well-known type that stands in w.spans[from:to].
func (w *writer) wellKnown(out []byte, m *program, from, to int) ([]byte, bool) {
	switch m.wkt {
	case wktTimestamp, wktDuration:
		return w.seconds(out, m, from, to)
	case wktWrapper:
		return w.lastValue(out, &m.fields[0], from, to)
	case wktFieldMask:
		return w.fieldMask(out, from, to)
	case wktStruct:
		return w.structure(out, m, from, to)
	case wktListValue:
		return w.listValue(out, m, from, to)
	case wktValue:
		return w.dynamicValue(out, m, from, to)
	default:
		return w.any(out, from, to)
	}
}

// seconds writes a Timestamp or a Duration.
func (w *writer) seconds(out []byte, m *program, from, to int) ([]byte, bool) {
	var seconds, nanos uint64
	for _, s := range w.spans[from:to] {
		for p := s.from; p < s.to; {
			tag, q := w.tag(p, s.to)
			if q < 0 {
				return out, false
			}
			switch tag {
			case 1<<3 | wireVarint:
				seconds, p = readVarint(w.in, q, s.to)
			case 2<<3 | wireVarint:
				nanos, p = readVarint(w.in, q, s.to)
			default:
				if p = w.skip(q, s.to, tag); p < 0 {
					return out, false
				}
			}
			if p < 0 {
				return w.malformed(q, out, "a varint")
			}
		}
	}
	if m.wkt == wktTimestamp {
		return w.timestamp(out, int64(seconds), int32(nanos))
	}
	return w.duration(out, int64(seconds), int32(nanos))
}

func (w *writer) timestamp(out []byte, seconds int64, nanos int32) ([]byte, bool) {
	switch {
	case seconds < minTimestamp || seconds > maxTimestamp:
		return w.unrepresentable(out, "timestamp of %d seconds is not within the years 1 to 9999", seconds)
	case nanos < 0 || nanos > 999_999_999:
		return w.unrepresentable(out, "timestamp with %d nanoseconds", nanos)
	}
	return appendTimestamp(out, seconds, nanos), true
}

func (w *writer) duration(out []byte, seconds int64, nanos int32) ([]byte, bool) {
	switch {
	case seconds < -maxDuration || seconds > maxDuration:
		return w.unrepresentable(out, "duration of %d seconds is out of range", seconds)
	case nanos < -999_999_999 || nanos > 999_999_999:
		return w.unrepresentable(out, "duration with %d nanoseconds", nanos)
	case seconds > 0 && nanos < 0 || seconds < 0 && nanos > 0:
		return w.unrepresentable(out, "duration whose seconds and nanoseconds have different signs")
	}
	return appendDuration(out, seconds, nanos), true
}

// fieldMask writes the paths of a FieldMask with commas between.
func (w *writer) fieldMask(out []byte, from, to int) ([]byte, bool) {
	out = append(out, '"')
	first := len(out)
	c := cursor{span: from, to: to}
	for more := false; w.advance(&c); {
		if c.tag != 1<<3|wireBytes {
			continue
		}
		if more {
			out = append(out, ',')
		}
		more = true
		at, end := w.payload(c.at, c.p)
		var ok bool
		if out, ok = appendMaskPath(out, w.in[at:end]); !ok {
			return w.unrepresentable(out[:first], "field mask path %q has no form in lowerCamelCase", excerpt(w.in[at:], end-at))
		}
		if len(out) > w.limit {
			return w.tooLarge(out)
		}
	}
	return append(out, '"'), w.err == nil
}

// structure writes a Struct as an object.
func (w *writer) structure(out []byte, m *program, from, to int) ([]byte, bool) {
	f := &m.fields[0]
	base := len(w.entries)
	c := cursor{span: from, to: to}
	for w.advance(&c) {
		if uint32(c.tag) != f.tag {
			continue
		}
		if at, end := w.payload(c.at, c.p); !w.entry(f, at, end) {
			return out, false
		}
	}
	if w.err != nil {
		return out, false
	}
	return w.mapEntries(out, f, base)
}

// listValue writes a ListValue as an array.
func (w *writer) listValue(out []byte, m *program, from, to int) ([]byte, bool) {
	f := &m.fields[0]
	out = append(out, '[')
	first := len(out)
	c := cursor{span: from, to: to}
	for i := 0; w.advance(&c); {
		if uint32(c.tag) != f.tag {
			continue
		}
		var ok bool
		if out, _, ok = w.oneElement(out, f, c.at, c.p, i); !ok {
			return out, false
		}
		i++
	}
	if len(out) > first {
		out = out[:len(out)-1] // the comma behind the last element
	}
	return append(out, ']'), w.err == nil
}

// dynamicValue writes a google.protobuf.Value as whatever it holds.
func (w *writer) dynamicValue(out []byte, m *program, from, to int) ([]byte, bool) {
	var f *field
	base := len(w.spans) // the places where f stands since it was set last
	c := cursor{span: from, to: to}
	for w.advance(&c) {
		g := m.byNumber(c.tag >> 3)
		if g == nil || uint32(c.tag) != g.tag {
			continue
		}
		if f != nil && (f != g || f.msg == nil) {
			for _, s := range w.spans[base:] {
				if !w.validateField(f, uint64(f.tag), s.from, s.to) {
					return out, false
				}
			}
			w.spans = w.spans[:base]
		}
		f = g
		w.spans = append(w.spans, span{c.at, c.p})
	}
	if w.err != nil {
		return out, false
	}
	if f == nil {
		return w.unrepresentable(out, "google.protobuf.Value with none of its fields set")
	}
	out, ok := w.dynamicField(out, f, base)
	w.spans = w.spans[:base]
	return out, ok
}

// dynamicField writes the field of a Value that stands in the spans from base on.
func (w *writer) dynamicField(out []byte, f *field, base int) ([]byte, bool) {
	if f.msg != nil {
		if err := f.msg.use(); err != nil {
			return w.unrepresentable(out, "%v", err)
		}
		for i := base; i < len(w.spans); i++ {
			w.spans[i] = w.content(f, w.spans[i].from, w.spans[i].to)
		}
		// Struct and ListValue are one level of JSON with their Value, and count as one.
		return w.wellKnown(out, f.msg, base, len(w.spans))
	}
	s := w.spans[base]
	if f.kind == kindDouble {
		v, _ := w.bits(f, s.from, s.to)
		if v := math.Float64frombits(v); math.IsNaN(v) || math.IsInf(v, 0) {
			return w.unrepresentable(out, "google.protobuf.Value with the number %v", v)
		}
	}
	out, _, ok := w.value(out, f, s.from, s.to)
	return out, ok
}
