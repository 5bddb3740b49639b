package frontend_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	grpcgo "google.golang.org/grpc"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/frontend/connect"
	"github.com/caddy-grpc/gateway/internal/frontend/grpc"
	"github.com/caddy-grpc/gateway/internal/frontend/grpcweb"
	"github.com/caddy-grpc/gateway/internal/frontend/rest"
	"github.com/caddy-grpc/gateway/internal/frontend/rpctest"
	"github.com/caddy-grpc/gateway/internal/testkit"
	"github.com/caddy-grpc/gateway/internal/testkit/testpb"
)

// admittingConn notes what happens to the body of a request, in order.
type admittingConn struct {
	*grpcgo.ClientConn

	sizes  []int64
	events []string
}

func (c *admittingConn) Admit(_ context.Context, n int64) (release func()) {
	c.sizes = append(c.sizes, n)
	c.events = append(c.events, "admitted")
	return func() { c.events = append(c.events, "released") }
}

func (c *admittingConn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpcgo.CallOption) error {
	c.events = append(c.events, "called")
	return c.ClientConn.Invoke(ctx, method, args, reply, opts...)
}

// notedBody notes that it is read.
type notedBody struct {
	io.Reader

	conn *admittingConn
}

func (b notedBody) Read(p []byte) (int, error) {
	if e := b.conn.events; len(e) == 0 || e[len(e)-1] != "read" {
		b.conn.events = append(b.conn.events, "read")
	}
	return b.Reader.Read(p)
}

func (notedBody) Close() error { return nil }

// TestBodiesAreAdmitted sends small and large bodies in every protocol. Large ones are admitted
// before they are read, and the room is free before the call.
func TestBodiesAreAdmitted(t *testing.T) {
	conn := &admittingConn{ClientConn: rpctest.Dial(t, testkit.StartBackend(t).Addr())}
	table := rpctest.Table(t, conn)
	var opts frontend.Options
	text := func(n int) string { return strings.Repeat("x", n) }
	message := func(n int) string { return string(rpctest.Wire(&testpb.EchoRequest{Text: text(n)})) }
	enveloped := func(n int) string {
		m := message(n)
		return string(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(m)))) + m
	}
	jsonBody := func(n int) string { return `{"text":"` + text(n) + `"}` }
	for name, tc := range map[string]struct {
		protocol    rpctest.Protocol
		contentType string
		body        func(n int) string
	}{
		"REST":     {restProtocol{rest.New(opts)}, "application/json", jsonBody},
		"Connect":  {connect.New(opts), "application/proto", message},
		"gRPC":     {grpc.New(opts), "application/grpc", enveloped},
		"gRPC-Web": {grpcweb.New(opts), "application/grpc-web", enveloped},
	} {
		t.Run(name, func(t *testing.T) {
			for _, size := range []struct {
				text, declared int
				admitted       int64 // 0: it is not asked for
			}{{100, 0, 0}, {20 << 10, 0, 20 << 10}, {20 << 10, -1, 64 << 10}, {200 << 10, 0, 64 << 10}} {
				conn.sizes, conn.events = nil, nil
				body := tc.body(size.text)
				r := httptest.NewRequest(http.MethodPost, testpb.Echo_Unary_FullMethodName, notedBody{bytes.NewReader([]byte(body)), conn})
				r.ProtoMajor, r.Proto = 2, "HTTP/2.0"
				r.Header.Set("Content-Type", tc.contentType)
				r.Header.Set("TE", "trailers")
				if r.ContentLength = int64(len(body)); size.declared != 0 {
					r.ContentLength = int64(size.declared)
				}
				w := httptest.NewRecorder()
				tc.protocol.Serve(w, r, table, new(frontend.Info))
				if w.Code != http.StatusOK || w.Body.Len() < size.text {
					t.Fatalf("%d bytes: status %d, %.100s", size.text, w.Code, w.Body)
				}
				got := strings.Join(conn.events, " ")
				if size.admitted == 0 {
					if got != "read called" {
						t.Errorf("%d bytes: %s", size.text, got)
					}
					continue
				}
				if got != "admitted read released called" {
					t.Fatalf("%d bytes, %d declared: %s", size.text, size.declared, got)
				}
				if n := conn.sizes[0]; n != size.admitted && (n < size.admitted || n > size.admitted+100) {
					t.Errorf("%d bytes, %d declared: %d bytes were asked for, want %d", size.text, size.declared, n, size.admitted)
				}
			}
		})
	}
}
