package transcode

import (
	"bytes"
	"math"
	"strconv"
	"unicode/utf8"
)

// AppendText appends the wire form of the field (with its enclosing messages) set to what a path or query
// parameter says: a scalar, enum name or number, a well-known type with a string or scalar JSON form, one element of
// a repeated field, or the value of a map entry. Protobuf's merge rule makes appended fields override, so zeros are
// written too; of a
// FieldMask the paths are added. Errors are of type *SyntaxError, with the field as its path.
func (f *Field) AppendText(dst []byte, value string) ([]byte, error) {
	d := f.root.compiler.newDecoder(nil, dst)
	defer d.release()
	g := f.last()
	var err error
	out, ok := f.within(d, dst, func(out []byte) ([]byte, bool) {
		switch {
		case f.entry:
			index := len(d.patches)
			out = append(d.open(appendTag(out, g.tag)), f.key...)
			if out, err = d.appendText(out, g.mapValue, value); err == nil {
				d.close(index, out)
			}
		case g.shape == shapeMap:
			err = textError("an entry, as "+string(g.fd.Name())+"[key]", value)
		default:
			out, err = d.appendText(out, g, value)
		}
		return out, err == nil
	})
	if !ok {
		return dst, f.settle(err)
	}
	return out, nil
}

func textError(expected, found string) error {
	return &SyntaxError{
		Expected: expected,
		Found:    strconv.Quote(excerpt([]byte(found), min(len(found), maxFound+1))),
	}
}

// appendText appends a field with its tag, given its text.
func (d *decoder) appendText(out []byte, f *field, text string) ([]byte, error) {
	switch f.kind {
	case kindMessage, kindGroup:
		return d.appendMessageText(out, f, text)
	case kindString:
		if !utf8.ValidString(text) {
			return out, textError("valid UTF-8", text)
		}
		return append(appendVarint(appendTag(out, f.tag), uint64(len(text))), text...), nil
	case kindBytes:
		index := len(d.patches)
		out = d.open(appendTag(out, f.tag))
		out, err := base64Encoding([]byte(text)).AppendDecode(out, []byte(text))
		if err != nil {
			return out, textError("base64", text)
		}
		d.close(index, out)
		return out, nil
	}
	v, ok := scalarOfText(f, text)
	if !ok {
		return out, textError(expectedText(f), text)
	}
	return appendBits(appendTag(out, f.tag), f, v), nil
}

// expectedText says what texts a scalar is written as.
func expectedText(f *field) string {
	switch f.kind {
	case kindBool:
		return "true or false"
	case kindEnum, kindNull:
		return "a name or number of " + string(f.fd.Enum().FullName())
	case kindFloat, kindDouble:
		return "a number of kind " + f.fd.Kind().String()
	default:
		return "an integer of kind " + f.fd.Kind().String()
	}
}

// scalarOfText returns what the wire says for the number, bool or enum of a text. The forms are those of JSON, with or
// without a string's quotes: 1, 1.0, 1e2, NaN.
func scalarOfText(f *field, text string) (uint64, bool) {
	b := []byte(text)
	switch f.kind {
	case kindBool:
		return uint64(boolBit(text == "true")), text == "true" || text == "false"
	case kindEnum, kindNull:
		if n, ok := f.enum.names.find(b); ok {
			return uint64(int64(n)), true
		}
		if f.kind == kindNull && text == "null" {
			return 0, true
		}
		b = bytes.TrimPrefix(b, []byte{'+'})
		if len(b) > 0 && skipDigits(b, boolBit(b[0] == '-')) != len(b) {
			return 0, false
		}
	case kindFloat, kindDouble:
		return floatOfText(f, b)
	}
	if n := numberSize(b); n == 0 || n != len(b) {
		return 0, false
	}
	m, negative, ok := integerOf(b)
	if !ok {
		return 0, false
	}
	switch f.kind {
	case kindUint32, kindFixed32:
		return m, !negative && m <= math.MaxUint32
	case kindUint64, kindFixed64:
		return m, !negative
	}
	limit := uint64(math.MaxInt32)
	switch f.kind {
	case kindInt64, kindSint64, kindSfixed64:
		limit = math.MaxInt64
	}
	if negative {
		limit++
	}
	if m > limit {
		return 0, false
	}
	v := int64(m)
	if negative {
		v = -v
	}
	switch f.kind {
	case kindSint32, kindSint64:
		return zigzag(v), true
	default:
		return uint64(v), true
	}
}

func floatOfText(f *field, b []byte) (uint64, bool) {
	switch string(b) {
	case "NaN", "Infinity", "-Infinity":
	default:
		if n := numberSize(b); n == 0 || n != len(b) {
			return 0, false
		}
	}
	if f.kind == kindFloat {
		v, ok := parseFloat32(b)
		return uint64(math.Float32bits(v)), ok
	}
	v, ok := parseFloat64(b)
	return math.Float64bits(v), ok
}

// appendAllSeconds is appendSeconds with zeros: they override what the field was set to before.
func appendAllSeconds(out []byte, seconds int64, nanos int32) []byte {
	out = appendVarint(append(out, 1<<3|wireVarint), uint64(seconds))
	return appendVarint(append(out, 2<<3|wireVarint), uint64(int64(nanos)))
}

// appendMessageText appends a well-known type whose JSON form is a string or a scalar.
func (d *decoder) appendMessageText(out []byte, f *field, text string) ([]byte, error) {
	if err := f.msg.use(); err != nil {
		return out, err
	}
	out = appendTag(out, f.tag)
	index := len(d.patches)
	if f.kind == kindMessage {
		out = d.open(out)
	}
	var seconds int64
	var nanos int32
	var err error
	var ok bool
	switch f.msg.wkt {
	case wktTimestamp:
		if seconds, nanos, ok = parseTimestamp([]byte(text)); !ok {
			return out, textError("an RFC 3339 time", text)
		}
		out = appendAllSeconds(out, seconds, nanos)
	case wktDuration:
		if seconds, nanos, ok = parseDuration([]byte(text)); !ok {
			return out, textError("a duration such as 1.5s", text)
		}
		out = appendAllSeconds(out, seconds, nanos)
	case wktFieldMask:
		if out, ok = appendFieldMask(out, bytes.TrimSpace([]byte(text)), d.c.opts.RawMaskPaths); !ok {
			return out, textError("field paths in lowerCamelCase with commas between", text)
		}
	case wktWrapper:
		if out, err = d.appendText(out, &f.msg.fields[0], text); err != nil {
			return out, err
		}
	default:
		return out, textError("a field of "+string(f.msg.md.FullName())+", which has no form as text", text)
	}
	if f.kind == kindMessage {
		d.close(index, out)
	} else {
		out = appendTag(out, f.tag+wireEndGroup-wireStartGroup)
	}
	return out, nil
}
