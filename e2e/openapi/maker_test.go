package openapie2e

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/url"
	"strconv"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// maker makes up messages as JSON, in all the forms that ProtoJSON reads. Some values are of a form
// that no field of their kind has.
type maker struct {
	*rand.Rand
	// junk is how many of 1,000 values are of a wrong form.
	junk int
}

// message makes up a message. The deeper it is, the fewer fields it has.
func (m *maker) message(md protoreflect.MessageDescriptor, depth int) any {
	if v, ok := m.wellKnown(md, depth); ok {
		return v
	}
	out := make(map[string]any)
	chosen := make(map[protoreflect.Name]bool)
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		if one := fd.ContainingOneof(); one != nil && !one.IsSynthetic() {
			if chosen[one.Name()] {
				continue
			}
			chosen[one.Name()] = m.IntN(2) == 0
			if !chosen[one.Name()] {
				continue
			}
		} else if fd.Cardinality() != protoreflect.Required && m.IntN(3+depth) > 1 {
			continue
		}
		if depth > 4 && fd.Message() != nil && fd.Cardinality() != protoreflect.Required {
			continue
		}
		out[fd.JSONName()] = m.field(fd, depth)
	}
	return out
}

func (m *maker) field(fd protoreflect.FieldDescriptor, depth int) any {
	switch {
	case m.IntN(1000) < m.junk:
		return m.wrong()
	case fd.IsMap():
		out := make(map[string]any)
		for range m.IntN(3) {
			out[m.key(fd.MapKey())] = m.value(fd.MapValue(), depth+1)
		}
		return out
	case fd.IsList():
		out := []any{}
		for range m.IntN(4) {
			out = append(out, m.value(fd, depth+1))
		}
		return out
	default:
		return m.value(fd, depth+1)
	}
}

func (m *maker) key(fd protoreflect.FieldDescriptor) string {
	switch fd.Kind() {
	case protoreflect.StringKind:
		return m.text()
	case protoreflect.BoolKind:
		return strconv.FormatBool(m.IntN(2) == 0)
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind, protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return strconv.Itoa(m.IntN(1000))
	default:
		return strconv.Itoa(m.IntN(1000) - 500)
	}
}

func (m *maker) value(fd protoreflect.FieldDescriptor, depth int) any {
	switch fd.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return m.message(fd.Message(), depth)
	case protoreflect.EnumKind:
		return m.enum(fd.Enum())
	default:
		return m.scalar(fd.Kind())
	}
}

func (m *maker) enum(ed protoreflect.EnumDescriptor) any {
	if ed.FullName() == "google.protobuf.NullValue" {
		return nil
	}
	v := ed.Values().Get(m.IntN(ed.Values().Len()))
	switch m.IntN(4) {
	case 0:
		return int32(v.Number())
	case 1:
		if !ed.IsClosed() {
			return m.IntN(100) - 50
		}
	}
	return string(v.Name())
}

func (m *maker) scalar(kind protoreflect.Kind) any {
	switch kind {
	case protoreflect.BoolKind:
		return m.IntN(2) == 0
	case protoreflect.StringKind:
		return m.text()
	case protoreflect.BytesKind:
		return m.base64()
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		return one[any](m, 0, -1, 1.5, -2.25e10, "NaN", "Infinity", "-Infinity", "1.5", "-2e3", m.NormFloat64())
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return m.integer(math.MinInt32, math.MaxInt32)
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return m.integer(0, math.MaxUint32)
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return one(m, m.integer(0, math.MaxInt64), "18446744073709551615")
	default:
		return m.integer(math.MinInt64, math.MaxInt64)
	}
}

// integer is a number or a text, of some value.
func (m *maker) integer(least, most int64) any {
	n := one(m, least, most, 0, 1, int64(m.IntN(1000)))
	switch m.IntN(4) {
	case 0:
		return json.RawMessage(strconv.FormatInt(n, 10))
	case 1:
		return json.RawMessage(strconv.Itoa(m.IntN(100)) + ".0")
	default:
		return strconv.FormatInt(n, 10)
	}
}

func one[T any](m *maker, choices ...T) T { return choices[m.IntN(len(choices))] }

func (m *maker) text() string {
	return one(m, "", "a", "word", "two words", "1", "true", "null", "ä€😀", `"quoted" \ back`, "a/b?c=d&e#f%20", "line\nbreak", "{}", "<b>")
}

func (m *maker) base64() string {
	data := make([]byte, m.IntN(6))
	for i := range data {
		data[i] = byte(m.IntN(256))
	}
	return one(m, base64.StdEncoding, base64.URLEncoding, base64.RawStdEncoding, base64.RawURLEncoding).EncodeToString(data)
}

// wrong is a value of some form.
func (m *maker) wrong() any {
	return one[any](m, true, "x", 1.5, -1, []any{}, []any{"x"}, map[string]any{}, map[string]any{"no": "field"}, "2024-13-01T00:00:00Z", 1e300)
}

// wellKnown makes up a message that has a JSON form of its own.
func (m *maker) wellKnown(md protoreflect.MessageDescriptor, depth int) (any, bool) {
	switch md.FullName() {
	case "google.protobuf.Timestamp":
		return one(m, "2024-01-02T03:04:05Z", "1970-01-01T00:00:00.5Z", "2024-02-29T23:59:59.123456789Z", "2024-01-02T03:04:05+01:00", "0001-01-01T00:00:00Z"), true
	case "google.protobuf.Duration":
		return one(m, "0s", "1.5s", "-3.000000001s", "315576000000s"), true
	case "google.protobuf.FieldMask":
		return one(m, "", "name", "name,inner.name", "camelCase"), true
	case "google.protobuf.Struct":
		return map[string]any{m.text(): m.anything(depth)}, true
	case "google.protobuf.ListValue":
		return []any{m.anything(depth), m.anything(depth)}, true
	case "google.protobuf.Value":
		return m.anything(depth), true
	case "google.protobuf.Empty":
		return map[string]any{}, true
	case "google.protobuf.Any":
		return one[any](m, map[string]any{"@type": "type.googleapis.com/google.protobuf.Duration", "value": "1.5s"},
			map[string]any{"@type": "type.googleapis.com/wide.v1.Forest", "trees": []any{map[string]any{"name": "x"}}}, map[string]any{}), true
	case "google.protobuf.DoubleValue", "google.protobuf.FloatValue", "google.protobuf.Int64Value", "google.protobuf.UInt64Value",
		"google.protobuf.Int32Value", "google.protobuf.UInt32Value", "google.protobuf.BoolValue", "google.protobuf.StringValue",
		"google.protobuf.BytesValue":
		return m.scalar(md.Fields().ByNumber(1).Kind()), true
	default:
		return nil, false
	}
}

// anything is any JSON value.
func (m *maker) anything(depth int) any {
	if depth > 4 {
		return m.text()
	}
	return one[any](m, nil, true, 1.5, m.text(), []any{m.text(), nil}, map[string]any{"a": m.text()})
}

// query makes up parameters for the fields of a message, and for those of messages in it.
func (m *maker) query(md protoreflect.MessageDescriptor, prefix string, into url.Values) {
	chosen := make(map[protoreflect.Name]bool)
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		one := fd.ContainingOneof()
		if m.IntN(3) > 0 && fd.Cardinality() != protoreflect.Required || one != nil && chosen[one.Name()] {
			continue
		}
		if one != nil {
			chosen[one.Name()] = true
		}
		name := prefix + fd.JSONName()
		switch {
		case fd.IsMap():
			if fd.MapValue().Message() == nil {
				into.Set(name+"["+m.key(fd.MapKey())+"]", m.parameter(fd.MapValue()))
			}
		case m.nested(fd):
			if !fd.IsList() && len(prefix) < 20 {
				m.query(fd.Message(), name+".", into)
			}
		case fd.IsList():
			for range 1 + m.IntN(2) {
				into.Add(name, m.parameter(fd))
			}
		default:
			into.Set(name, m.parameter(fd))
		}
	}
}

func (m *maker) nested(fd protoreflect.FieldDescriptor) bool {
	if fd.Message() == nil {
		return false
	}
	_, known := m.wellKnown(fd.Message(), 0)
	return !known
}

// parameter is a value as text.
func (m *maker) parameter(fd protoreflect.FieldDescriptor) string {
	if m.IntN(1000) < m.junk {
		return fmt.Sprint(m.wrong())
	}
	switch v := m.value(fd, 4).(type) {
	case string:
		if fd.Message() != nil && fd.Message().FullName() == "google.protobuf.Value" {
			return strconv.Quote(v)
		}
		return v
	case json.RawMessage:
		return string(v)
	default:
		raw, _ := json.Marshal(v)
		return string(raw)
	}
}
