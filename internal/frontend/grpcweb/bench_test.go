package grpcweb_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	grpcgo "google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/frontend/grpcweb"
	"github.com/caddy-grpc/gateway/internal/frontend/rpctest"
	"github.com/caddy-grpc/gateway/internal/testkit/testpb"
)

// finiteConn answers each stream with some messages, and then ends it.
type finiteConn struct {
	grpcgo.ClientConnInterface
	answer []byte
	count  int
}

func (c finiteConn) NewStream(context.Context, *grpcgo.StreamDesc, string, ...grpcgo.CallOption) (grpcgo.ClientStream, error) {
	return &finiteStream{answer: c.answer, left: c.count}, nil
}

type finiteStream struct {
	grpcgo.ClientStream
	answer []byte
	left   int
}

func (s *finiteStream) Header() (metadata.MD, error) { return metadata.MD{}, nil }
func (s *finiteStream) Trailer() metadata.MD         { return nil }
func (s *finiteStream) CloseSend() error             { return nil }

func (s *finiteStream) SendMsg(m any) error {
	m.(mem.BufferSlice).Free()
	return nil
}

func (s *finiteStream) RecvMsg(m any) error {
	if s.left == 0 {
		return io.EOF
	}
	s.left--
	*m.(*mem.BufferSlice) = mem.BufferSlice{mem.SliceBuffer(s.answer)}
	return nil
}

// countingWriter throws the answer away and counts its writes.
type countingWriter struct {
	header http.Header
	writes int
}

func (w *countingWriter) Header() http.Header { return w.header }
func (w *countingWriter) WriteHeader(int)     {}
func (w *countingWriter) Flush()              {}

func (w *countingWriter) Write(p []byte) (int, error) {
	w.writes++
	return len(p), nil
}

// BenchmarkStream shows what a stream of 1000 messages costs, the allocation of each message by the
// connection included.
func BenchmarkStream(b *testing.B) {
	table := rpctest.Table(b, finiteConn{answer: rpctest.Wire(&testpb.EchoResponse{Text: "a message", Number: 7}), count: 1000})
	for _, contentType := range []string{"application/grpc-web+proto", "application/grpc-web+json"} {
		b.Run(contentType, func(b *testing.B) {
			h := grpcweb.New(frontend.Options{})
			message := string(make([]byte, 5))
			if strings.HasSuffix(contentType, "json") {
				message = "\x00\x00\x00\x00\x02{}"
			}
			body := strings.NewReader(message)
			r := httptest.NewRequest(http.MethodPost, testpb.Echo_ServerStream_FullMethodName, nil)
			r.Header.Set("Content-Type", contentType)
			r.Body, r.ContentLength = io.NopCloser(body), int64(len(message))
			w := &countingWriter{header: http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				body.Reset(message)
				clear(w.header)
				info := &frontend.Info{}
				if h.Serve(w, r, table, info); info.Received != 1000 {
					b.Fatal(info)
				}
			}
			b.ReportMetric(float64(w.writes)/float64(b.N), "writes/op")
		})
	}
}
