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
)

// rawChunk is how many bytes of a raw upload one HttpBody message has at most.
const rawChunk = 32 << 10

// serveUpload answers a method with many messages there, and one or many back.
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
		// On HTTP/1.1 the server would otherwise read the whole body before the first byte of the answer.
		_ = http.NewResponseController(x.w).EnableFullDuplex()
	}
	defer x.opts.UnboundedRead(x.r)()
	s := x.startSender(call, read)
	defer s.stop()
	if bidi {
		if x.r.ProtoMajor == 1 {
			// The sender may have to be stopped when it is too late to say so: see stop.
			x.w.Header().Set("Connection", "close")
		}
		return x.writeStream(call, f, s.explain)
	}
	msg, err := call.Recv()
	s.stop()
	if err != nil {
		return x.failed(call, s.explain(err))
	}
	return x.answer(call, msg)
}

// reader yields the wire form of one message after the other, without the suffix; io.EOF is the end.
type reader func(dst []byte) ([]byte, error)

// chooseReader decides how the body is cut into messages. The reader owns the body that is opened by its first call.
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
		if array, err = streamType(x.r.Header); err != nil {
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

// once is for a route without a body: one message, which path and query make.
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

// inMessage says in which message of the stream the trouble is.
func inMessage(n int, err error) error {
	if err == nil {
		return nil
	}
	e := asError(err)
	e.Status.Message = fmt.Sprintf("message %d: %s", n, e.Status.GetMessage())
	return e
}

// rawReader makes HttpBody messages of the body's bytes as they arrive. The first one says the content type.
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
	read bool  // the body has been read to its end
	err  error // why it gave up: the client's fault, and so what the client must be told
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

// explain replaces the error of a call that ended because its sender gave up by the sender's own.
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

// stop ends the RPC and waits for the goroutine. It may be waiting for the client; then reading is made to fail. On HTTP/1.1 the connection
// is no good when the body was not read to its end: whatever the server reads from it after the deadline fails too, and with it the context
// of the next request; and net/http, which in full duplex reads the rest of the body only after the answer, panics when it then
// goes on to the next request ("invalid concurrent Body.Read call").
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
