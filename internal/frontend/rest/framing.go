package rest

import (
	"google.golang.org/grpc/codes"

	"github.com/caddy-grpc/gateway/internal/frontend"
)

// framing is the form of the messages of a response stream in its body. n counts messages from 1.
type framing interface {
	// name is for Info.Framing.
	name() string
	// appendMessage appends a message, with what separates it from the one before. If contentType
	// is not empty, it is the content type of the response.
	appendMessage(dst []byte, x *exchange, wire []byte, n uint64) (out []byte, contentType string, err error)
	// appendEnd appends what follows the n messages of a stream that succeeded.
	appendEnd(dst []byte, n uint64) []byte
	// appendError appends the terminal error. ok is false if the framing has none: then the
	// connection must be aborted.
	appendError(dst []byte, x *exchange, err *frontend.Error) (out []byte, ok bool)
	// early reports whether the header can be written before there is a message.
	early() bool
	// heartbeat is what is sent on a quiet stream. "": nothing.
	heartbeat(opts *frontend.Options) string
	// mediaType is the Content-Type unless a message has one.
	mediaType() string
}

// ndjson has one message a line. A failure is a last line {"error":…}, or the envelope.
type ndjson struct{}

func (ndjson) name() string      { return "ndjson" }
func (ndjson) mediaType() string { return typeNDJSON }
func (ndjson) early() bool       { return true }

func (ndjson) heartbeat(opts *frontend.Options) string { return lineBreak(opts) }

func (ndjson) appendMessage(dst []byte, x *exchange, wire []byte, _ uint64) ([]byte, string, error) {
	dst, err := x.appendResponse(dst, wire)
	return append(dst, '\n'), "", err
}

func (ndjson) appendEnd(dst []byte, _ uint64) []byte { return dst }

func (ndjson) appendError(dst []byte, x *exchange, err *frontend.Error) ([]byte, bool) {
	if x.opts.WrapsStreams() { // The envelope says that it is an error.
		return append(x.opts.AppendErrorJSON(dst, err), '\n'), true
	}
	return appendErrorLine(dst, x.opts, err), true
}

// appendErrorLine appends an error as a line of its own.
func appendErrorLine(dst []byte, opts *frontend.Options, err *frontend.Error) []byte {
	dst = append(dst, `{"error":`...)
	dst = opts.AppendStatusJSON(dst, err.Status, err.Types)
	return append(dst, "}\n"...)
}

// resultLines is ndjson in the form of grpc-gateway: each message is the member "result" of an
// object, and the type is that of JSON.
type resultLines struct{ ndjson }

func (resultLines) name() string      { return "result" }
func (resultLines) mediaType() string { return typeJSON }

func (resultLines) appendMessage(dst []byte, x *exchange, wire []byte, _ uint64) ([]byte, string, error) {
	dst, err := x.appendResponse(append(dst, `{"result":`...), wire)
	return append(dst, "}\n"...), "", err
}

func (resultLines) appendError(dst []byte, x *exchange, err *frontend.Error) ([]byte, bool) {
	return appendErrorLine(dst, x.opts, err), true
}

// lineBreak is the heartbeat of JSON, where white space between values means nothing.
func lineBreak(opts *frontend.Options) string {
	if opts.HeartbeatLines {
		return "\n"
	}
	return ""
}

// sse is the event stream of the HTML standard. A failure is an event of the type "error".
type sse struct {
	ids eventIDs
	end bool // A success is an event of the type "end".
}

func (*sse) name() string                       { return "sse" }
func (*sse) mediaType() string                  { return typeSSE }
func (*sse) early() bool                        { return true }
func (*sse) heartbeat(*frontend.Options) string { return ":\n\n" }

func (f *sse) appendMessage(dst []byte, x *exchange, wire []byte, n uint64) ([]byte, string, error) {
	dst = f.ids.append(dst, wire, n)
	dst = append(dst, "data: "...)
	dst, err := x.appendResponse(dst, wire)
	return append(dst, "\n\n"...), "", err
}

func (f *sse) appendEnd(dst []byte, _ uint64) []byte {
	if f.end {
		dst = append(dst, "event: end\ndata: {}\n\n"...)
	}
	return dst
}

func (*sse) appendError(dst []byte, x *exchange, err *frontend.Error) ([]byte, bool) {
	dst = append(dst, "event: error\ndata: "...)
	if x.opts.WrapsStreams() {
		dst = x.opts.AppendErrorJSON(dst, err)
	} else {
		dst = x.opts.AppendStatusJSON(dst, err.Status, err.Types)
	}
	return append(dst, "\n\n"...), true
}

// jsonArray is one JSON array. It has no place for a failure: its closing bracket must never come
// then.
type jsonArray struct{}

func (jsonArray) name() string      { return "json" }
func (jsonArray) mediaType() string { return typeJSON }
func (jsonArray) early() bool       { return true }

func (jsonArray) heartbeat(opts *frontend.Options) string { return lineBreak(opts) }

func (jsonArray) appendMessage(dst []byte, x *exchange, wire []byte, n uint64) ([]byte, string, error) {
	if n == 1 {
		dst = append(dst, '[')
	} else {
		dst = append(dst, ',')
	}
	dst, err := x.appendResponse(dst, wire)
	return dst, "", err
}

func (jsonArray) appendEnd(dst []byte, n uint64) []byte {
	if n == 0 {
		dst = append(dst, '[')
	}
	return append(dst, ']')
}

func (jsonArray) appendError(dst []byte, _ *exchange, _ *frontend.Error) ([]byte, bool) {
	return dst, false
}

// raw is the data of google.api.HttpBody messages, one after the other. The first message says the
// content type.
type raw struct{}

func (raw) name() string      { return "raw" }
func (raw) mediaType() string { return octetStream }

// early is false because the content type comes with the first message.
func (raw) early() bool { return false }

// heartbeat is empty because each byte of the body is content.
func (raw) heartbeat(*frontend.Options) string { return "" }

func (raw) appendMessage(dst []byte, x *exchange, wire []byte, _ uint64) ([]byte, string, error) {
	contentType, data, ok := parseHTTPBody(wire, x.responsePath())
	if !ok {
		return dst, "", frontend.Errorf(codes.Internal, "the upstream's answer cannot be decoded").WithCause(errBadWire)
	}
	return append(dst, data...), rawType(contentType), nil
}

func (raw) appendEnd(dst []byte, _ uint64) []byte { return dst }

func (raw) appendError(dst []byte, _ *exchange, _ *frontend.Error) ([]byte, bool) { return dst, false }
