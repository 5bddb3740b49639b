package transcode_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

// textBindable reports whether one element of the field can be written as text that is not JSON. It
// can if it is a scalar, or a well-known type whose JSON form is a scalar.
func textBindable(fd protoreflect.FieldDescriptor) bool {
	md := fd.Message()
	if md == nil {
		return fd.Kind() != protoreflect.EnumKind || fd.Enum().FullName() != "google.protobuf.NullValue"
	}
	switch md.FullName() {
	case "google.protobuf.Timestamp", "google.protobuf.Duration", "google.protobuf.FieldMask":
		return true
	default:
		return isWrapper(md)
	}
}

func isWrapper(md protoreflect.MessageDescriptor) bool {
	switch md.FullName() {
	case "google.protobuf.BoolValue", "google.protobuf.Int32Value", "google.protobuf.Int64Value", "google.protobuf.UInt32Value", "google.protobuf.UInt64Value",
		"google.protobuf.FloatValue", "google.protobuf.DoubleValue", "google.protobuf.StringValue", "google.protobuf.BytesValue":
		return true
	default:
		return false
	}
}

// textAsJSON returns the JSON value that a text represents. A value that is or may be a JSON string
// is quoted. true, false and the number of an enum value stay as they are.
func textAsJSON(fd protoreflect.FieldDescriptor, text string) (string, error) {
	if !utf8.ValidString(text) {
		return "", fmt.Errorf("%q is not UTF-8", text)
	}
	if fd.Message() != nil && isWrapper(fd.Message()) {
		fd = fd.Message().Fields().ByNumber(1)
	}
	quoted, _ := json.Marshal(text) // cannot fail
	switch fd.Kind() {
	case protoreflect.BoolKind:
		if text != "true" && text != "false" {
			return "", fmt.Errorf("%q is not a bool", text)
		}
		return text, nil
	case protoreflect.EnumKind:
		if _, err := strconv.ParseInt(text, 10, 32); err == nil && fd.Enum().Values().ByName(protoreflect.Name(text)) == nil {
			return strings.TrimPrefix(text, "+"), nil
		}
	}
	return string(quoted), nil
}

// fieldTextTrial binds a text to a field, after a body that may have set the field already.
func fieldTextTrial(p *pair, t *tape) trial {
	f, ok := fieldPathOf(t, p.md, true)
	if !ok || !bindsText(&f) {
		return trial{}
	}
	text := genText(t, p.schema, &f)
	if f.key != nil {
		*f.key = t.mapKeyText(f.last().MapKey())
		f.path = strings.TrimSuffix(f.path, "[]") + "[" + *f.key + "]"
		if strings.ContainsAny(*f.key, "[]") {
			return trial{}
		}
	}
	var body []byte
	if t.oneIn(3) {
		body = genWire(t, p.schema, p.md, t.n(defective))
	}
	return trial{[]byte(text), func(text []byte) error { return p.compareFieldText(f, body, string(text)) }}
}

// bindsText reports whether the path ends in an element that can be written as text.
func bindsText(f *fieldPath) bool {
	fd := f.last()
	if fd.IsMap() {
		return f.key != nil && textBindable(fd.MapValue())
	}
	return textBindable(fd)
}

func (t *tape) mapKeyText(fd protoreflect.FieldDescriptor) string {
	switch fd.Kind() {
	case protoreflect.StringKind:
		return t.text()
	case protoreflect.BoolKind:
		return pick(t, "true", "false", "True", "", "1")
	default:
		return pick(t, "0", "1", "-1", "", "x", "1.0", "4294967296", strconv.FormatInt(t.int64(), 10))
	}
}

// genText returns a text for the field: its JSON form without quotes.
func genText(t *tape, s *schema, f *fieldPath) string {
	fd := f.last()
	if fd.IsMap() {
		fd = fd.MapValue()
	}
	if t.oneIn(6) {
		return pick(t, t.text(), t.badText())
	}
	g := &jsonGen{tape: t, schema: s, wild: t.oneIn(3), budget: 5}
	value := g.single(fd, 1)
	var text string
	if json.Unmarshal([]byte(value), &text) == nil {
		return text
	}
	return value
}

func (p *pair) compareFieldText(f fieldPath, body []byte, text string) error {
	merged := dynamicpb.NewMessage(p.md)
	if err := p.parsePartial(body, merged); err != nil {
		return nil //nolint:nilerr // bodies that are no messages are judged elsewhere
	}
	wantErr := p.bindText(&f, merged, text)

	field, err := p.ours.Field(f.path)
	switch {
	case err != nil && wantErr != nil:
		return nil //nolint:nilerr // a map key of the wrong kind, which both refuse
	case err != nil:
		return fmt.Errorf("no field %q: %w", f.path, err)
	}
	got, gotErr := field.AppendText([]byte(prefix), text)
	if err := checkAppend(got, gotErr); err != nil {
		return fmt.Errorf("%s: %w", f.path, err)
	}
	switch {
	case gotErr != nil && wantErr == nil:
		return fmt.Errorf("%s: refused: %w\noracle accepts: %s", f.path, gotErr, p.show(merged))
	case gotErr != nil:
		return checkSyntaxError(gotErr, len(text))
	case wantErr != nil:
		return fmt.Errorf("%s: accepted as %x\noracle refuses: %w", f.path, got[len(prefix):], wantErr)
	}
	whole := slices.Concat(body, got[len(prefix):])
	if err := p.sameFragment(whole, merged); err != nil {
		return fmt.Errorf("%s after %x: %w", f.path, body, err)
	}
	return nil
}

// bindText sets the field of a message to the text, with the help of protojson. It appends elements
// of lists, and also the paths of a FieldMask, because they are a list. It refuses an unknown name
// of an enum value with all options, because those are about JSON.
func (p *pair) bindText(f *fieldPath, m protoreflect.Message, text string) error {
	fd := f.last()
	element := fd
	if fd.IsMap() {
		element = fd.MapValue()
	}
	value, err := textAsJSON(element, text)
	if err != nil {
		return err
	}
	switch {
	case fd.IsMap():
		key, err := textAsMapKey(*f.key)
		if err != nil {
			return err
		}
		value = "{" + key + ":" + value + "}"
	case fd.IsList():
		value = "[" + value + "]"
	}
	fragment := dynamicpb.NewMessage(p.md)
	opts := protojson.UnmarshalOptions{AllowPartial: true, Resolver: p.types}
	if err := opts.Unmarshal(f.wrap(value), fragment); err != nil {
		return err
	}
	from := protoreflect.Message(fragment)
	for _, fd := range f.fields[:len(f.fields)-1] {
		from, m = from.Get(fd).Message(), m.Mutable(fd).Message()
	}
	switch v := from.Get(fd); {
	case fd.IsMap():
		into := m.Mutable(fd).Map()
		v.Map().Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
			into.Set(k, v)
			return true
		})
	case fd.IsList():
		into := m.Mutable(fd).List()
		for i := range v.List().Len() {
			into.Append(v.List().Get(i))
		}
	case fd.Message() != nil && fd.Message().FullName() != "google.protobuf.FieldMask":
		// This is not a merge. A Timestamp of whole seconds does not keep the nanoseconds from
		// before.
		m.Set(fd, v)
	case fd.Message() != nil && fd.Message().FullName() == "google.protobuf.FieldMask":
		proto.Merge(m.Mutable(fd).Message().Interface(), v.Message().Interface())
	default:
		m.Set(fd, v)
	}
	return nil
}

func textAsMapKey(key string) (string, error) {
	if !utf8.ValidString(key) {
		return "", fmt.Errorf("%q is not UTF-8", key)
	}
	quoted, err := json.Marshal(key)
	return string(quoted), err
}

// FuzzField binds any text to a field that the fuzzing engine chooses.
func FuzzField(f *testing.F) {
	for root := range judgedMessages {
		for _, text := range []string{"", "1", "true", "FOO", "1.5", "2006-01-02T15:04:05Z", "1.5s", "a,b", "AQID", "-9223372036854775808"} {
			f.Add(uint8(root), []byte{byte(root * 3), 0, byte(len(text))}, text)
		}
	}
	f.Fuzz(func(t *testing.T, root uint8, choices []byte, text string) {
		p := pairOf(t, root, 0)
		path, ok := fieldPathOf(newTape(choices), p.md, false)
		if !ok || !bindsText(&path) {
			return
		}
		if err := p.compareFieldText(path, nil, text); err != nil {
			t.Errorf("%s %q: %v", p.md.FullName(), text, err)
		}
		if err := p.compareFieldJSON(path, text); err != nil {
			t.Errorf("%s %q: %v", p.md.FullName(), text, err)
		}
	})
}
