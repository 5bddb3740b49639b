// Package transcode converts between JSON and the protobuf wire format without building a message.
package transcode

import (
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Resolver finds the types that a message may name: those inside google.protobuf.Any, and extensions.
// *protoregistry.Types and *dynamicpb.Types satisfy it.
type Resolver interface {
	FindMessageByName(protoreflect.FullName) (protoreflect.MessageType, error)
	FindMessageByURL(url string) (protoreflect.MessageType, error)
	FindExtensionByName(protoreflect.FullName) (protoreflect.ExtensionType, error)
	FindExtensionByNumber(protoreflect.FullName, protoreflect.FieldNumber) (protoreflect.ExtensionType, error)
}

// Options say how JSON is written and how strictly it is read. The zero value is the ProtoJSON default.
type Options struct {
	UseProtoNames  bool // write field names as in the .proto file; default lowerCamelCase (json_name)
	EmitDefaults   bool // write fields without presence that are at their default, and empty lists and maps
	EnumsAsNumbers bool // write enum values as numbers; default by name
	DiscardUnknown bool // skip unknown fields and unknown enum names in JSON; default: refuse
	MaxDepth       int  // nesting of messages and JSON values; default 100... see Compile
}

// Compiler compiles message types to codecs when they are first used, and keeps them. It is safe for
// concurrent use.
type Compiler struct{}

// NewCompiler returns a compiler that resolves Any and extensions in types, which may be nil.
func NewCompiler(types Resolver, opts Options) *Compiler { panic("to be built") }

// Codec returns the codec of a message type. Recursive types are handled.
func (c *Compiler) Codec(md protoreflect.MessageDescriptor) (*Codec, error) { panic("to be built") }

// Codec converts one message type between JSON and the protobuf wire format. Immutable, safe for concurrent use.
type Codec struct{}

// JSONToWire appends the wire form of the JSON text to dst. On error dst is returned at its old length.
func (c *Codec) JSONToWire(dst, json []byte) ([]byte, error) { panic("to be built") }

// WireToJSON appends the JSON form of the wire bytes to dst. On error dst is returned at its old length.
func (c *Codec) WireToJSON(dst, wire []byte) ([]byte, error) { panic("to be built") }

// Descriptor returns the message type.
func (c *Codec) Descriptor() protoreflect.MessageDescriptor { panic("to be built") }

// Field resolves a path of field names (proto or JSON name) joined by dots, as HTTP rules and query parameters
// write it: "book.name", and "labels[key]" for an entry of a map. All but the last must be singular messages.
func (c *Codec) Field(path string) (*Field, error) { panic("to be built") }

// Field is one field, maybe nested, of a codec's message.
type Field struct{}

// Descriptor returns the field that the path ends at.
func (f *Field) Descriptor() protoreflect.FieldDescriptor { panic("to be built") }

// Path returns the proto field names from the message down.
func (f *Field) Path() []protoreflect.FieldDescriptor { panic("to be built") }

// AppendText appends the wire form of the field (with its enclosing messages) set to what a path or query
// parameter says: a scalar, enum name or number, a well-known type with a string or scalar JSON form, one element of
// a repeated field, or the value of a map entry. Protobuf's merge rule makes appended fields override.
func (f *Field) AppendText(dst []byte, value string) ([]byte, error) { panic("to be built") }

// AppendJSON appends the wire form of the field set to the JSON value: a request body bound to a field.
// Lists and maps are bound whole.
func (f *Field) AppendJSON(dst, json []byte) ([]byte, error) { panic("to be built") }

// WireToJSON takes the wire form of the codec's message and appends the JSON value of this field: a
// response_body. An absent field is written as its default (null for a message).
func (f *Field) WireToJSON(dst, wire []byte) ([]byte, error) { panic("to be built") }

// A SyntaxError says that the input is not what the message type accepts: bad JSON, a wrong type, an unknown field,
// malformed wire.
type SyntaxError struct {
	Path     string // JSON-pointer-like, "/books/3/title"
	Offset   int    // in bytes from the start of the input
	Expected string
	Found    string
}

func (e *SyntaxError) Error() string { panic("to be built") }

// A RangeError says that a message is well formed but has no JSON form, such as a Timestamp out of range.
type RangeError struct {
	Path   string
	Reason string
}

func (e *RangeError) Error() string { panic("to be built") }
