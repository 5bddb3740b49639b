package rest

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/coder/websocket"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/frontend/stream"
)

const (
	// closeBase plus the gRPC code is the close code of a failed call. The codes 4000 to 4999 are
	// for applications (RFC 6455, section 7.4.2).
	closeBase = 4000
	// maxReason is the longest reason that a close frame can have, in bytes (RFC 6455, section
	// 5.5).
	maxReason = 123
)

// isWebSocket reports whether the request asks for the upgrade to WebSocket (RFC 6455, section
// 4.2.1). Only HTTP/1.1 has it.
func isWebSocket(r *http.Request) bool {
	return r.Method == http.MethodGet && r.ProtoMajor == 1 && len(r.Header["Upgrade"]) > 0 &&
		hasToken(r.Header["Upgrade"], "websocket") && hasToken(r.Header["Connection"], "upgrade")
}

func hasToken(values []string, token string) bool {
	for _, v := range values {
		for t := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(t), token) {
				return true
			}
		}
	}
	return false
}

// serveWebSocket calls a method over a WebSocket. Each frame of the client is one message, as a
// request body would be. An empty frame says that no more messages follow. Each frame of the
// gateway is one message. The close code is 1000 if the call succeeded. Otherwise it is 4000 plus
// the gRPC code, and the reason has the code's name and the message.
func (x *exchange) serveWebSocket() error {
	if err := x.bindURL(); err != nil {
		return err
	}
	call, err := x.start()
	if err != nil {
		return err
	}
	defer call.Close()
	defer x.opts.WatchClient(x.r, call.Close)()
	// The origin has been checked: InsecureSkipVerify turns off the library's own check.
	upgrade := &corkedUpgrade{ResponseWriter: x.w}
	conn, err := websocket.Accept(upgrade, x.r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		x.info.Fail(frontend.Errorf(codes.Internal, "the upgrade to WebSocket failed").WithCause(err))
		return nil // The library has answered already.
	}
	conn.SetReadLimit(x.opts.MaxRequestSize)
	x.info.Framing = "websocket"
	x.wrapMessages()
	s := &socket{framed: framed{x: x, f: socketJSON{}}, conn: conn, wire: upgrade.conn, call: call}
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(x.r.Context()))
	defer s.stop()
	s.reading = frontend.GoConfined(s.receive, call.Close)
	cancelDrain := x.opts.Drain.AfterFunc(func() {
		// A client that does not read must not delay the exit.
		_ = upgrade.conn.SetWriteDeadline(frontend.WriteDeadline(x.opts.CloseDelay))
	})
	defer cancelDrain()

	if x.responseIsRaw() {
		s.f = raw{}
	}
	q := stream.New(stream.Settings{
		Source:   call,
		Sink:     s,
		Info:     x.info,
		Limit:    maxPending,
		Single:   !x.method.StreamDesc.ServerStreams,
		KeepEnds: true,
		Opened:   true, // The status went with the handshake.
		Quiet:    x.opts.Heartbeat, Beats: true,
		Drain: x.opts.Drain, CloseDelay: x.opts.CloseDelay,
		Explain: s.explain,
	})
	defer q.Stop()
	return q.Run()
}

// checkHandshake refuses a handshake that is not valid, that comes from a page which may not open a
// WebSocket here, or that asks for a protocol which is not spoken here.
func (x *exchange) checkHandshake() error {
	h := x.r.Header
	if h.Get("Sec-WebSocket-Version") != "13" {
		return frontend.Errorf(codes.InvalidArgument, "only version 13 of the WebSocket protocol is supported").
			WithHTTP(http.StatusUpgradeRequired).WithHeader("Sec-WebSocket-Version", "13")
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(h.Get("Sec-WebSocket-Key")))
	if err != nil || len(key) != 16 || len(h["Sec-Websocket-Key"]) != 1 {
		return frontend.Errorf(codes.InvalidArgument, "header Sec-WebSocket-Key: want 16 bytes in base64, once")
	}
	if err := x.opts.CheckWebSocketOrigin(x.r); err != nil {
		return err
	}
	return checkSubprotocols(h)
}

// checkSubprotocols refuses a handshake whose client could not use the connection. There are no
// subprotocols here, so none is ever selected. A client may go on without one (RFC 6455, section
// 4.2.2), but two kinds cannot:
//
//   - gRPC-Web over WebSocket ("grpc-websockets") frames its messages in a way of its own.
//   - Browsers, which send Origin, close a WebSocket if the page asked for subprotocols and none
//     was selected. The call would have begun by then.
//
// The error does not quote the names: some clients send a token among them.
func checkSubprotocols(h http.Header) error {
	asked := false
	for _, list := range h["Sec-Websocket-Protocol"] {
		for name := range strings.SplitSeq(list, ",") {
			name = strings.TrimSpace(name)
			if len(name) >= 4 && strings.EqualFold(name[:4], "grpc") {
				return frontend.Errorf(codes.InvalidArgument,
					"gRPC-Web over WebSocket is not supported; use gRPC-Web or Connect over HTTP, or a WebSocket without a subprotocol")
			}
			asked = asked || name != ""
		}
	}
	if asked && len(h["Origin"]) > 0 {
		return frontend.Errorf(codes.InvalidArgument, "WebSocket subprotocols are not supported; open the WebSocket without one")
	}
	return nil
}

// socketJSON writes a message as bare JSON: the WebSocket frames it.
type socketJSON struct{ ndjson }

func (socketJSON) name() string { return "websocket" }

func (socketJSON) appendMessage(dst []byte, x *exchange, wire []byte, _ uint64) ([]byte, string, error) {
	dst, err := x.appendResponse(dst, wire)
	return dst, "", err
}

// socket is one WebSocket. It is the stream.Sink of the answer, and has a goroutine that reads.
type socket struct {
	framed

	conn *websocket.Conn
	// wire is the connection under conn.
	wire *corkedConn
	call *frontend.Call
	// ctx is for reading and writing. The connection is closed when it is done.
	ctx    context.Context
	cancel context.CancelFunc
	pings  sync.WaitGroup

	reading *frontend.Confined

	mu sync.Mutex
	// err is why the reading goroutine has ended the call, if that is the client's fault.
	err error
}

// receive passes on what the client sends. It then reads on until the connection ends, because
// control frames need a reader.
func (s *socket) receive() {
	if err := s.forward(); err != nil {
		s.mu.Lock()
		s.err = err
		s.mu.Unlock()
		s.call.Close()
	}
	for {
		_, r, err := s.conn.Reader(s.ctx)
		if err == nil {
			// A message after the last is dropped.
			_, err = io.Copy(io.Discard, r)
		}
		if err != nil {
			s.call.Close()
			return
		}
	}
}

// forward sends the client's messages to the upstream, up to the last one.
func (s *socket) forward() error {
	streams := s.x.method.StreamDesc.ClientStreams
	if !streams && !s.x.takesBody() {
		return s.send(nil, false)
	}
	for n := 1; ; n++ {
		_, frame, err := s.conn.Read(s.ctx)
		switch {
		case err != nil:
			return frontend.Errorf(codes.Canceled, "the client went away").WithCause(err)
		case streams && len(frame) == 0:
			return s.call.CloseSend()
		}
		if err := s.send(frame, true); err != nil {
			if errors.Is(err, io.EOF) {
				return nil // The RPC is over. Receiving its result tells how.
			}
			return inMessage(n, err)
		}
		if !streams {
			return nil
		}
	}
}

func (s *socket) send(frame []byte, bind bool) error {
	wire := frontend.GetBuffer(len(frame))
	if bind {
		out, err := s.x.appendFrame(*wire, frame)
		if err != nil {
			frontend.PutBuffer(wire)
			return err
		}
		*wire = out
	}
	*wire = s.x.appendSuffix(*wire)
	return s.call.Send(wire)
}

// appendFrame appends the wire form of a frame. A frame of a stream whose route has no body is a
// whole message.
func (x *exchange) appendFrame(dst, frame []byte) ([]byte, error) {
	switch {
	case x.bodyIsRaw():
		return x.appendRaw(dst, "", frame), nil
	case x.takesBody():
		return x.appendJSON(dst, frame)
	case isBlank(frame):
		return dst, nil
	}
	began := x.method.Clock()
	out, err := x.method.Request.JSONToWire(dst, frame)
	if err != nil {
		return dst, frontend.Errorf(codes.InvalidArgument, "%s", reason(err))
	}
	x.method.Converted(frontend.ToWire, began)
	return out, x.opts.CheckWireSize(len(out))
}

// explain replaces the error of a call that was ended because of the client, by the reason.
func (s *socket) explain(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil && s.err != nil && asError(err).Code() == codes.Canceled {
		return s.err
	}
	return err
}

// stop closes the connection and waits for the goroutines.
func (s *socket) stop() {
	s.call.Close()
	s.cancel()
	_ = s.conn.CloseNow()
	<-s.reading.Done()
	s.pings.Wait()
	s.reading.Wait()
}

// Early implements stream.Sink.
func (s *socket) Early() bool { return false }

// Open implements stream.Sink. There is no place for header metadata.
func (s *socket) Open(metadata.MD) {}

// Flush implements stream.Sink.
func (s *socket) Flush() error { return nil }

// Refuse implements stream.Sink. The handshake was answered already, so it is never called.
func (s *socket) Refuse(_ metadata.MD, err *frontend.Error) error { return err }

// Write implements stream.Sink: each message is a frame.
func (s *socket) Write(batch []byte, ends []int) error {
	kind := websocket.MessageText
	if s.x.responseIsRaw() {
		kind = websocket.MessageBinary
	}
	if len(ends) > 1 {
		s.wire.cork()
	}
	start := 0
	for _, end := range ends {
		if err := s.conn.Write(s.ctx, kind, batch[start:end]); err != nil {
			return err
		}
		start = end
	}
	return s.wire.uncork()
}

// Beat implements stream.Sink: it sends a ping. Another goroutine waits for the pong, which comes
// late if the client's messages wait for the upstream.
func (s *socket) Beat() error {
	s.pings.Go(func() {
		ctx, cancel := context.WithTimeout(s.ctx, s.x.opts.Heartbeat)
		defer cancel()
		_ = s.conn.Ping(ctx) // The reader notices a broken connection.
	})
	return nil
}

// Finish implements stream.Sink.
func (s *socket) Finish(batch *[]byte, ends []int, err *frontend.Error) error {
	if err := s.Write(*batch, ends); err != nil {
		return err
	}
	code, reason := websocket.StatusNormalClosure, ""
	if err != nil {
		code = websocket.StatusCode(closeBase + int(min(err.Code(), 999)))
		reason = closeReason(err)
	}
	_ = s.conn.Close(code, reason) // If the client has left, nobody needs to know.
	return nil
}

func closeReason(err *frontend.Error) string {
	reason := frontend.CodeName(err.Code()) + ": " + strings.ToValidUTF8(err.Status.GetMessage(), "\uFFFD")
	if len(reason) <= maxReason {
		return reason
	}
	end := maxReason
	for !utf8.RuneStart(reason[end]) {
		end--
	}
	return reason[:end]
}
