// Package transcode converts between JSON and the protobuf wire format without building a message.
//
// A Compiler turns a message descriptor into a program: tables of fields by number and by name, with all that is needed to
// read and write them. A Codec runs a program over bytes. The mapping is ProtoJSON, as protojson and protobuf's own
// conformance suite have it; docs/transcoding.md tells how it works.
//
// The package knows nothing of HTTP, routes or streams, and it is not a protobuf runtime: it converts, and never hands
// out messages.
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

// Limits where Options do not say otherwise.
const (
	DefaultMaxDepth     = 100       // as in the C++ and Java runtimes
	DefaultMaxWireDepth = 1000      // about 2 MiB of stack
	DefaultMaxOutput    = 256 << 20 // bytes
	DefaultMaxElements  = 16 << 20
)

// Options say how JSON is written and how strictly it is read. The zero value is the ProtoJSON default.
type Options struct {
	UseProtoNames  bool // write field names as in the .proto file; default lowerCamelCase (json_name)
	EmitDefaults   bool // write fields without presence that are at their default, and empty lists and maps
	EnumsAsNumbers bool // write enum values as numbers; default by name
	DiscardUnknown bool // skip unknown fields and unknown enum names in JSON; default: refuse

	// OmitEnumPrefix writes the names of enum values without that of their type, PENDING for ORDER_STATUS_PENDING of OrderStatus,
	// and reads both. A name that would not be unique is written in full. Default: in full, and nothing else is read.
	OmitEnumPrefix bool

	// EnumCase says how the case of the names of enum values is read and written. Default: exact.
	EnumCase EnumCase

	// RawMaskPaths takes and writes the paths of a google.protobuf.FieldMask that have no form in lowerCamelCase as they
	// are: "*", and names such as "isbn_10". Default: refuse them, as ProtoJSON says.
	RawMaskPaths bool

	// MaxDepth is how deeply messages in JSON may be nested, the outermost counted. The levels of a JSON value that is a
	// google.protobuf.Value count too. Default 100.
	MaxDepth int

	// MaxWireDepth is the same for messages on the wire. Default 1000.
	MaxWireDepth int

	// MaxOutput is how many bytes one conversion may append. JSON may be much longer than its wire where EmitDefaults
	// is set, and wire longer than its JSON in lists that are not packed. Default 256 MiB.
	MaxOutput int

	// MaxElements is how many elements of lists and entries of maps one conversion may hold in all. Default 16 Mi.
	MaxElements int
}

// Codec converts one message type between JSON and the protobuf wire format. Immutable, safe for concurrent use.
type Codec struct {
	program *program
}

// JSONToWire appends the wire form of the JSON text to dst. On error dst is returned at its old length. Errors are of
// type *SyntaxError. The text must not be part of dst's spare capacity.
func (c *Codec) JSONToWire(dst, json []byte) ([]byte, error) {
	d := c.program.compiler.newDecoder(json, dst)
	out, ok := d.document(dst, c.program)
	err := d.err
	d.release()
	if !ok {
		return dst, settled(err)
	}
	return out, nil
}

// WireToJSON appends the JSON form of the wire bytes to dst, without any white space. Fields are in the order of
// their declaration, extensions after them by their names, and map entries by their keys. On error dst is returned at
// its old length: a *SyntaxError says that the wire is malformed, a *RangeError that the message has no JSON form. The
// wire must not be part of dst's spare capacity.
func (c *Codec) WireToJSON(dst, wire []byte) ([]byte, error) {
	out, _, err := c.wireToJSON(dst, wire, false)
	return out, err
}

// AnswerToJSON is WireToJSON for a message that must not be lost because some value in it has no JSON form, as the
// answer to a call that was executed. Such a value is written as something close to it, as docs/transcoding.md lists, and
// the note says which was the first, and how many there were; it is nil if there was none. An error still says that the wire is
// malformed, or that the message exceeds a limit.
func (c *Codec) AnswerToJSON(dst, wire []byte) (json []byte, note *RangeError, err error) {
	return c.wireToJSON(dst, wire, true)
}

func (c *Codec) wireToJSON(dst, wire []byte, lenient bool) ([]byte, *RangeError, error) {
	e := c.program.compiler.newEncoder(wire, dst)
	out, note, ok := e.document(dst, c.program, lenient)
	err := e.err
	e.release()
	if !ok {
		return dst, nil, settled(err)
	}
	return out, note, nil
}

// WithEnumNumbers returns the codec of the same type that writes enum values as numbers, as one request may ask for.
func (c *Codec) WithEnumNumbers() *Codec {
	compiler := c.program.compiler.withEnumNumbers()
	if compiler == c.program.compiler {
		return c
	}
	p := compiler.program(c.program.md)
	if p.use() != nil { // as this one was compiled, so is that one
		return c
	}
	return &Codec{program: p}
}

// Descriptor returns the message type.
func (c *Codec) Descriptor() protoreflect.MessageDescriptor { return c.program.md }
