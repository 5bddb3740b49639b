package transcode

import (
	"bytes"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// AppendText appends the wire form of the field, set to the text of a path parameter, with the
// messages that enclose the field. The text is a scalar, the name or number of an enum value, a
// well-known type whose JSON form is a string or a scalar, one element of a repeated field, or the
// value of a map entry.
//
// By protobuf's merge rule, what is appended overrides what dst says about the field. Therefore
// zeros are written, too. Paths of a FieldMask and elements of a repeated field are added. Errors
// are of type *SyntaxError, and the field is their path.
func (f *Field) AppendText(dst []byte, value string) ([]byte, error) {
	return f.appendParameter(dst, value, false)
}

// AppendQuery is AppendText for a query parameter. It also takes JSON text for a message, a whole
// map and a google.protobuf.Value. With DiscardUnknown, an unknown enum name appends nothing.
func (f *Field) AppendQuery(dst []byte, value string) ([]byte, error) {
	return f.appendParameter(dst, value, true)
}

func (f *Field) appendParameter(dst []byte, value string, query bool) ([]byte, error) {
	d := f.root.compiler.newDecoder(nil, dst)
	defer d.release()
	d.query = query
	d.partial = 1
	d.depth -= len(f.chain)
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
		case g.shape != shapeMap:
			out, err = d.appendText(out, g, value)
		case query && jsonBegins(value, '{'):
			out, err = d.jsonText(out, g, value)
		default:
			err = textError("an entry in the form "+string(g.fd.Name())+"[key]", value)
		}
		return out, err == nil
	})
	if !ok {
		return dst, f.settle(err)
	}
	if d.dropped {
		return dst, nil
	}
	return out, nil
}

// jsonBegins reports whether a text begins as a JSON object or array does.
func jsonBegins(text string, c byte) bool {
	text = strings.TrimLeft(text, " \t\r\n")
	return text != "" && text[0] == c
}

// jsonText appends a message or a map that is given as JSON.
func (d *decoder) jsonText(out []byte, f *field, text string) ([]byte, error) {
	d.in = []byte(text)
	p := d.space(0)
	if f.shape == shapeMap {
		p, out = d.mapValue(p, out, f)
	} else {
		p, out = d.value(p, out, f)
	}
	if p >= 0 {
		if p = d.space(p); p < len(d.in) {
			d.fail(p, out, "the end of the input")
			p = -1
		}
	}
	if p < 0 {
		return out, d.err
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
	if !ok && d.c.opts.LenientText {
		v, ok = lenientScalar(f, text)
	}
	if !ok {
		if d.query && d.c.opts.DiscardUnknown && f.kind == kindEnum && isName(text) {
			d.dropped = true
			return out, nil
		}
		return out, textError(expectedText(f), text)
	}
	return appendBits(appendTag(out, f.tag), f, v), nil
}

// isName reports whether a text may be the name of an enum value, and not a number.
func isName(text string) bool {
	return text != "" && (text[0] == '_' || text[0]|0x20 >= 'a' && text[0]|0x20 <= 'z')
}

// expectedText describes the texts that a scalar is read from.
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

// scalarOfText returns the wire value of a number, bool or enum that is given as text. The forms
// are those that JSON has with and without quotes: 1, 1.0, 1e2, NaN.
func scalarOfText(f *field, text string) (uint64, bool) {
	b := []byte(text)
	switch f.kind {
	case kindBool:
		return uint64(boolBit(text == "true")), text == "true" || text == "false"
	case kindEnum, kindNull:
		if n, ok := f.enum.number(b); ok {
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

// appendAllSeconds is appendSeconds that also writes zeros. They override what was set before.
func appendAllSeconds(out []byte, seconds int64, nanos int32) []byte {
	out = appendVarint(append(out, 1<<3|wireVarint), uint64(seconds))
	return appendVarint(append(out, 2<<3|wireVarint), uint64(int64(nanos)))
}

// isJSONText reports whether a text is read as the JSON form of a message. It is not if the message
// has another form as text.
func isJSONText(m *program, text string) bool {
	switch m.wkt {
	case wktTimestamp, wktDuration, wktFieldMask, wktWrapper:
		return false
	case wktValue:
		return strings.Trim(text, " \t\r\n") != ""
	case wktListValue:
		return jsonBegins(text, '[')
	default:
		return jsonBegins(text, '{')
	}
}

// appendMessageText appends a message that is given as text: a well-known type whose JSON form is a
// string or a scalar. In a query the text may also be JSON.
func (d *decoder) appendMessageText(out []byte, f *field, text string) ([]byte, error) {
	if err := f.msg.use(); err != nil {
		return out, err
	}
	if d.query && isJSONText(f.msg, text) {
		return d.jsonText(out, f, text)
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
		seconds, nanos, ok = parseDuration([]byte(text))
		if !ok && d.c.opts.LenientText {
			seconds, nanos, ok = lenientDuration(text)
		}
		if !ok {
			return out, textError("a duration such as 1.5s", text)
		}
		out = appendAllSeconds(out, seconds, nanos)
	case wktFieldMask:
		if out, ok = appendFieldMask(out, bytes.TrimSpace([]byte(text)), d.c.opts.RawMaskPaths); !ok {
			return out, textError("field paths in lowerCamelCase, separated by commas", text)
		}
	case wktWrapper:
		if out, err = d.appendText(out, &f.msg.fields[0], text); err != nil {
			return out, err
		}
	default:
		if d.query {
			return out, textError("JSON text of "+string(f.msg.md.FullName()), text)
		}
		return out, textError("a field of "+string(f.msg.md.FullName())+", which cannot be written as text", text)
	}
	if f.kind == kindMessage {
		d.close(index, out)
	} else {
		out = appendTag(out, f.tag+wireEndGroup-wireStartGroup)
	}
	return out, nil
}
