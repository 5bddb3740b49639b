package openapi

import (
	"bytes"
	"strconv"

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
		special = newObject("type", "string")
	}
	return newObject("anyOf", list{newObject("type", "number", "format", format), special})
}

// enum describes an enum by the names that the gateway writes. A number that has no name is written
// as a number, and numbers are always read.
func (s *Schemas) enum(ed protoreflect.EnumDescriptor, dir Direction) *object {
	if ed.FullName() == "google.protobuf.NullValue" {
		return newObject("type", "null")
	}
	if s.opts.JSON.EnumsAsNumbers && dir == Answer {
		return newObject("type", "integer", "format", "int32", "description", s.enumNumbers(ed))
	}
	names := make(list, 0, ed.Values().Len())
	for _, name := range transcode.EnumNames(ed, s.opts.JSON) {
		names = append(names, name)
	}
	known := newObject("type", "string", "enum", names)
	if dir == Request && (s.opts.JSON.DiscardUnknown || s.opts.JSON.EnumCase != transcode.EnumCaseExact || s.opts.JSON.OmitEnumPrefix) {
		// More names are read than are written.
		known = newObject("type", "string", "examples", names)
	}
	return newObject("anyOf", list{known, newObject("type", "integer", "format", "int32")})
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

// equalMessages reports whether two descriptors of one name declare the same message.
func equalMessages(a, b protoreflect.MessageDescriptor) bool {
	return proto.Equal(protodesc.ToDescriptorProto(a), protodesc.ToDescriptorProto(b))
}
