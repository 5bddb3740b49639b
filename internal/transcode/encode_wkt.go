package transcode

import "math"

// wellKnown writes the JSON form of a well-known type that is in e.spans[from:to].
func (e *encoder) wellKnown(out []byte, m *program, from, to int) ([]byte, bool) {
	switch m.wkt {
	case wktTimestamp, wktDuration:
		return e.seconds(out, m, from, to)
	case wktWrapper:
		return e.lastValue(out, &m.fields[0], from, to)
	case wktFieldMask:
		return e.fieldMask(out, from, to)
	case wktStruct:
		return e.structure(out, m, from, to)
	case wktListValue:
		return e.listValue(out, m, from, to)
	case wktValue:
		return e.dynamicValue(out, m, from, to)
	default:
		return e.any(out, from, to)
	}
}

// seconds writes a Timestamp or a Duration.
func (e *encoder) seconds(out []byte, m *program, from, to int) ([]byte, bool) {
	var seconds, nanos uint64
	for _, s := range e.spans[from:to] {
		for p := s.from; p < s.to; {
			tag, q := e.tag(p, s.to)
			if q < 0 {
				return out, false
			}
			switch tag {
			case 1<<3 | wireVarint:
				seconds, p = readVarint(e.in, q, s.to)
			case 2<<3 | wireVarint:
				nanos, p = readVarint(e.in, q, s.to)
			default:
				if p = e.skip(q, s.to, tag); p < 0 {
					return out, false
				}
			}
			if p < 0 {
				return e.malformed(q, out, "a varint")
			}
		}
	}
	if m.wkt == wktTimestamp {
		return e.timestamp(out, int64(seconds), int32(nanos))
	}
	return e.duration(out, int64(seconds), int32(nanos))
}

func (e *encoder) timestamp(out []byte, seconds int64, nanos int32) ([]byte, bool) {
	switch {
	case e.lenient:
		seconds, nanos = e.nearestTimestamp(seconds, nanos)
	case seconds < minTimestamp || seconds > maxTimestamp:
		return e.unrepresentable(out, "timestamp of %d seconds is not within the years 1 to 9999", seconds)
	case nanos < 0 || nanos > 999_999_999:
		return e.unrepresentable(out, "timestamp with %d nanoseconds", nanos)
	}
	return appendTimestamp(out, seconds, nanos), true
}

func (e *encoder) duration(out []byte, seconds int64, nanos int32) ([]byte, bool) {
	switch {
	case e.lenient:
		seconds, nanos = e.nearestDuration(seconds, nanos)
	case seconds < -maxDuration || seconds > maxDuration:
		return e.unrepresentable(out, "duration of %d seconds is out of range", seconds)
	case nanos < -999_999_999 || nanos > 999_999_999:
		return e.unrepresentable(out, "duration with %d nanoseconds", nanos)
	case seconds > 0 && nanos < 0 || seconds < 0 && nanos > 0:
		return e.unrepresentable(out, "duration whose seconds and nanoseconds have different signs")
	}
	return appendDuration(out, seconds, nanos), true
}

// fieldMask writes the paths of a FieldMask, separated by commas.
func (e *encoder) fieldMask(out []byte, from, to int) ([]byte, bool) {
	out = append(out, '"')
	first := len(out)
	c := cursor{span: from, to: to}
	for more := false; e.advance(&c); {
		if c.tag != 1<<3|wireBytes {
			continue
		}
		if more {
			out = append(out, ',')
		}
		more = true
		at, end := e.payload(c.at, c.p)
		if text, ok := appendMaskPath(out, e.in[at:end]); ok {
			out = text
		} else if out, ok = e.oddPath(out, e.in[at:end]); !ok {
			return e.unrepresentable(out[:first], "field mask path %q has no form in lowerCamelCase", excerpt(e.in[at:], end-at))
		}
		if len(out) > e.limit {
			return e.tooLarge(out)
		}
	}
	return append(out, '"'), e.err == nil
}

// structure writes a Struct as an object.
func (e *encoder) structure(out []byte, m *program, from, to int) ([]byte, bool) {
	f := &m.fields[0]
	base := len(e.entries)
	c := cursor{span: from, to: to}
	for e.advance(&c) {
		if uint32(c.tag) != f.tag {
			continue
		}
		if at, end := e.payload(c.at, c.p); !e.entry(f, at, end) {
			return out, false
		}
	}
	if e.err != nil {
		return out, false
	}
	return e.mapEntries(out, f, base)
}

// listValue writes a ListValue as an array.
func (e *encoder) listValue(out []byte, m *program, from, to int) ([]byte, bool) {
	f := &m.fields[0]
	out = append(out, '[')
	first := len(out)
	c := cursor{span: from, to: to}
	for i := 0; e.advance(&c); {
		if uint32(c.tag) != f.tag {
			continue
		}
		var ok bool
		if out, _, ok = e.oneElement(out, f, c.at, c.p, i); !ok {
			return out, false
		}
		i++
	}
	if len(out) > first {
		out = out[:len(out)-1] // the comma after the last element
	}
	return append(out, ']'), e.err == nil
}

// dynamicValue writes a google.protobuf.Value as the JSON value that it holds.
func (e *encoder) dynamicValue(out []byte, m *program, from, to int) ([]byte, bool) {
	var f *field
	base := len(e.spans) // the spans from here on are those of f since it was set last
	c := cursor{span: from, to: to}
	for e.advance(&c) {
		g := m.byNumber(c.tag >> 3)
		if g == nil || uint32(c.tag) != g.tag {
			continue
		}
		if f != nil && (f != g || f.msg == nil) {
			for _, s := range e.spans[base:] {
				if !e.validateField(f, uint64(f.tag), s.from, s.to) {
					return out, false
				}
			}
			e.spans = e.spans[:base]
		}
		f = g
		if f.msg != nil && c.p == c.at+1 && len(e.spans) > base {
			continue // an empty message adds nothing to the one before
		}
		e.spans = append(e.spans, span{c.at, c.p})
	}
	if e.err != nil {
		return out, false
	}
	if f == nil {
		if e.depart("google.protobuf.Value with none of its fields set") {
			return append(out, "null"...), true
		}
		return e.unrepresentable(out, "google.protobuf.Value with none of its fields set")
	}
	out, ok := e.dynamicField(out, f, base)
	e.spans = e.spans[:base]
	return out, ok
}

// dynamicField writes the field of a Value that is in the spans from base on.
func (e *encoder) dynamicField(out []byte, f *field, base int) ([]byte, bool) {
	if f.msg != nil {
		if err := f.msg.use(); err != nil && !e.opaque(f.msg) {
			return e.unrepresentable(out, "%v", err)
		} else if err != nil {
			return e.appendOpaque(out, e.joined(base, len(e.spans))), true
		}
		for i := base; i < len(e.spans); i++ {
			e.spans[i] = e.contentAt(f, e.spans[i].from, e.spans[i].to)
		}
		// Struct and ListValue are one level of JSON with their Value, and count as one.
		return e.wellKnown(out, f.msg, base, len(e.spans))
	}
	s := e.spans[base]
	if f.kind == kindDouble {
		v, _ := e.bits(f, s.from, s.to)
		if v := math.Float64frombits(v); (math.IsNaN(v) || math.IsInf(v, 0)) && !e.depart("google.protobuf.Value with the number %v", v) {
			return e.unrepresentable(out, "google.protobuf.Value with the number %v", v)
		}
	}
	out, _, ok := e.value(out, f, s.from, s.to)
	return out, ok
}
