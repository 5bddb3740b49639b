package pool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// script is an HTTP/2 server that answers each request as its function says. The function can write
// single bytes.
type script struct {
	*http2.Framer

	conn net.Conn
	enc  *hpack.Encoder
	buf  bytes.Buffer
}

// startScript serves until the test ends. respond is called when a request has ended.
func startScript(t *testing.T, respond func(s *script, stream uint32), settings ...http2.Setting) string {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lis.Close() })
	go func() {
		for {
			conn, err := lis.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { conn.Close() })
			go serveScript(conn, respond, settings)
		}
	}()
	return lis.Addr().String()
}

func serveScript(conn net.Conn, respond func(*script, uint32), settings []http2.Setting) {
	defer conn.Close()
	if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	s := &script{Framer: http2.NewFramer(conn, conn), conn: conn}
	s.enc = hpack.NewEncoder(&s.buf)
	_ = s.WriteSettings(settings...)
	_ = s.WriteWindowUpdate(0, 64<<20)
	for {
		frame, err := s.ReadFrame()
		if err != nil {
			return
		}
		switch f := frame.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				_ = s.WriteSettingsAck()
			}
		case *http2.PingFrame:
			_ = s.WritePing(true, f.Data)
		case *http2.DataFrame:
			if f.StreamEnded() {
				respond(s, f.StreamID)
			}
		}
	}
}

// headers writes a block of fields, given as "name: value".
func (s *script) headers(stream uint32, end bool, fields ...string) {
	s.buf.Reset()
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		_ = s.enc.WriteField(hpack.HeaderField{Name: name, Value: value})
	}
	_ = s.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: s.buf.Bytes(), EndHeaders: true, EndStream: end})
}

// header writes the usual header block.
func (s *script) header(stream uint32) {
	s.headers(stream, false, ":status: 200", "content-type: application/grpc")
}

// message writes a message of n bytes.
func (s *script) message(stream uint32, n int) {
	_ = s.WriteData(stream, false, append([]byte{0, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, make([]byte, n)...))
}

// originOf returns where an error came from, and the text for clients.
func originOf(err error) string {
	var (
		unavailable *UnavailableError
		lost        *LostError
		call        *CallError
	)
	st := status.Convert(err)
	switch {
	case errors.As(err, &unavailable):
		return fmt.Sprintf("UnavailableError %v %s", st.Code(), st.Message())
	case errors.As(err, &lost):
		return fmt.Sprintf("LostError %v %s", st.Code(), st.Message())
	case errors.As(err, &call):
		return fmt.Sprintf("CallError %v %s", st.Code(), st.Message())
	}
	return fmt.Sprintf("instance %v %s", st.Code(), st.Message())
}

// TestOrigin has every way in which a call can fail, and where the error came from. Each is tried
// as a whole call and as a stream. The test pins the texts in origin.go to the grpc-go that is
// compiled in.
func TestOrigin(t *testing.T) {
	const notGRPC = "CallError %v the upstream's answer is not valid gRPC"
	const reset = "CallError %v the upstream ended the call without a status"
	for _, tc := range []struct {
		name     string
		respond  func(s *script, id uint32)
		settings []http2.Setting
		receive  int // max_receive_size
		metadata []string
		want     string
		stream   string // "": as want
		http     int
	}{
		// A status of the instance passes, even if it uses the words of grpc-go.
		{name: "a status at once", respond: func(s *script, id uint32) {
			s.headers(id, true, ":status: 200", "content-type: application/grpc", "grpc-status: 5", "grpc-message: no such user")
		}, want: "instance NotFound no such user"},
		{name: "a status at once, in words of grpc-go's", respond: func(s *script, id uint32) {
			s.headers(id, true, ":status: 200", "content-type: application/grpc", "grpc-status: 14", "grpc-message: error reading from server: EOF")
		}, want: "instance Unavailable error reading from server: EOF"},
		{name: "the request is too large for the instance", respond: func(s *script, id uint32) {
			s.headers(id, true, ":status: 200", "content-type: application/grpc", "grpc-status: 8", "grpc-message: grpc: received message larger than max (9 vs. 8)")
		}, want: "instance ResourceExhausted grpc: received message larger than max (9 vs. 8)"},
		{name: "the request is too large for the instance, after its header", respond: func(s *script, id uint32) {
			s.header(id)
			s.headers(id, true, "grpc-status: 8", "grpc-message: grpc: received message larger than max (5 vs. 4)")
		}, want: "instance ResourceExhausted grpc: received message larger than max (5 vs. 4)"},
		{name: "a status after the header", respond: func(s *script, id uint32) {
			s.header(id)
			s.headers(id, true, "grpc-status: 10", "grpc-message: again")
		}, want: "instance Aborted again"},
		{name: "a status after a message", respond: func(s *script, id uint32) {
			s.header(id)
			s.message(id, 5)
			s.headers(id, true, "grpc-status: 10", "grpc-message: again")
		}, want: "instance Aborted again"},
		{name: "a status with metadata after the header, in words of grpc-go's", respond: func(s *script, id uint32) {
			s.header(id)
			s.headers(id, true, "grpc-status: 14", "grpc-message: transport is closing", "x-a: b")
		}, want: "instance Unavailable transport is closing"},
		{name: "words of grpc-go's with another code", respond: func(s *script, id uint32) {
			s.header(id)
			s.headers(id, true, "grpc-status: 3", "grpc-message: error reading from server: bad file")
		}, want: "instance InvalidArgument error reading from server: bad file"},
		{name: "its own deadline has passed", respond: func(s *script, id uint32) {
			s.header(id)
			s.headers(id, true, "grpc-status: 4", "grpc-message: context deadline exceeded")
		}, want: "instance DeadlineExceeded context deadline exceeded"},
		{name: "its own call was cancelled", respond: func(s *script, id uint32) {
			s.header(id)
			s.headers(id, true, "grpc-status: 1", "grpc-message: context canceled")
		}, want: "instance Canceled context canceled"},

		// A status that grpc-go made from the end of a stream is not the instance's.
		{name: "RST_STREAM at once", respond: func(s *script, id uint32) { _ = s.WriteRSTStream(id, http2.ErrCodeInternal) },
			want: fmt.Sprintf(reset, codes.Internal)},
		{name: "RST_STREAM after the header", respond: func(s *script, id uint32) {
			s.header(id)
			_ = s.WriteRSTStream(id, http2.ErrCodeEnhanceYourCalm)
		}, want: fmt.Sprintf(reset, codes.ResourceExhausted)},
		{name: "RST_STREAM with CANCEL after a message", respond: func(s *script, id uint32) {
			s.header(id)
			s.message(id, 5)
			_ = s.WriteRSTStream(id, http2.ErrCodeCancel)
		}, want: fmt.Sprintf(reset, codes.Canceled)},
		{name: "REFUSED_STREAM every time", respond: func(s *script, id uint32) { _ = s.WriteRSTStream(id, http2.ErrCodeRefusedStream) },
			want: fmt.Sprintf(reset, codes.Unavailable)},
		{name: "the connection closes at once", respond: func(s *script, _ uint32) { s.conn.Close() },
			want: "LostError Unavailable the connection to the instance was lost: connection closed"},
		{name: "the connection closes after the header", respond: func(s *script, id uint32) {
			s.header(id)
			s.conn.Close()
		}, want: "LostError Unavailable the connection to the instance was lost: connection closed"},
		{name: "GOAWAY for pings", respond: func(s *script, id uint32) {
			s.header(id)
			_ = s.WriteGoAway(id, http2.ErrCodeEnhanceYourCalm, []byte("too_many_pings"))
			s.conn.Close()
		}, want: "LostError Unavailable the connection to the instance was lost: too many keepalive pings"},
		{name: "GOAWAY that leaves the stream out", respond: func(s *script, id uint32) {
			s.header(id)
			_ = s.WriteGoAway(0, http2.ErrCodeNo, nil)
		}, want: "LostError Unavailable the connection to the instance was lost: connection closed"},

		// These answers are not gRPC.
		{name: "an HTTP status", respond: func(s *script, id uint32) {
			s.headers(id, true, ":status: 404", "content-type: text/html")
		}, want: fmt.Sprintf(notGRPC, codes.Unimplemented)},
		{name: "an HTTP status and a page", respond: func(s *script, id uint32) {
			s.headers(id, false, ":status: 503", "content-type: text/html")
			_ = s.WriteData(id, true, []byte("<h1>10.0.0.1 is away</h1>"))
		}, want: fmt.Sprintf(notGRPC, codes.Unavailable)},
		{name: "a proxy says that the headers are too large", respond: func(s *script, id uint32) {
			s.headers(id, true, ":status: 431")
		}, want: "CallError ResourceExhausted the headers of the request are too large for the service", http: 431},
		{name: "no content type", respond: func(s *script, id uint32) { s.headers(id, true, ":status: 200", "grpc-status: 0") },
			want: fmt.Sprintf(notGRPC, codes.Unknown)},
		{name: "a status that is not a number", respond: func(s *script, id uint32) {
			s.header(id)
			s.headers(id, true, "grpc-status: bad")
		}, want: fmt.Sprintf(notGRPC, codes.Unknown)},
		{name: "no trailers", respond: func(s *script, id uint32) {
			s.header(id)
			_ = s.WriteData(id, true, nil)
		}, want: fmt.Sprintf(notGRPC, codes.Internal)},
		{name: "the end in the middle of a message", respond: func(s *script, id uint32) {
			s.header(id)
			_ = s.WriteData(id, false, []byte{0, 0, 0, 0, 9, 1})
			s.headers(id, true, "grpc-status: 0")
		}, want: fmt.Sprintf(notGRPC, codes.Internal)},
		{name: "a second header", respond: func(s *script, id uint32) {
			s.header(id)
			s.header(id)
		}, want: fmt.Sprintf(notGRPC, codes.Internal)},
		{name: "metadata that is not base64", respond: func(s *script, id uint32) {
			s.headers(id, false, ":status: 200", "content-type: application/grpc", "x-bin: %")
		}, want: fmt.Sprintf(notGRPC, codes.Internal)},
		{name: "a compression nobody asked for", respond: func(s *script, id uint32) {
			s.headers(id, false, ":status: 200", "content-type: application/grpc", "grpc-encoding: pied-piper")
			_ = s.WriteData(id, false, []byte{1, 0, 0, 0, 1, 1})
		}, want: "CallError Internal the call failed in the gateway"},

		// These messages are wrong.
		{name: "an answer that is too large", receive: 100, respond: func(s *script, id uint32) {
			s.header(id)
			s.message(id, 101)
		}, want: "CallError ResourceExhausted the answer is larger than the gateway accepts", http: 500},
		{name: "an answer that is too large, and its status is there already", receive: 100, respond: func(s *script, id uint32) {
			s.header(id)
			s.message(id, 101)
			s.headers(id, true, "grpc-status: 0", "x-a: b")
		}, want: "CallError ResourceExhausted the answer is larger than the gateway accepts", http: 500},
		{name: "no message, and OK", respond: func(s *script, id uint32) {
			s.headers(id, true, ":status: 200", "content-type: application/grpc", "grpc-status: 0")
		}, want: "CallError Internal the upstream did not answer with exactly one message", stream: "OK"},
		{name: "two messages", respond: func(s *script, id uint32) {
			s.header(id)
			s.message(id, 1)
			s.message(id, 1)
			s.headers(id, true, "grpc-status: 0", "x-a: b")
		}, want: "CallError Internal the upstream did not answer with exactly one message", stream: "OK"},

		// These requests do not leave the gateway.
		{name: "headers that are too large for the instance", settings: []http2.Setting{{ID: http2.SettingMaxHeaderListSize, Val: 1000}},
			metadata: []string{"x-a", strings.Repeat("a", 1000)},
			want:     "CallError ResourceExhausted the headers of the request are too large for the service", http: 431},
	} {
		t.Run(tc.name, func(t *testing.T) {
			addr := startScript(t, tc.respond, tc.settings...)
			c, feed := originChannel(t, tc.receive)
			feed.list(addr)
			ready(t, c)
			ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(t.Context(), tc.metadata...), patience)
			defer cancel()
			wantOrigin(t, "whole call", wholeCallError(ctx, c), tc.want, tc.http)
			ready(t, c)
			want := tc.stream
			if want == "" {
				want = tc.want
			}
			wantOrigin(t, "stream", streamError(ctx, c), want, tc.http)
		})
	}
}

// These failures do not need a script.
func TestOriginWithoutAnAnswer(t *testing.T) {
	b := startBackend(t, "")
	silent := startScript(t, func(s *script, id uint32) { s.header(id) })
	dead := startBackend(t, "")
	dead.kill()
	for _, tc := range []struct {
		name  string
		addrs []string
		ctx   func(context.Context) (context.Context, context.CancelFunc)
		call  func(ctx context.Context, c *Channel) error
		want  string
	}{
		{name: "the instance's own status", addrs: []string{b.addr}, want: "instance Unavailable out of order"},
		{name: "no instances", want: "UnavailableError Unavailable the service has no instances"},
		{name: "nobody listens", addrs: []string{dead.addr},
			want: "UnavailableError Unavailable no instance of the service can be reached: connection refused"},
		{name: "the deadline", addrs: []string{silent}, ctx: func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 200*time.Millisecond)
		}, call: streamError, want: "CallError DeadlineExceeded the deadline of the call has passed"},
		{name: "cancelled", addrs: []string{silent}, ctx: func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(200*time.Millisecond, cancel)
			return ctx, cancel
		}, call: streamError, want: "CallError Canceled the call was cancelled"},
		{name: "metadata that cannot be sent", addrs: []string{b.addr}, ctx: func(ctx context.Context) (context.Context, context.CancelFunc) {
			return metadata.AppendToOutgoingContext(ctx, "x-a", "\x01"), func() {}
		}, want: "CallError Internal the call failed in the gateway"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, feed := originChannel(t, 0)
			feed.list(tc.addrs...)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if tc.ctx != nil {
				ready(t, c)
				ctx, cancel = tc.ctx(ctx)
				defer cancel()
			}
			call := tc.call
			if call == nil {
				call = func(ctx context.Context, c *Channel) error {
					return c.Invoke(ctx, methodFail, raw("x"), new(mem.BufferSlice))
				}
			}
			wantOrigin(t, "call", call(ctx, c), tc.want, 0)
		})
	}
}

func originChannel(t *testing.T, receive int) (*Channel, *manualFeed) {
	t.Helper()
	feed := new(manualFeed)
	return openChannel(t, Settings{MaxReceiveSize: receive, EjectFailures: -1}, feed), feed
}

func wholeCallError(ctx context.Context, c *Channel) error {
	var (
		reply  mem.BufferSlice
		header metadata.MD
	)
	err := c.Invoke(ctx, methodEcho, raw("hello"), &reply, grpc.Header(&header))
	reply.Free()
	return err
}

func streamError(ctx context.Context, c *Channel) error {
	cs, err := c.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, methodEcho)
	if err == nil {
		err = cs.SendMsg(raw("hello"))
	}
	for err == nil {
		var reply mem.BufferSlice
		err = cs.RecvMsg(&reply)
		reply.Free()
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func wantOrigin(t *testing.T, how string, err error, want string, http int) {
	t.Helper()
	got := originOf(err)
	if err == nil {
		got = "OK"
	}
	if got != want {
		t.Errorf("%s: got  %s\nwant %s\nfrom %v", how, got, want, err)
	}
	var hinted interface{ HTTPStatus() int }
	if errors.As(err, &hinted) && hinted.HTTPStatus() != http {
		t.Errorf("%s: HTTP status %d, want %d", how, hinted.HTTPStatus(), http)
	}
}
