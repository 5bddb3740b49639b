// Package relay moves the messages of one RPC between a client's HTTP request and the upstream, for
// the protocols that put their messages in envelopes: gRPC, gRPC-Web and the streams of Connect.
// Their headers and the way they tell the end differ: a Protocol knows both. Connect's unary calls
// have no envelopes. They use only Body.
//
// # Who does what
//
// The handler's goroutine makes a unary call alone. If requests stream, a second goroutine
// (sender.go) reads the body and sends. If responses stream, another one (package stream) receives
// while the handler's own writes. Each blocks while its other side does not keep up. So a slow
// reader on one end stops the writer on the other, and what waits is bounded.
package relay

import (
	"errors"
	"io"
	"net/http"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/frontend/envelope"
	"github.com/caddy-grpc/gateway/internal/unary"
)

// Protocol is how one of the protocols answers. All calls come from the handler's goroutine.
type Protocol interface {
	// Header sets the fields of a response header that are not metadata.
	Header(h http.Header)
	// End appends the terminal frame, if there is one, to dst, or sets the trailers in h. A nil
	// error is success.
	End(dst []byte, h http.Header, trailer metadata.MD, err *frontend.Error) []byte
	// Refuse answers with an error if nothing was answered yet and there is no header metadata.
	Refuse(w http.ResponseWriter, trailer metadata.MD, err *frontend.Error)
	// Name is which protocol it is.
	Name() frontend.Protocol
}

// Source decodes the body of a request.
type Source interface {
	io.Reader
	// Body is what it reads from.
	Body() *frontend.Body
}

// Exchange is one call.
type Exchange struct {
	Options  *frontend.Options
	W        http.ResponseWriter
	R        *http.Request
	Info     *frontend.Info
	Method   *frontend.Method
	Protocol Protocol

	// JSON says that the client's messages are JSON. The method then has codecs.
	JSON bool
	// Source is the request body as a stream of envelopes. Nil: the body of R as it is.
	Source Source
	// Request is what the client compresses with, Response what it gets.
	Request, Response envelope.Coding
	// Encode, if set, appends what has to be written in place of a run of whole envelopes.
	Encode func(dst, src []byte) []byte

	body *frontend.Body
}

// Serve makes the call, inside of the method's policy. It always answers.
func (x *Exchange) Serve() {
	if x.Method.Policy != nil {
		x.police()
		return
	}
	if err := x.serve(); err != nil {
		x.refuse(nil, err)
	}
}

// police makes the call inside of the method's policy.
func (x *Exchange) police() {
	w, r := x.W, x.R
	c := &frontend.Policed{Protocol: x.Protocol.Name(), Method: x.Method, Info: x.Info, Refuse: x.refuseBefore}
	err := x.Method.Policy.Around(w, r, c, func(w http.ResponseWriter, r *http.Request) error {
		x.W, x.R = w, r
		if x.Source != nil {
			x.Source.Body().Reset(w, r)
		}
		if err := x.serve(); err != nil {
			x.refuse(nil, err)
		}
		return nil
	})
	if err != nil {
		x.refuseBefore(w, r, AsError(err))
	}
}

// refuseBefore answers with an error before the body was touched. It is frontend.Policed.Refuse.
func (x *Exchange) refuseBefore(w http.ResponseWriter, r *http.Request, err *frontend.Error) {
	frontend.LeaveBody(w, r)
	x.Info.Fail(err)
	x.Protocol.Refuse(w, nil, err)
}

func (x *Exchange) serve() error {
	x.body = frontend.NewBody(x.W, x.R)
	src := io.Reader(x.body)
	if x.Source != nil {
		x.body, src = x.Source.Body(), x.Source
	}
	in := envelope.NewReader(src, x.Options.MaxRequestSize, x.Request)
	settings := frontend.CallSettings{Request: x.R}
	if x.Method.StreamDesc.ClientStreams {
		return x.serveUpload(in, settings)
	}
	release := x.Method.Admit(x.R)
	msg, err := x.readOnly(in)
	release()
	in.Close()
	if err != nil {
		return err
	}
	settings.Began = x.body.Began()
	if !x.Method.StreamDesc.ServerStreams {
		return x.serveUnary(msg, settings)
	}
	call, err := x.Options.Open(x.R.Context(), x.Method, settings, msg, x.Info)
	if err != nil {
		return err
	}
	defer call.Close()
	defer x.Options.WatchClient(x.R, call.Close)()
	x.writeStream(call, nil)
	return nil
}

// serveUnary makes a call with one message each way, and answers.
func (x *Exchange) serveUnary(msg *[]byte, settings frontend.CallSettings) error {
	call, answer, err := x.Options.Invoke(x.R.Context(), x.Method, settings, msg, x.Info)
	switch {
	case call == nil:
		return err
	case err != nil:
		x.fail(call, err)
	default:
		x.answer(call, answer)
	}
	return nil
}

// readOnly reads the only message of a request. A request with none or with several is an error.
func (x *Exchange) readOnly(in *envelope.Reader) (*[]byte, error) {
	stop, err := x.body.Bound()
	if err != nil {
		return nil, err
	}
	msg, err := x.readOne(in)
	if late := stop(); late != nil {
		if err == nil {
			frontend.PutBuffer(msg)
		}
		return nil, late
	}
	return msg, err
}

// readOne reads the one message.
func (x *Exchange) readOne(in *envelope.Reader) (*[]byte, error) {
	msg, err := x.read(in)
	if errors.Is(err, io.EOF) {
		return nil, frontend.Errorf(codes.Unimplemented, "the method takes one message, and the request has none")
	}
	if err != nil {
		return nil, x.body.Error(err)
	}
	more, err := in.More()
	if err == nil && !more {
		return msg, nil
	}
	frontend.PutBuffer(msg)
	if err != nil {
		return nil, x.body.Error(err)
	}
	return nil, frontend.Errorf(codes.Unimplemented, "the method takes one message, and the request has several")
}

// read takes the wire form of the next message.
func (x *Exchange) read(in *envelope.Reader) (*[]byte, error) {
	msg, err := in.Next()
	if err != nil || !x.JSON {
		return msg, err
	}
	defer frontend.PutBuffer(msg)
	return FromJSON(x.Method, x.Options, *msg)
}

// FromJSON makes the wire form of a request message.
func FromJSON(m *frontend.Method, opts *frontend.Options, text []byte) (*[]byte, error) {
	wire := frontend.GetBuffer(m.ToWire.Guess(len(text)))
	began := m.Clock()
	out, err := m.Request.JSONToWire(*wire, text)
	if err != nil {
		frontend.PutBuffer(wire)
		return nil, frontend.Errorf(codes.InvalidArgument, "request message: %s", err)
	}
	m.Converted(frontend.ToWire, began)
	if err := opts.CheckWireSize(len(out)); err != nil {
		frontend.PutBuffer(wire)
		return nil, err
	}
	m.ToWire.Learn(len(text), len(out))
	*wire = out
	return wire, nil
}

// AppendMessage appends a response message, which is in parts, as the client wants it.
func AppendMessage(dst []byte, m *frontend.Method, msg [][]byte, json bool) ([]byte, error) {
	if !json && m.Hidden != nil && !m.Hidden.Passes() {
		return appendShown(dst, m, msg)
	}
	if !json {
		for _, part := range msg {
			dst = append(dst, part...)
		}
		return dst, nil
	}
	wire, free := frontend.Flat(msg)
	defer free()
	began := m.Clock()
	out, note, err := m.Response.AnswerToJSON(dst, wire)
	if note != nil {
		m.Depart(note)
	}
	if err != nil {
		return dst, frontend.Errorf(codes.Internal, "the upstream's answer has no JSON form").WithCause(err)
	}
	m.Converted(frontend.ToJSON, began)
	return out, nil
}

// appendShown appends a binary response message without its hidden fields.
func appendShown(dst []byte, m *frontend.Method, msg [][]byte) ([]byte, error) {
	wire, free := frontend.Flat(msg)
	defer free()
	out, err := m.Hidden.Append(dst, wire)
	if err != nil {
		// What cannot be looked into may hold a hidden field.
		return dst, frontend.Errorf(codes.Internal, "the upstream's answer cannot be decoded").WithCause(err)
	}
	return out, nil
}

// answer writes the response of a unary call.
func (x *Exchange) answer(call *frontend.Call, msg *unary.Message) {
	buf := frontend.GetBuffer(envelope.HeaderSize + msg.Len() + 64)
	defer frontend.PutBuffer(buf)
	var room [4][]byte
	out, err := x.appendMessage(*buf, msg.AppendParts(room[:0]))
	msg.Free()
	*buf = out
	if err != nil {
		x.fail(call, err)
		return
	}
	x.open(call.Header())
	*buf = x.Protocol.End(*buf, x.W.Header(), call.Trailer(), nil)
	x.Info.Err = x.write(*buf)
}

// appendMessage appends a response message in its envelope.
func (x *Exchange) appendMessage(dst []byte, msg [][]byte) ([]byte, error) {
	start := len(dst)
	out, err := AppendMessage(envelope.Begin(dst), x.Method, msg, x.JSON)
	if err != nil {
		return dst, err
	}
	return envelope.Seal(out, start, 0, x.Response), nil
}

// open writes the header.
func (x *Exchange) open(header metadata.MD) {
	h := x.W.Header()
	x.Options.WriteHeader(h, header)
	x.Protocol.Header(h)
	x.closeEarly()
	x.W.WriteHeader(http.StatusOK)
}

// write writes whole envelopes.
func (x *Exchange) write(envelopes []byte) error {
	if len(envelopes) == 0 {
		return nil
	}
	if x.Encode != nil {
		text := frontend.GetBuffer(len(envelopes)/3*4 + 8)
		defer frontend.PutBuffer(text)
		*text = x.Encode(*text, envelopes)
		envelopes = *text
	}
	_, err := x.W.Write(envelopes)
	return err
}

// fail answers with the error of a call. Nothing has been answered yet.
func (x *Exchange) fail(call *frontend.Call, err error) {
	header := call.Header()
	if header == nil {
		x.refuse(call.Trailer(), err)
		return
	}
	e := AsError(err)
	x.Info.Fail(e)
	x.open(header)
	buf := frontend.GetBuffer(0)
	defer frontend.PutBuffer(buf)
	*buf = x.Protocol.End(*buf, x.W.Header(), call.Trailer(), e)
	_ = x.write(*buf) // If the client has left, nobody needs to know.
}

// closeEarly is called before the header is written. If an HTTP/1.1 request is answered before it
// was read to its end, its connection cannot be used again: the rest of the body would be taken for
// the next request. net/http would first read the rest. In full duplex it does not, and it panics
// if it finds the end of the body after the handler has returned.
func (x *Exchange) closeEarly() { x.body.Leave() }

func (x *Exchange) refuse(trailer metadata.MD, err error) {
	x.closeEarly()
	e := AsError(err)
	x.Info.Fail(e)
	x.Protocol.Refuse(x.W, trailer, e)
}

// AsError is frontend.AsError.
func AsError(err error) *frontend.Error { return frontend.AsError(err) }
