// Package transcode converts between JSON and the protobuf wire format without building a message.
//
// A Compiler turns a message descriptor into a program: tables of fields by number and by name,
// with everything that reading and writing them needs. A Codec runs a program over bytes. The
// mapping is ProtoJSON, as protojson and protobuf's own conformance suite define it.
// docs/transcoding.md explains how it works.
//
// JSON becomes wire in the decoder (decode_*.go), and wire becomes JSON in the encoder
// (encode_*.go).
//
// The package knows nothing about HTTP, routes or streams. It is not a protobuf runtime either: it
// converts bytes, and never hands out messages.
package transcode

import (
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Resolver finds the types that a message may name: the types inside google.protobuf.Any, and
// extensions. *protoregistry.Types, *dynamicpb.Types and *Compiler implement it.
type Resolver interface {
	FindMessageByName(protoreflect.FullName) (protoreflect.MessageType, error)
	FindMessageByURL(url string) (protoreflect.MessageType, error)
	FindExtensionByName(protoreflect.FullName) (protoreflect.ExtensionType, error)
	FindExtensionByNumber(protoreflect.FullName, protoreflect.FieldNumber) (protoreflect.ExtensionType, error)
}

// The limits that apply unless Options say otherwise.
const (
	// DefaultMaxDepth is the limit of the C++ and Java runtimes.
	DefaultMaxDepth = 100
	// DefaultMaxWireDepth takes about 2 MiB of stack.
	DefaultMaxWireDepth = 1000
	// DefaultMaxOutput is in bytes.
	DefaultMaxOutput = 256 << 20
	// DefaultMaxElements counts list elements and map entries.
	DefaultMaxElements = 16 << 20
)

// Options say how JSON is written and how strictly it is read. The zero value follows ProtoJSON.
// Options are comparable, so that users with equal options can share codecs.
type Options struct {
	// UseProtoNames writes field names as in the .proto file. Both forms are read.
	// Default: false, names are written in lowerCamelCase (json_name).
	UseProtoNames bool

	// EmitDefaults also writes fields without presence that are at their default, and empty lists
	// and maps. Default: false.
	EmitDefaults bool

	// EmitUnpopulated writes what EmitDefaults writes, and null for fields with presence that are
	// not set: messages, and in proto2 and editions scalars, too. As in protojson, members of
	// oneofs are left out, optional fields of proto3 among them, and so are extensions. Default:
	// false.
	EmitUnpopulated bool

	// EnumsAsNumbers writes enum values as numbers. Both forms are read. Default: false, by name.
	EnumsAsNumbers bool

	// DiscardUnknown skips unknown fields and unknown enum names in JSON. Default: false, they are
	// errors.
	DiscardUnknown bool

	// OmitEnumPrefix writes the names of enum values without the name of their type, such as
	// PENDING for ORDER_STATUS_PENDING of OrderStatus. Both forms are read. A name that would not
	// be unique is written in full. Default: false, names are written in full and nothing else is
	// read.
	OmitEnumPrefix bool

	// EnumCase says how the case of the names of enum values is read and written. Default: exact.
	EnumCase EnumCase

	// RawMaskPaths reads and writes the paths of a google.protobuf.FieldMask that have no form in
	// lowerCamelCase as they are: "*", and names such as "isbn_10". Default: false, they are
	// errors, as ProtoJSON says.
	RawMaskPaths bool

	// LenientText reads more texts of path variables and query parameters than ProtoJSON has: what
	// Go's strconv.ParseBool, ParseInt, ParseUint and ParseFloat take, and what time.ParseDuration
	// does. JSON is not affected. Default: false, they are errors.
	LenientText bool

	// Hidden are the full names of fields that are left out of JSON, sorted and separated by
	// spaces. Such a field counts as unknown. If there are any, the content of an Any whose type is
	// not known is left out as well, and so is everything else that would be written as it is
	// without a look into it. See also Filter. Default: none.
	Hidden string

	// MaxDepth limits how deeply messages in JSON may be nested. The outermost message counts, and
	// so do the arrays and objects of a google.protobuf.Value. Default: 100.
	MaxDepth int

	// MaxWireDepth is the same limit for messages on the wire. Default: 1000.
	MaxWireDepth int

	// MaxOutput limits how many bytes one conversion may append. JSON may be much longer than its
	// wire if EmitDefaults is set, and wire longer than its JSON if lists are not packed.
	// Default: 256 MiB.
	MaxOutput int

	// MaxElements limits how many list elements and map entries one conversion may hold in total.
	// Default: 16 Mi.
	MaxElements int
}

// Codec converts one message type between JSON and the protobuf wire format. It is immutable and
// safe for concurrent use.
type Codec struct {
	program *program
	mask    string // The text of the mask, if the program has one.
}

// JSONToWire appends the wire form of the JSON text to dst. If it fails, dst is returned at its old
// length, and the error is a *SyntaxError. The text must not be part of dst's spare capacity.
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

// WireToJSON appends the JSON form of the wire bytes to dst, without any white space. Fields come
// in the order of their declaration, extensions follow by their names, and map entries are sorted
// by their keys. If it fails, dst is returned at its old length. A *SyntaxError says that the wire
// is malformed, and a *RangeError that the message has no JSON form. The wire must not be part of
// dst's spare capacity.
func (c *Codec) WireToJSON(dst, wire []byte) ([]byte, error) {
	e := c.program.compiler.newEncoder(wire, dst)
	if out, ok := e.document(dst, c.program); ok {
		e.release()
		return out, nil
	}
	out, _, err := c.wireAgain(e, dst, false)
	return out, err
}

// AnswerToJSON is WireToJSON for a message that must not be lost because one value in it has no
// JSON form, such as the answer to a call that was executed. It writes such a value as something
// close to it; docs/transcoding.md lists the forms. The note describes the first such value and
// says how many there were. It is nil if there was none. An error still says that the wire is
// malformed, or that the message exceeds a limit.
func (c *Codec) AnswerToJSON(dst, wire []byte) (json []byte, note *RangeError, err error) {
	e := c.program.compiler.newEncoder(wire, dst)
	if out, ok := e.document(dst, c.program); ok {
		e.release()
		return out, nil, nil
	}
	return c.wireAgain(e, dst, true)
}

// wireAgain writes the message after one pass has failed.
func (c *Codec) wireAgain(e *encoder, dst []byte, lenient bool) ([]byte, *RangeError, error) {
	out, note, ok := e.again(dst, lenient, func(out []byte) ([]byte, bool) {
		return e.message(out, c.program, 0, len(e.in))
	})
	err := e.err
	e.release()
	if !ok {
		return dst, nil, settled(err)
	}
	return out, note, nil
}

// WithEnumNumbers returns a codec of the same type that writes enum values as numbers. A single
// request may ask for that.
func (c *Codec) WithEnumNumbers() *Codec {
	compiler := c.program.compiler.withEnumNumbers()
	if compiler == c.program.compiler {
		return c
	}
	p := compiler.program(c.program.md)
	if p.use() != nil { // it does not fail: this codec's type was compiled
		return c
	}
	n := &Codec{program: p}
	if c.mask == "" {
		return n
	}
	if m, err := n.Mask(c.mask); err == nil { // it does not fail: this codec has the mask
		return m
	}
	return c
}

// Descriptor returns the message type.
func (c *Codec) Descriptor() protoreflect.MessageDescriptor { return c.program.md }
