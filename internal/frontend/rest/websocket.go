package rest

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/coder/websocket"
	"google.golang.org/grpc/codes"

	"github.com/caddy-grpc/gateway/internal/frontend"
)

const (
	// closeBase plus the gRPC code is the close code of a failed call: 4000 to 4999 are for applications (RFC 6455, section 7.4.2).
	closeBase = 4000
	// maxReason is what a close frame has room for (RFC 6455, section 5.5).
	maxReason = 123
)

// isWebSocket reports whether the request asks for the upgrade to WebSocket (RFC 6455, section 4.2.1), which HTTP/1.1 only has.
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

// serveWebSocket runs a method of any kind over a WebSocket. Each frame of the client is one message, as a request body would be;
// an empty frame says that no more come. Each frame of ours is one message. The close code is 1000 when the call succeeded, else
// 4000 plus the gRPC code, with the code's name and the message as the reason.
func (x *exchange) serveWebSocket() error {
	if err := x.checkHandshake(); err != nil {
		return err
	}
	if err := x.bindURL(); err != nil {
		return err
	}
	call, err := x.start()
	if err != nil {
		return err
	}
	defer call.Close()
	defer x.opts.WatchClient(x.r, call.Close)()
	// The origin was checked above, where its error is ours to word.
	upgrade := &corkedUpgrade{ResponseWriter: x.w}
	conn, err := websocket.Accept(upgrade, x.r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		x.info.Fail(frontend.Errorf(codes.Internal, "the upgrade to WebSocket failed").WithCause(err))
		return nil // The library has answered.
	}
	conn.SetReadLimit(x.opts.MaxRequestSize)
	x.info.Framing = "websocket"
	s := &socket{x: x, conn: conn, wire: upgrade.conn, call: call}
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(x.r.Context()))
	defer s.stop()
	s.reading = frontend.GoBeside(s.receive, call.Close)
	cancelDrain := x.opts.Drain.AfterFunc(func() {
		// A client that does not read cannot hold up the exit.
		_ = upgrade.conn.SetWriteDeadline(frontend.WriteDeadline(x.opts.CloseDelay))
	})
	defer cancelDrain()

	var f framing = socketJSON{}
	if x.responseIsRaw() {
		f = raw{}
	}
	p := newPump(x, call, f, true)
	defer p.stop()
	return p.run(s, s.explain)
}

// checkHandshake refuses what is not a proper handshake, or comes from a page that has no business here.
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
	if origin := h.Get("Origin"); origin != "" && !x.sameOrigin(origin) {
		return frontend.Errorf(codes.PermissionDenied, "pages of %s may not open a WebSocket here", clip(origin))
	}
	return nil
}

// sameOrigin keeps pages of other sites from using a visitor's cookies: browsers let any page open a WebSocket anywhere.
func (x *exchange) sameOrigin(origin string) bool {
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" {
		return false
	}
	if strings.EqualFold(u.Host, x.r.Host) {
		return true
	}
	for _, pattern := range x.opts.WebSocketOrigins {
		if ok, err := path.Match(strings.ToLower(pattern), strings.ToLower(u.Host)); ok && err == nil {
			return true
		}
	}
	return false
}

// socketJSON frames a message as its bare JSON: the WebSocket frames it.
type socketJSON struct{ ndjson }

func (socketJSON) name() string { return "websocket" }

func (socketJSON) appendMessage(dst []byte, x *exchange, wire []byte, _ uint64) ([]byte, string, error) {
	dst, err := x.appendResponse(dst, wire)
	return dst, "", err
}

// socket is one WebSocket. It is the sink of a pump, and has a goroutine that reads.
type socket struct {
	x      *exchange
	conn   *websocket.Conn
	wire   *corkedConn // what is under conn
	call   *frontend.Call
	ctx    context.Context // of reading and writing; when it is done, the connection is closed
	cancel context.CancelFunc
	pings  sync.WaitGroup

	reading *frontend.Beside

	mu  sync.Mutex
	err error // why the reading goroutine ended the call: the client's fault
}

// receive sends what the client sends, and goes on reading until the connection ends, because control frames need a reader.
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
			// A message after the last: there is no one to send it to.
			_, err = io.Copy(io.Discard, r)
		}
		if err != nil {
			s.call.Close()
			return
		}
	}
}

// forward sends the client's messages up to the last one.
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
				return nil // The RPC is over; receiving tells how.
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

// appendFrame appends the wire form of a frame. A stream that is bound to a route without a body takes whole messages.
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
	return out, nil
}

// explain replaces the error of a call that ended because its client gave up, by the reason of that.
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

// The status went with the handshake, and there is no place for header metadata.
func (s *socket) open(opening) {}

func (s *socket) opened() bool { return true }

func (s *socket) write(batch []byte, ends []int) error {
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

func (s *socket) beats() bool { return true }

// beat sends a ping. The pong is waited for elsewhere: it comes late when the client's messages wait for the upstream.
func (s *socket) beat() error {
	s.pings.Go(func() {
		ctx, cancel := context.WithTimeout(s.ctx, s.x.opts.Heartbeat)
		defer cancel()
		_ = s.conn.Ping(ctx) // A broken connection shows in reading.
	})
	return nil
}

func (s *socket) finish(err *frontend.Error) {
	code, reason := websocket.StatusNormalClosure, ""
	if err != nil {
		code = websocket.StatusCode(closeBase + int(min(err.Code(), 999)))
		reason = closeReason(err)
	}
	_ = s.conn.Close(code, reason) // Nobody is left to tell when the client is gone.
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
