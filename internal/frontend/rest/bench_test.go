package rest

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/testkit/testpb"
)

// cannedConn answers each call with the same message, so that a benchmark shows what the gateway
// itself costs.
type cannedConn struct {
	grpc.ClientConnInterface
	answer []byte
}

func (c cannedConn) NewStream(ctx context.Context, desc *grpc.StreamDesc, _ string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	return &cannedStream{ctx: ctx, answer: c.answer}, nil
}

func (c cannedConn) Invoke(_ context.Context, _ string, args, reply any, _ ...grpc.CallOption) error {
	args.(mem.BufferSlice).Free()
	*reply.(*mem.BufferSlice) = mem.BufferSlice{mem.SliceBuffer(c.answer)}
	return nil
}

type cannedStream struct {
	grpc.ClientStream
	ctx    context.Context
	answer []byte
}

func (s *cannedStream) SendMsg(m any) error {
	m.(mem.BufferSlice).Free()
	return nil
}

func (s *cannedStream) RecvMsg(m any) error {
	if s.ctx.Err() != nil {
		return status.FromContextError(s.ctx.Err()).Err()
	}
	*m.(*mem.BufferSlice) = mem.BufferSlice{mem.SliceBuffer(s.answer)}
	return nil
}

func (s *cannedStream) Header() (metadata.MD, error) { return nil, nil }
func (s *cannedStream) Trailer() metadata.MD         { return nil }
func (s *cannedStream) CloseSend() error             { return nil }

// nullWriter throws the answer away.
type nullWriter struct{ header http.Header }

func (w nullWriter) Header() http.Header         { return w.header }
func (w nullWriter) Write(p []byte) (int, error) { return len(p), nil }
func (w nullWriter) WriteHeader(int)             {}

func BenchmarkUnary(b *testing.B) {
	book, err := proto.Marshal(&testpb.Book{Name: "shelves/1/books/1", Title: "Emma", Author: "Jane Austen", Pages: 474, Tags: []string{"classic"}})
	if err != nil {
		b.Fatal(err)
	}
	table := newTable(b, cannedConn{answer: book})
	for _, bc := range []struct{ name, method, path, body string }{
		{"path", http.MethodGet, "/v1/shelves/1/books/1", ""},
		{"query", http.MethodGet, "/v1/books/1?name=1", ""},
		{"body", http.MethodPost, "/v1/shelves/1/books", `{"title":"Emma","author":"Jane Austen","pages":"474","tags":["classic"]}`},
	} {
		b.Run(bc.name, func(b *testing.B) {
			h := New(frontend.Options{})
			r := httptest.NewRequest(bc.method, bc.path, nil)
			r.Header.Set("Accept", "*/*")
			r.Header.Set("User-Agent", "bench")
			body := strings.NewReader(bc.body)
			if bc.body != "" {
				r.Header.Set("Content-Type", "application/json")
				r.Body, r.ContentLength = io.NopCloser(body), int64(len(bc.body))
			}
			w := nullWriter{http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				body.Reset(bc.body)
				clear(w.header)
				if err := h.Serve(w, r, table, &frontend.Info{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// finiteConn answers each stream with some messages, and then ends it.
type finiteConn struct {
	grpc.ClientConnInterface
	answer []byte
	count  int
}

func (c finiteConn) NewStream(ctx context.Context, _ *grpc.StreamDesc, _ string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	return &finiteStream{cannedStream{ctx: ctx, answer: c.answer}, c.count}, nil
}

type finiteStream struct {
	cannedStream
	left int
}

func (s *finiteStream) RecvMsg(m any) error {
	if s.left == 0 {
		return io.EOF
	}
	s.left--
	return s.cannedStream.RecvMsg(m)
}

// BenchmarkStream shows what a stream of 1000 messages costs, the allocation of each message by the
// connection included.
func BenchmarkStream(b *testing.B) {
	message, err := proto.Marshal(&testpb.EchoResponse{Text: "a message", Number: 7})
	if err != nil {
		b.Fatal(err)
	}
	table := newTable(b, finiteConn{answer: message, count: 1000})
	for _, f := range streamFramings {
		b.Run(f, func(b *testing.B) {
			h := New(frontend.Options{})
			r := httptest.NewRequest(http.MethodGet, "/v1/stream/1", nil)
			r.Header.Set("Accept", f)
			w := &countingWriter{nullWriter: nullWriter{http.Header{}}}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.header)
				if err := h.Serve(w, r, table, &frontend.Info{}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(w.writes)/float64(b.N), "writes/op")
		})
	}
}

// countingWriter counts writes.
type countingWriter struct {
	nullWriter
	writes int
}

func (w *countingWriter) Write(p []byte) (int, error) {
	w.writes++
	return len(p), nil
}

func (w *countingWriter) Flush() {}
