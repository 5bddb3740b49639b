package openapi

import (
	"cmp"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// Wrapped is the member that has a message whose JSON form need not be an object, such as a
// google.protobuf.StringValue.
const Wrapped = "value"

// definitions is where a standalone schema has the messages that it refers to.
const definitions = "#/$defs/"

// Arguments returns a JSON schema (2020-12) of an object with which a method is called. It is the
// request message, unless wrapped: then the message is the member Wrapped.
func Arguments(opts Options, md protoreflect.MethodDescriptor) (schema []byte, wrapped bool, err error) {
	s := NewSchemas(definitions, opts)
	o, wrapped := s.object(md.Input(), Request)
	schema, err = s.standalone(o)
	return schema, wrapped, err
}

// Result is Arguments for the answer of a method. That of a stream has the messages in a list
// `messages`, and a member `truncated`. It is never wrapped.
func Result(opts Options, md protoreflect.MethodDescriptor) (schema []byte, wrapped bool, err error) {
	s := NewSchemas(definitions, opts)
	var o *object
	if md.IsStreamingServer() {
		o = newObject("type", "object", "properties", newObject(
			"messages", newObject("type", "array", "items", s.Message(md.Output(), Answer)),
			"truncated", newObject("type", "boolean", "description", "Whether the stream had more messages."),
		), "required", list{"messages"})
	} else {
		o, wrapped = s.object(md.Output(), Answer)
	}
	schema, err = s.standalone(o)
	return schema, wrapped, err
}

// object is the schema of a message as an object.
func (s *Schemas) object(md protoreflect.MessageDescriptor, dir Direction) (o *object, wrapped bool) {
	switch known := s.wellKnown(md, dir); {
	case known == nil:
		o = newObject()
		s.describe(o, md, dir, nil)
		return o, false
	case known.get("type") == "object":
		return known, false
	default:
		return newObject("type", "object", "properties", newObject(Wrapped, known), "required", list{Wrapped}, "additionalProperties", false), true
	}
}

// standalone adds what a schema refers to.
func (s *Schemas) standalone(o *object) ([]byte, error) {
	if len(s.made) > 0 {
		o.set("$defs", s.Components())
	}
	return appendJSON(nil, o)
}

// Describe returns what the schema says about a method, in words.
func Describe(opts Options, md protoreflect.MethodDescriptor) string {
	s := NewSchemas("", opts)
	words := s.option(md, v2Operation, v3Operation)
	text := cmp.Or(paragraphs(words.text("summary"), words.text("description")), s.comment(md))
	if isDeprecated(md.Options()) || isDeprecated(md.Parent().Options()) || words.flag("deprecated") {
		text = paragraphs("Deprecated.", text)
	}
	return strings.TrimSpace(text)
}
