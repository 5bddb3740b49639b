// Package oracle is the reference that package transcode is judged by: the same two conversions,
// done by protojson over dynamicpb messages. It is slow and it builds messages, which is what
// transcode exists to avoid; it is imported by tests, by the conformance testee and by the
// benchmarks, and by nothing that serves requests.
package oracle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/caddy-grpc/gateway/internal/transcode"
)

// Codec converts one message type. It has the shape of *transcode.Codec, so that a judge can be
// proved with it before it is let loose on the real one.
type Codec struct {
	typ   protoreflect.MessageType
	types transcode.Resolver
	opts  transcode.Options
}

// New returns the reference codec of a message type. Any and extensions are resolved in types. Of
// the options MaxDepth is not honoured: protojson's limit is 10,000, and a judge has to allow for
// the difference.
func New(md protoreflect.MessageDescriptor, types transcode.Resolver, opts transcode.Options) *Codec {
	return &Codec{typ: dynamicpb.NewMessageType(md), types: types, opts: opts}
}

// Descriptor returns the message type.
func (c *Codec) Descriptor() protoreflect.MessageDescriptor { return c.typ.Descriptor() }

// JSONToWire appends the wire form of the JSON text to dst: fields in the order of their numbers,
// map entries by key. Every error is an *InputError.
func (c *Codec) JSONToWire(dst, text []byte) ([]byte, error) {
	msg, err := c.FromJSON(text)
	if err != nil {
		return dst, err
	}
	return Canonical(dst, msg)
}

// WireToJSON appends the JSON form of the wire bytes to dst, with no white space. An error is an
// *InputError if the wire is malformed, and an *OutputError if the message has no JSON form.
func (c *Codec) WireToJSON(dst, wire []byte) ([]byte, error) {
	msg, err := c.FromWire(wire)
	if err != nil {
		return dst, err
	}
	return c.ToJSON(dst, msg)
}

// ErrPanic is returned where protobuf itself panics, so that there is no telling what the result
// should be. That is known of proto.Unmarshal of version 1.36.12 on a dynamic message with a map,
// one of whose entries has a good key and then a key of another wire type.
var ErrPanic = errors.New("oracle: protobuf panicked")

// RecoverPanic is deferred by what calls protobuf: it turns a panic into an error that is ErrPanic.
func RecoverPanic(err *error) {
	if v := recover(); v != nil {
		*err = fmt.Errorf("%w: %v", ErrPanic, v)
	}
}

// FromJSON parses a message from JSON.
func (c *Codec) FromJSON(text []byte) (proto.Message, error) {
	msg := c.typ.New().Interface()
	opts := protojson.UnmarshalOptions{DiscardUnknown: c.opts.DiscardUnknown, Resolver: c.types}
	if err := opts.Unmarshal(text, msg); err != nil {
		return nil, &InputError{err}
	}
	return msg, nil
}

// FromWire parses a message from the wire format.
func (c *Codec) FromWire(wire []byte) (msg proto.Message, err error) {
	defer RecoverPanic(&err)
	msg = c.typ.New().Interface()
	if err := (proto.UnmarshalOptions{Resolver: c.types}).Unmarshal(wire, msg); err != nil {
		return nil, &InputError{err}
	}
	return msg, nil
}

// ToJSON appends the JSON form of a message to dst, with no white space.
func (c *Codec) ToJSON(dst []byte, msg proto.Message) (_ []byte, err error) {
	defer RecoverPanic(&err)
	opts := protojson.MarshalOptions{
		UseProtoNames:     c.opts.UseProtoNames,
		UseEnumNumbers:    c.opts.EnumsAsNumbers,
		EmitDefaultValues: c.opts.EmitDefaults,
		EmitUnpopulated:   c.opts.EmitUnpopulated,
		Resolver:          c.types,
	}
	text, err := opts.Marshal(msg)
	if err != nil {
		return dst, &OutputError{err}
	}
	// protojson adds spaces at random, so that nobody relies on its text; without them it is
	// stable.
	buf := bytes.NewBuffer(dst)
	if err := json.Compact(buf, text); err != nil {
		return dst, fmt.Errorf("compact protojson's own output: %w", err)
	}
	return buf.Bytes(), nil
}

// Canonical appends the wire form of msg in which equal messages have equal bytes.
func Canonical(dst []byte, msg proto.Message) ([]byte, error) {
	wire, err := proto.MarshalOptions{Deterministic: true}.MarshalAppend(dst, msg)
	if err != nil {
		return dst, &InputError{err}
	}
	return wire, nil
}

// An InputError says that the input is not a message of the type.
type InputError struct{ Err error }

func (e *InputError) Error() string { return "oracle: input: " + e.Err.Error() }
func (e *InputError) Unwrap() error { return e.Err }

// An OutputError says that a message has no JSON form.
type OutputError struct{ Err error }

func (e *OutputError) Error() string { return "oracle: output: " + e.Err.Error() }
func (e *OutputError) Unwrap() error { return e.Err }
