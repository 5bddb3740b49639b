package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/caddy-grpc/gateway/internal/transcode"
	"github.com/caddy-grpc/gateway/internal/transcode/conformance/oracle"
)

// Values of conformance.WireFormat and conformance.TestCategory that matter here.
const (
	formatProtobuf    = 1
	formatJSON        = 2
	ignoreUnknownJSON = 3
)

// testee answers the suite's runner, whose protocol is described at the top of conformance.proto.
type testee struct {
	suite *suite
	codec func(md protoreflect.MessageDescriptor, discardUnknown bool) (codec, error)
}

// serve answers requests until the runner closes its end, which is reported as io.EOF. Each way a
// message is its length as 32 bits little-endian, and then its wire form.
func (t *testee) serve(r io.Reader, w io.Writer) error {
	in, out := bufio.NewReader(r), bufio.NewWriter(w)
	for {
		var size uint32
		if err := binary.Read(in, binary.LittleEndian, &size); err != nil {
			return err
		}
		data := make([]byte, size)
		if _, err := io.ReadFull(in, data); err != nil {
			return fmt.Errorf("read a request of %d bytes: %w", size, err)
		}
		req := dynamicpb.NewMessage(t.suite.request)
		if err := proto.Unmarshal(data, req); err != nil {
			return fmt.Errorf("parse a request: %w", err)
		}
		resp, err := proto.Marshal(t.answer(req))
		if err != nil {
			return fmt.Errorf("marshal a response: %w", err)
		}
		if err := binary.Write(out, binary.LittleEndian, uint32(len(resp))); err != nil {
			return err
		}
		if _, err := out.Write(resp); err != nil {
			return err
		}
		if err := out.Flush(); err != nil {
			return err
		}
	}
}

// answer converts one case.
func (t *testee) answer(req protoreflect.Message) proto.Message {
	name := protoreflect.FullName(get(req, "message_type").String())
	if name == "conformance.FailureSet" {
		// The first request asks for the list of failures to expect, as a message. There are none.
		return t.respond("protobuf_payload", protoreflect.ValueOfBytes(nil))
	}
	from := req.WhichOneof(req.Descriptor().Oneofs().ByName("payload"))
	to := get(req, "requested_output_format").Enum()
	if from == nil || !transcodes(string(from.Name()), to) {
		return t.text("skipped", "neither end is JSON")
	}
	md, err := t.suite.message(name)
	if err != nil {
		return t.text("runtime_error", err.Error())
	}
	c, err := t.codec(md, get(req, "test_category").Enum() == ignoreUnknownJSON)
	if err != nil {
		return t.text("runtime_error", err.Error())
	}
	if from.Name() == "protobuf_payload" {
		return t.toJSON(c, req.Get(from).Bytes())
	}
	wire, err := c.JSONToWire(nil, []byte(req.Get(from).String()))
	switch {
	case err != nil:
		return t.fail(err)
	case to == formatProtobuf:
		return t.respond("protobuf_payload", protoreflect.ValueOfBytes(wire))
	default:
		return t.toJSON(c, wire)
	}
}

// transcodes reports whether a case is between JSON and the wire format, or JSON and itself.
func transcodes(payload string, to protoreflect.EnumNumber) bool {
	switch payload {
	case "json_payload":
		return to == formatJSON || to == formatProtobuf
	case "protobuf_payload":
		return to == formatJSON
	default:
		return false
	}
}

func (t *testee) toJSON(c codec, wire []byte) proto.Message {
	text, err := c.WireToJSON(nil, wire)
	if err != nil {
		return t.fail(err)
	}
	return t.text("json_payload", string(text))
}

// fail reports an error as what its type says it is. An error of another type is a fault of the
// codec.
func (t *testee) fail(err error) proto.Message {
	var syntax *transcode.SyntaxError
	var rng *transcode.RangeError
	var input *oracle.InputError
	var output *oracle.OutputError
	switch {
	case errors.As(err, &syntax), errors.As(err, &input):
		return t.text("parse_error", err.Error())
	case errors.As(err, &rng), errors.As(err, &output):
		return t.text("serialize_error", err.Error())
	default:
		return t.text("runtime_error", fmt.Sprintf("error of type %T: %v", err, err))
	}
}

func (t *testee) text(field protoreflect.Name, text string) proto.Message {
	return t.respond(field, protoreflect.ValueOfString(text))
}

func (t *testee) respond(field protoreflect.Name, v protoreflect.Value) proto.Message {
	resp := dynamicpb.NewMessage(t.suite.response)
	resp.Set(t.suite.response.Fields().ByName(field), v)
	return resp
}

func get(m protoreflect.Message, field protoreflect.Name) protoreflect.Value {
	return m.Get(m.Descriptor().Fields().ByName(field))
}
