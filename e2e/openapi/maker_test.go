package openapie2e

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// maker makes up messages as JSON, in all the forms that ProtoJSON reads. Some values are of a form
// that no field of their kind has.
//
// It keeps to what a document asks for where the gateway is content with less. So fields with the
// behavior REQUIRED are set, and those that are OUTPUT_ONLY are not. The backend is a mirror, so
// that no field is INPUT_ONLY either.
type maker struct {
	*rand.Rand
	// junk is how many of 1,000 values are of a wrong form.
	junk int
	// protoNames says that fields have their names in the .proto file.
	protoNames bool
}

func (m *maker) name(fd protoreflect.FieldDescriptor) string {
	if m.protoNames {
		return fd.TextName()
	}
	return fd.JSONName()
}

// behavior reports whether a field is annotated with one of these.
func behavior(fd protoreflect.FieldDescriptor, wanted ...annotations.FieldBehavior) bool {
	all, _ := proto.GetExtension(fd.Options(), annotations.E_FieldBehavior).([]annotations.FieldBehavior)
	return slices.ContainsFunc(all, func(b annotations.FieldBehavior) bool { return slices.Contains(wanted, b) })
}

func required(fd protoreflect.FieldDescriptor) bool {
	return fd.Cardinality() == protoreflect.Required || behavior(fd, annotations.FieldBehavior_REQUIRED)
}

// oneWay reports whether a field may be in requests only, or in answers only.
func oneWay(fd protoreflect.FieldDescriptor) bool {
	return behavior(fd, annotations.FieldBehavior_OUTPUT_ONLY, annotations.FieldBehavior_INPUT_ONLY)
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
		if oneWay(fd) {
			continue
		}
		if one := fd.ContainingOneof(); one != nil && !one.IsSynthetic() {
			if chosen[one.Name()] {
				continue
			}
			chosen[one.Name()] = m.IntN(2) == 0
			if !chosen[one.Name()] {
				continue
			}
		} else if !required(fd) && m.IntN(3+depth) > 1 {
			continue
		}
		if depth > 4 && fd.Message() != nil && !required(fd) {
			continue
		}
		out[m.name(fd)] = m.field(fd, depth)
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

// integer is a number or a text, of some value. Numbers are small enough for a float64, which the
// judges read them as.
func (m *maker) integer(least, most int64) any {
	n := one(m, least, most, 0, 1, int64(m.IntN(1000)))
	const exact = 1 << 53
	switch m.IntN(4) {
	case 0:
		if n < -exact || n > exact {
			break
		}
		return json.RawMessage(strconv.FormatInt(n, 10))
	case 1:
		return json.RawMessage(strconv.Itoa(m.IntN(100)) + ".0")
	}
	return strconv.FormatInt(n, 10)
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
		if m.IntN(3) > 0 && !required(fd) || one != nil && chosen[one.Name()] || oneWay(fd) {
			continue
		}
		if one != nil {
			chosen[one.Name()] = true
		}
		name := prefix + m.name(fd)
		switch {
		case fd.IsMap():
			if value := fd.MapValue(); value.Message() == nil {
				into.Set(name+"["+cmp.Or(m.key(fd.MapKey()), "x")+"]", m.parameter(value))
			}
		case anyJSON(fd):
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

// anyJSON reports whether the values of a field are JSON of any form. As a parameter they are JSON
// in a text, and the judges do not look into it.
func anyJSON(fd protoreflect.FieldDescriptor) bool {
	if ed := fd.Enum(); ed != nil {
		return ed.FullName() == "google.protobuf.NullValue"
	}
	if fd.Message() == nil {
		return false
	}
	switch fd.Message().FullName() {
	case "google.protobuf.Struct", "google.protobuf.Value", "google.protobuf.ListValue", "google.protobuf.Any", "google.protobuf.Empty":
		return true
	default:
		return false
	}
}

func (m *maker) nested(fd protoreflect.FieldDescriptor) bool {
	if fd.Message() == nil {
		return false
	}
	_, known := m.wellKnown(fd.Message(), 0)
	return !known
}

// parameter is a value as text, in the plain forms that both judges read. They refuse an empty
// text, an enum's number, an integer with a point, and an integer above those of int64.
func (m *maker) parameter(fd protoreflect.FieldDescriptor) string {
	if m.IntN(1000) < m.junk {
		return fmt.Sprint(m.wrong())
	}
	if fd.FullName() == "google.api.HttpBody.content_type" {
		return "text/plain"
	}
	kind := fd.Kind()
	if fd.Message() != nil && strings.HasSuffix(string(fd.Message().FullName()), "Value") {
		kind = fd.Message().Fields().ByNumber(1).Kind()
	}
	switch kind {
	case protoreflect.EnumKind:
		return string(fd.Enum().Values().Get(m.IntN(fd.Enum().Values().Len())).Name())
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return strconv.FormatInt(one[int64](m, math.MinInt32, math.MaxInt32, 0, 7), 10)
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return strconv.FormatInt(one[int64](m, math.MaxUint32, 0, 7), 10)
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return strconv.FormatInt(one[int64](m, math.MaxInt64, 0, 7), 10)
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return strconv.FormatInt(one[int64](m, math.MinInt64, math.MaxInt64, 0, 7), 10)
	}
	switch v := m.value(fd, 4).(type) {
	case string:
		return cmp.Or(v, one(m, "a", "name"))
	default:
		raw, _ := json.Marshal(v)
		return string(raw)
	}
}
