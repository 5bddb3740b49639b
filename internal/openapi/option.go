package openapi

import (
	"encoding/json"
	"math"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"
)

// option is the value of an option that is not linked into the gateway. It is read by the names of
// its fields, which the service's own copy of the option's .proto file declares. So the copy may be
// of any version. A field that is missing there, or has another type, reads as not set.
//
// It may be several messages, for options that say the same by the same names. Then the first one
// that has a field counts.
type option []protoreflect.Message

// optionKey is an option as a file sees it.
type optionKey struct {
	file protoreflect.FileDescriptor
	name protoreflect.FullName
}

// option returns the options of a declaration that have one of these full names and are set.
func (s *Schemas) option(d protoreflect.Descriptor, names ...protoreflect.FullName) option {
	m := d.Options()
	if m == nil || len(m.ProtoReflect().GetUnknown()) == 0 {
		return nil // What is not linked is unknown.
	}
	var out option
	for _, name := range names {
		key := optionKey{d.ParentFile(), name}
		xd, known := s.extensions[key]
		if !known {
			xd = findExtension(key.file, name)
			s.extensions[key] = xd
		}
		if xd == nil || xd.ContainingMessage().FullName() != m.ProtoReflect().Descriptor().FullName() {
			continue
		}
		if value := decodeOption(m.ProtoReflect().GetUnknown(), xd); value != nil {
			out = append(out, value)
		}
	}
	return out
}

// findExtension finds an option among the files that a file imports, and those that these import
// publicly. It is nil if the option is not there, or is no message.
func findExtension(file protoreflect.FileDescriptor, name protoreflect.FullName) protoreflect.ExtensionDescriptor {
	if xd := importedExtension(file, name); xd != nil && xd.Message() != nil && !xd.IsList() {
		return xd
	}
	return nil
}

// importedExtension is findExtension for options of any type.
func importedExtension(file protoreflect.FileDescriptor, name protoreflect.FullName) protoreflect.ExtensionDescriptor {
	seen := make(map[string]bool)
	var search func(file protoreflect.FileDescriptor, publicOnly bool) protoreflect.ExtensionDescriptor
	search = func(file protoreflect.FileDescriptor, publicOnly bool) protoreflect.ExtensionDescriptor {
		for i := range file.Imports().Len() {
			imported := file.Imports().Get(i)
			if imported.IsPlaceholder() || publicOnly && !imported.IsPublic || seen[imported.Path()] {
				continue
			}
			seen[imported.Path()] = true
			if imported.Package() == name.Parent() {
				if xd := imported.Extensions().ByName(name.Name()); xd != nil {
					return xd
				}
			}
			if xd := search(imported.FileDescriptor, true); xd != nil {
				return xd
			}
		}
		return nil
	}
	if file == nil {
		return nil
	}
	return search(file, false)
}

// decodeOption finds the extension among unknown fields. It is nil if it is not there or malformed.
func decodeOption(unknown []byte, xd protoreflect.ExtensionDescriptor) protoreflect.Message {
	var raw []byte
	found := false
	for len(unknown) > 0 {
		number, kind, n := protowire.ConsumeTag(unknown)
		if n < 0 {
			return nil
		}
		size := protowire.ConsumeFieldValue(number, kind, unknown[n:])
		if size < 0 {
			return nil
		}
		if number == xd.Number() && kind == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(unknown[n:])
			raw, found = append(raw, value...), true // Pieces of a message are merged.
		}
		unknown = unknown[n+size:]
	}
	if !found {
		return nil
	}
	m := dynamicpb.NewMessage(xd.Message())
	// Numbers of extensions are private to a service, so the types of other plugins do not apply.
	err := proto.UnmarshalOptions{AllowPartial: true, Resolver: new(protoregistry.Types)}.Unmarshal(raw, m)
	if err != nil {
		return nil
	}
	return m
}

// find returns a field that is set, as it is asked for, in the first message that has one.
func (o option) find(name string, is func(protoreflect.FieldDescriptor) bool) (protoreflect.FieldDescriptor, protoreflect.Value, bool) {
	for _, m := range o {
		fd := m.Descriptor().Fields().ByName(protoreflect.Name(name))
		if fd != nil && is(fd) && m.Has(fd) {
			return fd, m.Get(fd), true
		}
	}
	return nil, protoreflect.Value{}, false
}

func singular(fd protoreflect.FieldDescriptor) bool { return !fd.IsList() && !fd.IsMap() }

// text is a field of text.
func (o option) text(name string) string {
	_, v, ok := o.find(name, func(fd protoreflect.FieldDescriptor) bool {
		return singular(fd) && fd.Kind() == protoreflect.StringKind
	})
	if !ok {
		return ""
	}
	return v.String()
}

// flag is a field that is true or false.
func (o option) flag(name string) bool {
	_, v, ok := o.find(name, func(fd protoreflect.FieldDescriptor) bool {
		return singular(fd) && fd.Kind() == protoreflect.BoolKind
	})
	return ok && v.Bool()
}

// choice is the name of the value of an enum.
func (o option) choice(name string) string {
	fd, v, ok := o.find(name, func(fd protoreflect.FieldDescriptor) bool {
		return singular(fd) && fd.Kind() == protoreflect.EnumKind
	})
	if !ok {
		return ""
	}
	if value := fd.Enum().Values().ByNumber(v.Enum()); value != nil {
		return string(value.Name())
	}
	return ""
}

// at is a field that is a message.
func (o option) at(name string) option {
	var out option
	for _, m := range o {
		fd := m.Descriptor().Fields().ByName(protoreflect.Name(name))
		if fd != nil && singular(fd) && fd.Message() != nil && m.Has(fd) {
			out = append(out, m.Get(fd).Message())
		}
	}
	return out
}

// each is the elements of a field that is a list of messages.
func (o option) each(name string) []option {
	_, v, ok := o.find(name, func(fd protoreflect.FieldDescriptor) bool { return fd.IsList() && fd.Message() != nil })
	if !ok {
		return nil
	}
	var out []option
	for i := range v.List().Len() {
		out = append(out, option{v.List().Get(i).Message()})
	}
	return out
}

// value is a scalar field for JSON, or nil if it is not set.
func (o option) value(name string) any {
	fd, v, ok := o.find(name, func(fd protoreflect.FieldDescriptor) bool { return singular(fd) && fd.Message() == nil })
	if !ok {
		return nil
	}
	return jsonScalar(fd, v)
}

// number is value for a field that is a number.
func (o option) number(name string) any {
	switch value := o.value(name).(type) {
	case string, bool:
		return nil
	default:
		return value
	}
}

// values is value for a list. Values without a JSON form are left out.
func (o option) values(name string) list {
	fd, v, ok := o.find(name, func(fd protoreflect.FieldDescriptor) bool { return fd.IsList() && fd.Message() == nil })
	if !ok {
		return nil
	}
	var out list
	for i := range v.List().Len() {
		if element := jsonScalar(fd, v.List().Get(i)); element != nil {
			out = append(out, element)
		}
	}
	return out
}

// texts is values for a list of texts.
func (o option) texts(name string) []string {
	var out []string
	for _, value := range o.values(name) {
		if text, ok := value.(string); ok && text != "" {
			out = append(out, text)
		}
	}
	return out
}

// jsonScalar is nil for what JSON has no form for: bytes, and numbers that are not finite.
func jsonScalar(fd protoreflect.FieldDescriptor, v protoreflect.Value) any {
	switch fd.Kind() {
	case protoreflect.BytesKind:
		return nil
	case protoreflect.EnumKind:
		return int64(v.Enum())
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		if f := v.Float(); math.IsNaN(f) || math.IsInf(f, 0) {
			return nil
		}
	}
	return v.Interface()
}

// literal is a field whose text is JSON, such as an example. A text that is not JSON is a string.
// The field of gnostic is a message with YAML in it.
func (o option) literal(name string) any {
	if text := o.text(name); text != "" {
		if json.Valid([]byte(text)) {
			return json.RawMessage(text)
		}
		return text
	}
	text := o.at(name).text("yaml")
	if text == "" {
		return nil
	}
	var value any
	if err := yaml.Unmarshal([]byte(text), &value); err != nil {
		return text
	}
	raw, err := json.Marshal(value)
	if err != nil {
		return text
	}
	return json.RawMessage(raw)
}

// MethodText returns the value of an option of methods that is a text, such as `mcp.v1.tool_name`.
// It is "" if the option is not set, or if the files that the method's imports do not declare it.
func MethodText(md protoreflect.MethodDescriptor, name protoreflect.FullName) string {
	m := md.Options()
	if m == nil || len(m.ProtoReflect().GetUnknown()) == 0 {
		return "" // What is not linked is unknown.
	}
	xd := importedExtension(md.ParentFile(), name)
	if xd == nil || xd.Kind() != protoreflect.StringKind || xd.IsList() ||
		xd.ContainingMessage().FullName() != m.ProtoReflect().Descriptor().FullName() {
		return ""
	}
	text := ""
	for unknown := m.ProtoReflect().GetUnknown(); len(unknown) > 0; {
		number, kind, n := protowire.ConsumeTag(unknown)
		if n < 0 {
			return ""
		}
		size := protowire.ConsumeFieldValue(number, kind, unknown[n:])
		if size < 0 {
			return ""
		}
		if number == xd.Number() && kind == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(unknown[n:])
			text = string(value) // The last one counts.
		}
		unknown = unknown[n+size:]
	}
	return text
}
