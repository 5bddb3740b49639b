package rest

import (
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/transcode"
)

const octetStream = "application/octet-stream"

// errBadWire says that a message of the upstream is not protobuf.
var errBadWire = errors.New("malformed google.api.HttpBody")

// appendResponse appends the JSON of a response message, or of the field of it that response_body
// names, with the envelope around it.
func (x *exchange) appendResponse(dst, wire []byte) ([]byte, error) {
	if x.envelope == nil {
		return x.appendBare(dst, wire)
	}
	dst, err := x.appendBare(append(dst, x.envelope.Prefix...), wire)
	return append(dst, x.envelope.Suffix...), err
}

// appendBare appends the JSON without an envelope.
func (x *exchange) appendBare(dst, wire []byte) ([]byte, error) {
	var err error
	var note *transcode.RangeError
	began := x.method.Clock()
	if f := x.responseBody; f != nil {
		dst, note, err = f.AnswerToJSON(dst, wire)
	} else {
		dst, note, err = x.codec.AnswerToJSON(dst, wire)
	}
	if note != nil {
		x.method.Depart(note)
	}
	if err != nil {
		// The schema and the upstream disagree, or the message exceeds a limit. The client is not
		// to blame.
		return dst, frontend.Errorf(codes.Internal, "the upstream's answer cannot be written as JSON").WithCause(err)
	}
	x.method.Converted(frontend.ToJSON, began)
	return dst, nil
}

// wrapMessages gives the messages of a stream the envelope, if they have one.
func (x *exchange) wrapMessages() {
	if a := x.opts.Answers; a != nil && a.Envelope != nil && a.Envelope.Streams {
		x.envelope = a.Envelope
	}
}

// numberEnums makes the answer have numbers as enum values.
func (x *exchange) numberEnums() {
	x.codec = x.codec.WithEnumNumbers()
	if x.responseBody != nil {
		x.responseBody = x.responseBody.WithEnumNumbers()
	}
}

// responsePath is the path of the HttpBody in the response. It is nil if the response is one.
func (x *exchange) responsePath() []protoreflect.FieldDescriptor {
	if x.binding.ResponseBody == nil {
		return nil
	}
	return x.binding.ResponseBody.Path()
}

// rawType is the Content-Type of raw content. Without a Content-Type a browser would guess, and
// then uploads can become scripts. An HTTP/2 server drops one that is not a valid field value, so
// such a one is replaced too.
func rawType(contentType []byte) string {
	for _, c := range contentType {
		if c < ' ' && c != '\t' || c == 0x7f {
			return octetStream
		}
	}
	if len(contentType) == 0 {
		return octetStream
	}
	return string(contentType)
}
