package rest

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/unary"
)

// rawChunk is the largest number of bytes of a raw upload that one HttpBody message has.
const rawChunk = 32 << 10

// serveUpload answers a method that takes many messages and answers with one or many.
func (x *exchange) serveUpload() error {
	bidi := x.method.StreamDesc.ServerStreams
	var f framing
	var err error
	if bidi {
		f, err = x.chooseFraming()
	} else {
		err = x.checkAccept()
	}
	if err != nil {
		return err
	}
	if err := x.bindURL(); err != nil {
		return err
	}
	read, err := x.chooseReader()
	if err != nil {
		return err
	}
	call, err := x.start()
	if err != nil {
		return err
	}
	defer call.Close()
	defer x.watch(call.Close)()
	if x.takesBody() {
		// Otherwise the server of HTTP/1.1 would read the whole body before the first byte of the
		// answer.
		_ = http.NewResponseController(x.w).EnableFullDuplex()
	}
	defer x.opts.UnboundedRead(x.r)()
	s := x.startSender(call, read)
	defer s.stop()
	if bidi {
		if x.r.ProtoMajor == 1 {
			// If the sender must be stopped (see stop), it is too late to say so.
			x.w.Header().Set("Connection", "close")
		}
		return x.writeStream(call, f, s.explain)
	}
	msg, err := call.Recv()
	s.stop()
	if err != nil {
		return x.failed(call, s.explain(err))
	}
	answer := unary.InParts(msg)
	return x.answer(call, &answer)
}

// reader appends the wire form of the next message, without the suffix. io.EOF is the end.
type reader func(dst []byte) ([]byte, error)

// chooseReader decides how the body is cut into messages. The reader owns the body, and gives back
// what it took for it when it returns its first error.
func (x *exchange) chooseReader() (reader, error) {
	switch {
	case !x.takesBody():
		return once(), x.skipBody()
	case x.r.ContentLength == 0:
		return func(dst []byte) ([]byte, error) { return dst, io.EOF }, nil
	}
	var array bool
	raw := x.bodyIsRaw()
	if !raw {
		var err error
		if array, err = x.streamType(); err != nil {
			return nil, err
		}
	}
	body, err := x.openBody()
	if err != nil {
		return nil, err
	}
	if raw {
		return x.rawReader(body), nil
	}
	return x.jsonReader(body, array), nil
}

// once is for a route without a body. Path and query make its one message.
func once() reader {
	sent := false
	return func(dst []byte) ([]byte, error) {
		if sent {
			return dst, io.EOF
		}
		sent = true
		return dst, nil
	}
}

func (x *exchange) jsonReader(body *bodyReader, array bool) reader {
	split := newSplitter(body, x.opts.MaxRequestSize, array)
	if body.packed != nil {
		split.allowed = body.packed.allowed
	}
	n := 0
	return func(dst []byte) ([]byte, error) {
		value, err := split.next()
		n++
		if err == nil {
			dst, err = x.appendJSON(dst, value)
			err = inMessage(n, err)
		}
		if err == nil {
			return dst, nil
		}
		split.free()
		body.Close()
		switch {
		case errors.Is(err, io.EOF):
			return dst, io.EOF
		case errors.Is(err, errTruncated), errors.Is(err, errSeparator), errors.Is(err, errMissing), errors.Is(err, errTrailing):
			return dst, frontend.Errorf(codes.InvalidArgument, "request body: message %d: %s", n, err)
		default:
			return dst, x.bodyError(err)
		}
	}
}

// inMessage adds the number of the message to its error.
func inMessage(n int, err error) error {
	if err == nil {
		return nil
	}
	e := asError(err)
	e.Status.Message = fmt.Sprintf("message %d: %s", n, e.Status.GetMessage())
	return e
}

// rawReader makes HttpBody messages of the bytes as they arrive. The first one has the content
// type.
func (x *exchange) rawReader(body *bodyReader) reader {
	contentType := x.r.Header.Get("Content-Type")
	chunk := frontend.GetBuffer(rawChunk)
	return func(dst []byte) ([]byte, error) {
		for {
			n, err := body.Read((*chunk)[:rawChunk])
			if n > 0 {
				dst = x.appendRaw(dst, contentType, (*chunk)[:n])
				contentType = ""
				return dst, nil // An error comes again with the next read.
			}
			if err == nil {
				continue
			}
			frontend.PutBuffer(chunk)
			body.Close()
			if errors.Is(err, io.EOF) {
				return dst, io.EOF
			}
			return dst, x.bodyError(err)
		}
	}
}

// sender is the goroutine that reads the request body and sends its messages.
type sender struct {
	x    *exchange
	call *frontend.Call
	work *frontend.Confined

	mu   sync.Mutex
	read bool // The body has been read to its end.
	// err is why the sender gave up. That is the client's fault, so the client is told.
	err error
}

func (x *exchange) startSender(call *frontend.Call, read reader) *sender {
	s := &sender{x: x, call: call}
	s.work = frontend.GoConfined(func() {
		if err := s.send(read); err != nil {
			s.note(false, err)
			call.Close()
		}
	}, call.Close)
	return s
}

func (s *sender) note(read bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.read, s.err = read, err
}

func (s *sender) send(read reader) error {
	for {
		wire := frontend.GetBuffer(0)
		out, err := read(*wire)
		if err != nil {
			frontend.PutBuffer(wire)
			if errors.Is(err, io.EOF) {
				s.note(true, nil)
				return s.call.CloseSend()
			}
			return err
		}
		*wire = s.x.appendSuffix(out)
		if !s.deliver(wire) {
			return nil
		}
	}
}

// deliver reports whether the RPC goes on. If not, receiving tells how it ended.
func (s *sender) deliver(wire *[]byte) bool {
	return s.call.Send(wire) == nil
}

// explain returns the sender's error instead of err if the call ended because the sender gave up.
func (s *sender) explain(err error) error {
	if err == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil && asError(err).Code() == codes.Canceled {
		return s.err
	}
	return err
}

// stop ends the RPC and waits for the goroutine. If that waits for the client, reading is made to
// fail. An HTTP/1.1 connection whose body was not read to its end is then closed, for two reasons:
//
//   - What the server reads after the deadline fails too, and cancels the next request.
//   - In full duplex, net/http reads the rest of the body only after the answer. It panics when it
//     then goes on to the next request ("invalid concurrent Body.Read call").
func (s *sender) stop() {
	s.call.Close()
	s.mu.Lock()
	read := s.read
	s.mu.Unlock()
	if !read && s.x.r.ProtoMajor == 1 {
		s.x.w.Header().Set("Connection", "close")
	}
	select {
	case <-s.work.Done():
	default:
		if !read && http.NewResponseController(s.x.w).SetReadDeadline(time.Unix(1, 0)) != nil {
			_ = s.x.r.Body.Close()
		}
	}
	s.work.Wait()
}

func isUnsupported(err error) bool { return errors.Is(err, http.ErrNotSupported) }
