package transcode

import "bytes"

// wellKnown reads the JSON form of a well-known type and appends the fields.
func (d *decoder) wellKnown(p int, out []byte, m *program) (int, []byte) {
	switch m.wkt {
	case wktTimestamp:
		return d.timestamp(p, out)
	case wktDuration:
		return d.duration(p, out)
	case wktFieldMask:
		return d.fieldMask(p, out)
	case wktWrapper:
		return d.single(p, out, &m.fields[0])
	case wktStruct:
		return d.mapValue(p, out, &m.fields[0])
	case wktListValue:
		return d.list(p, out, &m.fields[0])
	case wktValue:
		return d.dynamicValue(p, out, m)
	case wktAny:
		return d.any(p, out)
	default:
		return d.object(p, out, m, false)
	}
}

// dynamicValue reads any JSON value as a google.protobuf.Value.
func (d *decoder) dynamicValue(p int, out []byte, m *program) (int, []byte) {
	if p >= len(d.in) {
		return d.fail(p, out, "a value")
	}
	f := &m.fields[1] // number_value
	switch d.in[p] {
	case 'n':
		return d.literal(p, "null"), append(out, 1<<3|wireVarint, 0)
	case 't', 'f':
		v, q := d.boolean(p)
		return q, append(out, 4<<3|wireVarint, byte(v))
	case '"':
		return d.str(p, append(out, 3<<3|wireBytes))
	case '{':
		f = &m.fields[4]
	case '[':
		f = &m.fields[5]
	}
	if f.kind != kindMessage {
		q, v := plainDouble(d.in, p)
		if q == 0 {
			v, q = d.float64(p)
		}
		return q, appendFixed64(appendTag(out, f.tag), v)
	}
	// Struct and ListValue are one level of JSON with their Value, and count as one.
	if err := f.msg.use(); err != nil {
		return d.fail(p, out, err.Error())
	}
	index := len(d.patches)
	out = d.open(appendTag(out, f.tag))
	p, out = d.wellKnown(p, out, f.msg)
	if p >= 0 {
		d.close(index, out)
	}
	return p, out
}

// timestamp reads an RFC 3339 time and appends the fields of a Timestamp.
func (d *decoder) timestamp(p int, out []byte) (int, []byte) {
	s, q := d.text(p)
	if q < 0 {
		return q, out
	}
	seconds, nanos, ok := parseTimestamp(s)
	if !ok {
		return d.fail(p, out, "an RFC 3339 time from year 1 to 9999")
	}
	return q, appendSeconds(out, seconds, nanos)
}

// duration reads seconds followed by the letter s and appends the fields of a Duration.
func (d *decoder) duration(p int, out []byte) (int, []byte) {
	s, q := d.text(p)
	if q < 0 {
		return q, out
	}
	seconds, nanos, ok := parseDuration(s)
	if !ok {
		return d.fail(p, out, "a duration such as \"1.5s\" of at most 315,576,000,000 seconds")
	}
	return q, appendSeconds(out, seconds, nanos)
}

// appendSeconds appends the fields of a Timestamp or a Duration. Both have the same ones.
func appendSeconds(out []byte, seconds int64, nanos int32) []byte {
	out = grow(out, secondsRoom)
	buf := out[:cap(out)]
	return buf[:putSeconds(buf, len(out), seconds, nanos)]
}

// secondsRoom is how many bytes of free output putSeconds or putTimestamp needs, with a byte for a
// tag.
const secondsRoom = 2 + 2*(1+maxVarint)

func putSeconds(buf []byte, n int, seconds int64, nanos int32) int {
	if seconds != 0 {
		buf[n] = 1<<3 | wireVarint
		n = putVarint(buf, n+1, uint64(seconds))
	}
	if nanos != 0 {
		buf[n] = 2<<3 | wireVarint
		n = putVarint(buf, n+1, uint64(int64(nanos)))
	}
	return n
}

// fieldMask reads paths in lowerCamelCase, separated by commas, and appends the fields of a
// FieldMask.
func (d *decoder) fieldMask(p int, out []byte) (int, []byte) {
	s, q := d.text(p)
	if q < 0 {
		return q, out
	}
	out, ok := appendFieldMask(out, bytes.TrimSpace(s), d.c.opts.RawMaskPaths)
	if !ok {
		return d.fail(p, out, "field paths in lowerCamelCase, separated by commas")
	}
	return q, out
}
