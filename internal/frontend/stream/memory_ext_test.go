package stream_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/api/httpbody"
	grpcgo "google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/frontend/connect"
	"github.com/caddy-grpc/gateway/internal/frontend/envelope"
	"github.com/caddy-grpc/gateway/internal/frontend/grpc"
	"github.com/caddy-grpc/gateway/internal/frontend/grpcweb"
	"github.com/caddy-grpc/gateway/internal/frontend/rest"
	"github.com/caddy-grpc/gateway/internal/frontend/rpctest"
	"github.com/caddy-grpc/gateway/internal/testkit/testpb"
)

// flood is a service that sends the same message as fast as it is received, up to a number that no
// bounded queue takes.
type flood struct {
	grpcgo.ClientConnInterface
	message []byte
}

func (f flood) NewStream(ctx context.Context, _ *grpcgo.StreamDesc, _ string, _ ...grpcgo.CallOption) (grpcgo.ClientStream, error) {
	return &floodStream{ctx: ctx, message: f.message, left: min(100_000, 8<<20/(len(f.message)+1))}, nil
}

type floodStream struct {
	grpcgo.ClientStream
	ctx     context.Context
	message []byte
	left    int
}

func (s *floodStream) Header() (metadata.MD, error) { return metadata.MD{}, nil }
func (s *floodStream) Trailer() metadata.MD         { return nil }
func (s *floodStream) CloseSend() error             { return nil }

func (s *floodStream) SendMsg(m any) error {
	m.(mem.BufferSlice).Free()
	return nil
}

func (s *floodStream) RecvMsg(m any) error {
	if s.left--; s.left < 0 {
		<-s.ctx.Done()
	}
	if s.ctx.Err() != nil {
		return status.FromContextError(s.ctx.Err()).Err()
	}
	*m.(*mem.BufferSlice) = mem.BufferSlice{mem.SliceBuffer(append([]byte(nil), s.message...))}
	return nil
}

func (s *floodStream) RecvWaiting(dst []byte, limit int) (framed []byte, messages int) {
	for len(s.message) <= 1<<10 && len(dst) < limit && s.left > 0 {
		dst = envelope.Seal(append(envelope.Begin(dst), s.message...), len(dst), 0, envelope.Identity)
		s.left--
		messages++
	}
	return dst, messages
}

// stuck is the response of a client that reads nothing.
type stuck struct {
	header http.Header
	free   chan struct{}
}

func (s *stuck) Header() http.Header              { return s.header }
func (s *stuck) WriteHeader(int)                  {}
func (s *stuck) Flush()                           {}
func (s *stuck) SetReadDeadline(time.Time) error  { return nil }
func (s *stuck) SetWriteDeadline(time.Time) error { return nil }

func (s *stuck) Write([]byte) (int, error) {
	<-s.free
	return 0, io.ErrClosedPipe
}

func (s *stuck) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn := &stuckConn{stuck: s, closed: make(chan struct{})}
	return conn, bufio.NewReadWriter(bufio.NewReader(conn), bufio.NewWriter(conn)), nil
}

// stuckConn is the WebSocket of a client that sends one message and reads nothing.
type stuckConn struct {
	net.Conn
	*stuck
	sent   bool
	once   sync.Once
	closed chan struct{}
}

func (c *stuckConn) Read(p []byte) (int, error) {
	if !c.sent {
		c.sent = true
		return copy(p, "\x81\x82\x00\x00\x00\x00{}"), nil
	}
	<-c.closed
	return 0, io.EOF
}

func (c *stuckConn) Write([]byte) (int, error) {
	select {
	case <-c.free:
	case <-c.closed:
	}
	return 0, io.ErrClosedPipe
}

func (c *stuckConn) Close() error                     { c.once.Do(func() { close(c.closed) }); return nil }
func (c *stuckConn) SetDeadline(time.Time) error      { return nil }
func (c *stuckConn) SetReadDeadline(time.Time) error  { return nil }
func (c *stuckConn) SetWriteDeadline(time.Time) error { return nil }

// way is a way to ask for a stream.
type way struct {
	name        string
	handler     rpctest.Protocol
	contentType string
	body        string
	header      http.Header
}

// restProtocol is REST as a protocol that answers all of its errors itself. The streams here have
// none.
type restProtocol struct{ *rest.Handler }

func (p restProtocol) Serve(w http.ResponseWriter, r *http.Request, t *frontend.Table, info *frontend.Info) {
	if err := p.Handler.Serve(w, r, t, info); err != nil {
		panic(err)
	}
}

// ways are all protocols and framings in which responses stream.
func ways() []way {
	const proto, json = "\x00\x00\x00\x00\x00", "\x00\x00\x00\x00\x02{}"
	accept := func(kind string) http.Header { return http.Header{"Accept": {kind}} }
	return []way{
		{"NDJSON", restProtocol{rest.New(frontend.Options{})}, "application/json", "{}", accept("application/x-ndjson")},
		{"event stream", restProtocol{rest.New(frontend.Options{})}, "application/json", "{}", accept("text/event-stream")},
		{"JSON array", restProtocol{rest.New(frontend.Options{})}, "application/json", "{}", accept("application/json")},
		{"WebSocket", restProtocol{rest.New(frontend.Options{})}, "", "", http.Header{
			"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"},
			"Sec-Websocket-Key": {"AAAAAAAAAAAAAAAAAAAAAA=="},
		}},
		{"Connect", connect.New(frontend.Options{}), "application/connect+proto", proto, nil},
		{"Connect, JSON", connect.New(frontend.Options{}), "application/connect+json", json, nil},
		{"gRPC-Web", grpcweb.New(frontend.Options{}), "application/grpc-web+proto", proto, nil},
		{"gRPC-Web, text", grpcweb.New(frontend.Options{}), "application/grpc-web-text", "AAAAAAA=", nil},
		{"gRPC", grpc.New(frontend.Options{}), "application/grpc", proto, nil},
	}
}

// request makes the request for a method.
func (w way) request(ctx context.Context, method string) *http.Request {
	kind := http.MethodPost
	if w.name == "WebSocket" {
		kind = http.MethodGet
	}
	r := httptest.NewRequestWithContext(ctx, kind, method, strings.NewReader(w.body))
	for name, values := range w.header {
		r.Header[name] = values
	}
	if w.contentType != "" {
		r.Header.Set("Content-Type", w.contentType)
	}
	if w.name == "gRPC" {
		r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/2.0", 2, 0
	}
	return r
}

// heap is how many bytes are in use.
func heap() int {
	runtime.GC()
	runtime.GC() // Pools keep what is unused for one collection.
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int(stats.HeapAlloc)
}

// held is how much each of a number of streams holds whose client reads nothing.
func held(t *testing.T, w way, table *frontend.Table, method string, streams int) (bytes int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		free := make(chan struct{})
		before := heap()
		var running sync.WaitGroup
		for range streams {
			running.Go(func() {
				w.handler.Serve(&stuck{http.Header{}, free}, w.request(ctx, method), table, &frontend.Info{})
			})
		}
		synctest.Wait() // All are stuck: nothing more is received.
		bytes = (heap() - before) / streams
		cancel()
		close(free)
		running.Wait()
	})
	return bytes
}

// TestSlowReadersHoldLittle has services that never stop sending, and clients that read nothing.
// What gRPC's window holds is not among it: docs/http.md has the sum.
func TestSlowReadersHoldLittle(t *testing.T) {
	const (
		fixed = 40 << 10 // the request, its goroutines' state, and on a WebSocket its buffers
		limit = 32 << 10 // what may wait
	)
	text := func(size int) []byte { return rpctest.Wire(&testpb.EchoResponse{Filler: strings.Repeat("x", size)}) }
	raw := func(size int) []byte { return rpctest.Wire(&httpbody.HttpBody{Data: make([]byte, size)}) }
	for _, m := range []struct {
		name, method string
		message      []byte
		streams      int
	}{
		{"empty", testpb.Echo_ServerStream_FullMethodName, nil, 16},
		{"of 10 bytes", testpb.Echo_ServerStream_FullMethodName, text(10), 16},
		{"of 1 KiB", testpb.Echo_ServerStream_FullMethodName, text(1 << 10), 16},
		{"of 256 KiB", testpb.Echo_ServerStream_FullMethodName, text(256 << 10), 4},
		{"of HttpBody, empty", testpb.Echo_Download_FullMethodName, nil, 2},
		{"of HttpBody, 256 KiB", testpb.Echo_Download_FullMethodName, raw(256 << 10), 4},
	} {
		table := rpctest.Table(t, flood{message: m.message})
		for _, w := range ways() {
			t.Run(fmt.Sprintf("%s, messages %s", w.name, m.name), func(t *testing.T) {
				// Two batches: one is being written, one waits. Buffers come in sizes, the next of
				// which is twice as large, and base64 makes three bytes into four.
				most := fixed + 2*2*(limit+len(m.message)*4/3)
				got := held(t, w, table, m.method, m.streams)
				t.Logf("%d KiB for each stream", got>>10)
				if got > most {
					t.Errorf("it holds %d KiB, want at most %d KiB", got>>10, most>>10)
				}
			})
		}
	}
}
