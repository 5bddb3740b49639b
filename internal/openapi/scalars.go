package openapi

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/caddy-grpc/gateway/internal/transcode"
)

func itoa(n int) string { return strconv.Itoa(n) }

// Patterns of numbers in quotes. ProtoJSON writes integers of 64 bits in quotes, because numbers in
// JavaScript have 53 bits.
const (
	signedPattern   = "^-?[0-9]+$"
	unsignedPattern = "^[0-9]+$"
	floatPattern    = `^(NaN|-?Infinity|-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?)$`
)

// scalar is the schema of a scalar (ProtoJSON, "JSON Mapping").
func scalar(kind protoreflect.Kind, dir Direction) *object {
	switch kind {
	case protoreflect.BoolKind:
		return newObject("type", "boolean")
	case protoreflect.StringKind:
		return newObject("type", "string")
	case protoreflect.BytesKind:
		if dir == Request {
			return newObject("type", "string", "description", "Base64, of the standard or the URL alphabet, with or without padding.")
		}
		return newObject("type", "string", "contentEncoding", "base64")
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return integer("int32", signedPattern, dir, false)
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return integer("uint32", unsignedPattern, dir, false)
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return integer("int64", signedPattern, dir, true)
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return integer("uint64", unsignedPattern, dir, true)
	case protoreflect.FloatKind:
		return number("float", dir)
	case protoreflect.DoubleKind:
		return number("double", dir)
	default:
		return newObject()
	}
}

// scalarDiffers reports whether requests may have another form than answers.
func scalarDiffers(kind protoreflect.Kind) bool {
	switch kind {
	case protoreflect.BoolKind, protoreflect.StringKind, protoreflect.MessageKind, protoreflect.GroupKind:
		return false
	default:
		return true
	}
}

// integer is written as a string if it has 64 bits, and otherwise as a number. Both are read.
func integer(format, pattern string, dir Direction, quoted bool) *object {
	switch {
	case dir == Request:
		return newObject("type", list{"integer", "string"}, "format", format, "pattern", pattern)
	case quoted:
		return newObject("type", "string", "format", format, "pattern", pattern)
	default:
		return newObject("type", "integer", "format", format)
	}
}

// number has three values that JSON's numbers do not have.
func number(format string, dir Direction) *object {
	special := newObject("type", "string", "enum", list{"NaN", "Infinity", "-Infinity"})
	if dir == Request {
		special = newObject("type", "string", "pattern", floatPattern)
	}
	return newObject("anyOf", list{newObject("type", "number", "format", format), special})
}

// parameter is the schema of a field as text in a path or a query.
func (s *Schemas) parameter(fd protoreflect.FieldDescriptor) *object {
	if !s.opts.JSON.LenientText || fd.IsMap() {
		return s.field(fd, Request)
	}
	o := s.field(fd, Request)
	if items, ok := o.get("items").(*object); ok {
		beLenient(items, fd)
	} else {
		beLenient(o, fd)
	}
	return o
}

// beLenient describes the texts that Go's package strconv takes as well.
func beLenient(o *object, fd protoreflect.FieldDescriptor) {
	if md := fd.Message(); md != nil && md.FullName() == "google.protobuf.Duration" {
		o.set("pattern", `^[+-]?([0-9.]+(ns|us|µs|μs|ms|s|m|h))+$|^0$`)
		return
	}
	switch fd.Kind() {
	case protoreflect.BoolKind:
		o.set("type", list{"boolean", "string"}).
			set("enum", list{true, false, "1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"})
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		if forms, ok := o.get("anyOf").(list); ok {
			o.set("anyOf", list{forms[0], newObject("type", "string")})
		}
	default:
		if pattern := o.get("pattern"); pattern == signedPattern || pattern == unsignedPattern {
			o.set("pattern", "^[+-]?[0-9]+$")
		}
	}
}

// parameterNote is what is said about a field that is in a path or a query.
func (s *Schemas) parameterNote(fd protoreflect.FieldDescriptor) string {
	note := cmp.Or(s.fieldWords(fd).text("description"), s.comment(fd))
	return paragraphs(append([]string{note}, s.fieldNotes(fd)...)...)
}

// enum returns a reference to the description of an enum. Requests have one of their own if more is
// read than is written.
func (s *Schemas) enum(ed protoreflect.EnumDescriptor, dir Direction) *object {
	if ed.FullName() == "google.protobuf.NullValue" {
		return newObject("type", "null")
	}
	name := s.name(ed)
	if dir == Request && (s.readsMoreNames() || hasAliases(ed)) {
		name += "-input"
	}
	if _, ok := s.made[name]; !ok {
		s.made[name] = s.describeEnum(ed, dir)
	}
	return newObject("$ref", s.prefix+name)
}

// hasAliases reports whether two names have one number. The gateway writes the first, and reads
// all.
func hasAliases(ed protoreflect.EnumDescriptor) bool {
	numbers := make(map[protoreflect.EnumNumber]bool)
	for i := range ed.Values().Len() {
		numbers[ed.Values().Get(i).Number()] = true
	}
	return len(numbers) < ed.Values().Len()
}

// readsMoreNames reports whether more forms of enums are read than are written.
func (s *Schemas) readsMoreNames() bool {
	j := s.opts.JSON
	return j.EnumsAsNumbers || j.DiscardUnknown || j.EnumCase != transcode.EnumCaseExact || j.OmitEnumPrefix
}

// describeEnum describes an enum by the names that the gateway writes. A number that has no name is
// written as a number, and numbers are always read.
func (s *Schemas) describeEnum(ed protoreflect.EnumDescriptor, dir Direction) *object {
	out := newObject("description", s.enumNote(ed))
	if isDeprecated(ed.Options()) {
		out.set("deprecated", true)
	}
	if s.opts.JSON.EnumsAsNumbers && dir == Answer {
		return out.set("type", "integer").set("format", "int32").
			set("description", paragraphs(s.enumNote(ed), s.enumNumbers(ed)))
	}
	names := make(list, 0, ed.Values().Len())
	for _, name := range transcode.EnumNames(ed, s.opts.JSON) {
		names = append(names, name)
	}
	if dir == Request && hasAliases(ed) {
		for i := range ed.Values().Len() {
			if name := string(ed.Values().Get(i).Name()); !slices.Contains(names, any(name)) {
				names = append(names, name)
			}
		}
	}
	known := newObject("type", "string", "enum", names)
	if dir == Request && (s.opts.JSON.DiscardUnknown || s.opts.JSON.EnumCase != transcode.EnumCaseExact || s.opts.JSON.OmitEnumPrefix) {
		// More names are read than are written.
		known = newObject("type", "string", "examples", names)
	}
	return out.set("anyOf", list{known, newObject("type", "integer", "format", "int32")})
}

// enumNote is what the comments say about an enum and its values. JSON schema has no place for
// words about one value.
func (s *Schemas) enumNote(ed protoreflect.EnumDescriptor) string {
	var values []string
	for i := range ed.Values().Len() {
		v := ed.Values().Get(i)
		note := strings.Join(strings.Fields(s.comment(v)), " ")
		if isDeprecated(v.Options()) {
			note = strings.TrimSpace("Deprecated. " + note)
		}
		if note != "" {
			values = append(values, "- `"+string(v.Name())+"`: "+note)
		}
	}
	return paragraphs(s.comment(ed), strings.Join(values, "\n"))
}

// enumNumbers says in words what the numbers mean.
func (s *Schemas) enumNumbers(ed protoreflect.EnumDescriptor) string {
	var b bytes.Buffer
	for i := range ed.Values().Len() {
		v := ed.Values().Get(i)
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(itoa(int(v.Number())) + ": " + string(v.Name()))
	}
	return b.String()
}

// equal reports whether two descriptors of one name declare the same message or enum.
func equal(a, b protoreflect.Descriptor) bool {
	switch a := a.(type) {
	case protoreflect.MessageDescriptor:
		other, ok := b.(protoreflect.MessageDescriptor)
		return ok && proto.Equal(protodesc.ToDescriptorProto(a), protodesc.ToDescriptorProto(other))
	case protoreflect.EnumDescriptor:
		other, ok := b.(protoreflect.EnumDescriptor)
		return ok && proto.Equal(protodesc.ToEnumDescriptorProto(a), protodesc.ToEnumDescriptorProto(other))
	default:
		return false
	}
}
