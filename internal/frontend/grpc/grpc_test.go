package grpc_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	grpcgo "google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/frontend/envelope"
	"github.com/caddy-grpc/gateway/internal/frontend/grpc"
	"github.com/caddy-grpc/gateway/internal/frontend/rpctest"
	"github.com/caddy-grpc/gateway/internal/testkit"
	"github.com/caddy-grpc/gateway/internal/testkit/testpb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// setup returns a grpc-go client of a gateway in front of a backend.
func setup(t *testing.T, opts frontend.Options, backend ...testkit.Option) (testpb.EchoClient, *testkit.Backend, *rpctest.Server) {
	t.Helper()
	b := testkit.StartBackend(t, backend...)
	s := rpctest.NewServer(t, grpc.New(opts), rpctest.Table(t, rpctest.Dial(t, b.Addr())))
	return testpb.NewEchoClient(client(t, s)), b, s
}

func client(t *testing.T, s *rpctest.Server, opts ...grpcgo.DialOption) *grpcgo.ClientConn {
	t.Helper()
	opts = append(opts, grpcgo.WithTransportCredentials(insecure.NewCredentials()))
	cc, err := grpcgo.NewClient("passthrough:///"+s.Addr, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	return cc
}

func TestUnaryCarriesMetadataBothWays(t *testing.T) {
	c, _, s := setup(t, frontend.Options{})
	ctx := metadata.AppendToOutgoingContext(rpctest.Context(t), "x-a", "1", "x-a", "2", "x-b-bin", "\x00\xff")
	var header, trailer metadata.MD
	resp, err := c.Unary(ctx, &testpb.EchoRequest{Text: "hello", Script: &testpb.Script{
		Headers:  map[string]string{"x-h": "v", "x-h-bin": base64.StdEncoding.EncodeToString([]byte("\x01"))},
		Trailers: map[string]string{"x-t": "w", "x-t-bin": base64.StdEncoding.EncodeToString([]byte("\x02"))},
	}}, grpcgo.Header(&header), grpcgo.Trailer(&trailer))
	if err != nil {
		t.Fatal(err)
	}
	if resp.GetText() != "hello" || resp.GetMetadata()["x-a"] != "1, 2" {
		t.Errorf("got %v", resp)
	}
	for _, tc := range []struct {
		name string
		md   metadata.MD
		want string
	}{{"x-h", header, "v"}, {"x-h-bin", header, "\x01"}, {"x-t", trailer, "w"}, {"x-t-bin", trailer, "\x02"}} {
		if got := tc.md.Get(tc.name); len(got) != 1 || got[0] != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
	if info := s.LastInfo(t); info.Protocol != "grpc" || info.Code != codes.OK || info.Sent != 1 || info.Received != 1 || info.Method == nil {
		t.Errorf("info %+v", info)
	}
}

func TestErrorsPassWithDetailsAndMetadata(t *testing.T) {
	c, _, s := setup(t, frontend.Options{})
	for _, tc := range []struct {
		name   string
		script *testpb.Script
	}{
		{"alone", &testpb.Script{}},
		{"after header metadata", &testpb.Script{Headers: map[string]string{"x-h": "v"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.script.FailCode, tc.script.FailMessage = int32(codes.NotFound), "nicht da: ü %\n"
			tc.script.FailBadRequest, tc.script.FailRetryAfter = true, durationpb.New(time.Second)
			tc.script.Trailers = map[string]string{"x-t": "w"}
			var header, trailer metadata.MD
			_, err := c.Unary(rpctest.Context(t), &testpb.EchoRequest{Script: tc.script}, grpcgo.Header(&header), grpcgo.Trailer(&trailer))
			st := status.Convert(err)
			if st.Code() != codes.NotFound || st.Message() != tc.script.GetFailMessage() {
				t.Errorf("got %v", err)
			}
			if len(st.Details()) != 2 {
				t.Fatalf("details %v", st.Details())
			}
			if _, ok := st.Details()[0].(*errdetails.BadRequest); !ok {
				t.Errorf("the first detail is a %T", st.Details()[0])
			}
			if got := trailer.Get("x-t"); len(got) != 1 || got[0] != "w" {
				t.Errorf("x-t: %q", got)
			}
			if got := header.Get("x-h"); len(tc.script.GetHeaders()) > 0 && (len(got) != 1 || got[0] != "v") {
				t.Errorf("x-h: %q", got)
			}
			if info := s.LastInfo(t); info.Code != codes.NotFound {
				t.Errorf("info %+v", info)
			}
		})
	}
}

func TestStreams(t *testing.T) {
	c, _, _ := setup(t, frontend.Options{})
	ctx := rpctest.Context(t)
	t.Run("server", func(t *testing.T) {
		ss, err := c.ServerStream(ctx, &testpb.EchoRequest{Count: 500, Script: &testpb.Script{
			FailCode: int32(codes.Aborted), FailAfter: 300, Filler: 1000, Trailers: map[string]string{"x-t": "w"},
		}})
		if err != nil {
			t.Fatal(err)
		}
		for n := int32(1); ; n++ {
			resp, err := ss.Recv()
			if err != nil {
				if n != 301 || status.Code(err) != codes.Aborted || len(ss.Trailer().Get("x-t")) != 1 {
					t.Errorf("%v in place of message %d; trailer %v", err, n, ss.Trailer())
				}
				return
			}
			if resp.GetNumber() != n {
				t.Fatalf("message %d has number %d", n, resp.GetNumber())
			}
		}
	})
	t.Run("client", func(t *testing.T) {
		cs, err := c.ClientStream(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{"a", "", strings.Repeat("c", 100_000)} {
			if err := cs.Send(&testpb.EchoRequest{Text: text}); err != nil {
				t.Fatal(err)
			}
		}
		resp, err := cs.CloseAndRecv()
		if err != nil || resp.GetText() != "a,,"+strings.Repeat("c", 100_000) {
			t.Errorf("got %.20s, %v", resp.GetText(), err)
		}
	})
	t.Run("bidi, in turns", func(t *testing.T) {
		bs, err := c.Bidi(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			if err := bs.Send(&testpb.EchoRequest{Text: "ping"}); err != nil {
				t.Fatal(err)
			}
			if resp, err := bs.Recv(); err != nil || resp.GetText() != "ping" {
				t.Fatalf("got %v, %v", resp, err)
			}
		}
		_ = bs.CloseSend()
		if _, err := bs.Recv(); !errors.Is(err, io.EOF) {
			t.Errorf("at the end: %v", err)
		}
	})
	t.Run("bidi that fails while the client sends", func(t *testing.T) {
		bs, err := c.Bidi(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := bs.Send(&testpb.EchoRequest{Script: &testpb.Script{FailCode: int32(codes.DataLoss)}}); err != nil {
			t.Fatal(err)
		}
		if _, err := bs.Recv(); status.Code(err) != codes.DataLoss {
			t.Errorf("got %v", err)
		}
	})
}

// header shows header metadata before the first message, for which it waits.
type headerFirst struct {
	testpb.UnimplementedEchoServer
}

func (headerFirst) Bidi(ss grpcgo.BidiStreamingServer[testpb.EchoRequest, testpb.EchoResponse]) error {
	if err := ss.SendHeader(metadata.Pairs("x-h", "v")); err != nil {
		return err
	}
	_, err := ss.Recv()
	return err
}

func TestHeaderMetadataDoesNotWaitForMessages(t *testing.T) {
	c, _, _ := setup(t, frontend.Options{}, testkit.WithoutServices(), testkit.WithRegister(func(s grpcgo.ServiceRegistrar) {
		testpb.RegisterEchoServer(s, headerFirst{})
	}))
	bs, err := c.Bidi(rpctest.Context(t))
	if err != nil {
		t.Fatal(err)
	}
	md, err := bs.Header()
	if err != nil || len(md.Get("x-h")) != 1 {
		t.Fatalf("header %v, %v", md, err)
	}
	if err := bs.Send(&testpb.EchoRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, err := bs.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
}

func TestCompression(t *testing.T) {
	c, _, s := setup(t, frontend.Options{})
	text := strings.Repeat("compress me ", 1000)
	resp, err := c.Unary(rpctest.Context(t), &testpb.EchoRequest{Text: text}, grpcgo.UseCompressor(gzip.Name))
	if err != nil || resp.GetText() != text {
		t.Fatalf("got %.20q, %v", resp.GetText(), err)
	}
	s.LastInfo(t)

	message := envelope.Append(nil, 0, mustRequest(text))
	for _, tc := range []struct {
		name, encoding, accept string
		body                   []byte
		compressed             bool
		status                 string
	}{
		{"neither asked for", "", "", message, false, "0"},
		{"accepted, not used", "", "gzip", message, false, "0"},
		{"used and accepted", "gzip", "identity,gzip", envelope.Append(nil, envelope.Compressed, envelope.Gzip.Compress(nil, mustRequest(text))), true, "0"},
		{"used, not accepted", "gzip", "identity", envelope.Append(nil, envelope.Compressed, envelope.Gzip.Compress(nil, mustRequest(text))), false, "0"},
		{"announced, not used", "gzip", "gzip", message, true, "0"},
		{"unknown", "br", "br", message, false, "12"},
		{"not announced", "", "", envelope.Append(nil, envelope.Compressed, envelope.Gzip.Compress(nil, mustRequest(text))), false, "13"},
		{"corrupt", "gzip", "", envelope.Append(nil, envelope.Compressed, []byte("no gzip")), false, "3"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := http.Header{"Content-Type": {"application/grpc"}}
			if tc.encoding != "" {
				h.Set("Grpc-Encoding", tc.encoding)
			}
			if tc.accept != "" {
				h.Set("Grpc-Accept-Encoding", tc.accept)
			}
			resp, body := s.Transports(t)[1].Do(t, http.MethodPost, testpb.Echo_Unary_FullMethodName, h, bytes.NewReader(tc.body))
			if got := grpcStatus(resp); got != tc.status {
				t.Fatalf("grpc-status %q, want %q", got, tc.status)
			}
			if tc.status != "0" {
				return
			}
			if got := body[0]&envelope.Compressed != 0; got != tc.compressed || (resp.Header.Get("Grpc-Encoding") == "gzip") != tc.compressed {
				t.Errorf("compressed %v, Grpc-Encoding %q, want %v", got, resp.Header.Get("Grpc-Encoding"), tc.compressed)
			}
		})
	}
}

// grpcStatus is the status in the trailers, or in the header where there is nothing else.
func grpcStatus(resp *http.Response) string {
	if s := resp.Trailer.Get("Grpc-Status"); s != "" {
		return s
	}
	return resp.Header.Get("Grpc-Status")
}

func TestRequestsThatAreRefused(t *testing.T) {
	_, b, s := setup(t, frontend.Options{MaxRequestSize: 1000})
	one := envelope.Append(nil, 0, mustRequest("x"))
	const unary = testpb.Echo_Unary_FullMethodName
	for _, tc := range []struct {
		name, method, path, contentType string
		header                          http.Header
		body                            []byte
		http                            int
		status                          string
	}{
		{"GET", http.MethodGet, unary, "application/grpc", nil, nil, 405, ""},
		{"unknown subformat", http.MethodPost, unary, "application/grpc+thrift", nil, one, 415, ""},
		{"unknown method", http.MethodPost, "/a.B/C", "application/grpc", nil, one, 200, "12"},
		{"no message", http.MethodPost, unary, "application/grpc", nil, nil, 200, "12"},
		{"two messages", http.MethodPost, unary, "application/grpc", nil, append(one[:len(one):len(one)], one...), 200, "12"},
		{"no message for a server stream", http.MethodPost, testpb.Echo_ServerStream_FullMethodName, "application/grpc", nil, nil, 200, "12"},
		{"half a prefix", http.MethodPost, unary, "application/grpc", nil, one[:3], 200, "3"},
		{"half a message", http.MethodPost, unary, "application/grpc", nil, one[:len(one)-1], 200, "3"},
		{"half a message in a stream", http.MethodPost, testpb.Echo_ClientStream_FullMethodName, "application/grpc", nil, one[:len(one)-1], 200, "3"},
		{"too large", http.MethodPost, unary, "application/grpc", nil, envelope.Append(nil, 0, make([]byte, 1001)), 200, "8"},
		{"too large by its prefix", http.MethodPost, unary, "application/grpc", nil, []byte{0, 255, 255, 255, 255}, 200, "8"},
		{"too large in a stream", http.MethodPost, testpb.Echo_Bidi_FullMethodName, "application/grpc", nil, envelope.Append(nil, 0, make([]byte, 1001)), 200, "8"},
		{"too large when decompressed", http.MethodPost, unary, "application/grpc", http.Header{"Grpc-Encoding": {"gzip"}},
			envelope.Append(nil, envelope.Compressed, envelope.Gzip.Compress(nil, make([]byte, 100_000))), 200, "8"},
		{"unknown flags", http.MethodPost, unary, "application/grpc", nil, envelope.Append(nil, 0x80, nil), 200, "13"},
		{"malformed deadline", http.MethodPost, unary, "application/grpc", http.Header{"Grpc-Timeout": {"soon"}}, one, 200, "3"},
		{"binary metadata that is none", http.MethodPost, unary, "application/grpc", http.Header{"X-A-Bin": {"!"}}, one, 200, "3"},
		{"JSON that is none", http.MethodPost, unary, "application/grpc+json", nil, envelope.Append(nil, 0, []byte("{")), 200, "3"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := http.Header{"Content-Type": {tc.contentType}}
			for k, v := range tc.header {
				h[k] = v
			}
			resp, _ := s.Transports(t)[1].Do(t, tc.method, tc.path, h, bytes.NewReader(tc.body))
			if resp.StatusCode != tc.http || grpcStatus(resp) != tc.status {
				t.Errorf("HTTP %d, grpc-status %q, want %d, %q", resp.StatusCode, grpcStatus(resp), tc.http, tc.status)
			}
			if info := s.LastInfo(t); info.Code == codes.OK || info.Err == nil {
				t.Errorf("info %+v", info)
			}
		})
	}
	rpctest.Eventually(t, "no call is in flight", func() bool { return b.InFlight() == 0 })
}

func TestHTTP1IsRefused(t *testing.T) {
	_, b, s := setup(t, frontend.Options{})
	resp, _ := s.Transports(t)[0].Do(t, http.MethodPost, testpb.Echo_Unary_FullMethodName, http.Header{"Content-Type": {"application/grpc"}}, nil)
	if resp.StatusCode != http.StatusHTTPVersionNotSupported || b.Calls() != 0 {
		t.Errorf("status %d, %d calls", resp.StatusCode, b.Calls())
	}
}

func TestJSON(t *testing.T) {
	_, _, s := setup(t, frontend.Options{})
	resp, body := s.Transports(t)[1].Do(t, http.MethodPost, testpb.Echo_Unary_FullMethodName,
		http.Header{"Content-Type": {"application/grpc+json"}}, bytes.NewReader(envelope.Append(nil, 0, []byte(`{"text":"hi"}`))))
	if grpcStatus(resp) != "0" || resp.Header.Get("Content-Type") != "application/grpc+json" {
		t.Fatalf("status %q, type %q", grpcStatus(resp), resp.Header.Get("Content-Type"))
	}
	if got := string(body[envelope.HeaderSize:]); !strings.Contains(got, `"text":"hi"`) {
		t.Errorf("got %s", got)
	}
}

func TestDeadlines(t *testing.T) {
	c, b, s := setup(t, frontend.Options{})
	t.Run("of a call", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(rpctest.Context(t), 50*time.Millisecond)
		defer cancel()
		_, err := c.Unary(ctx, &testpb.EchoRequest{Script: &testpb.Script{Delay: durationpb.New(time.Hour)}})
		if status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("got %v", err)
		}
		rpctest.Eventually(t, "the backend's call has ended", func() bool { return b.InFlight() == 0 })
	})
	t.Run("of a request that does not come", func(t *testing.T) {
		pr, pw := io.Pipe()
		defer pw.Close()
		h := http.Header{"Content-Type": {"application/grpc"}, "Grpc-Timeout": {"50m"}}
		resp, _ := s.Transports(t)[1].Do(t, http.MethodPost, testpb.Echo_Unary_FullMethodName, h, pr)
		if got := grpcStatus(resp); got != "4" {
			t.Errorf("grpc-status %q", got)
		}
	})
}

func TestClientThatLeavesCancels(t *testing.T) {
	c, b, _ := setup(t, frontend.Options{})
	ctx, cancel := context.WithCancel(rpctest.Context(t))
	defer cancel()
	bs, err := c.Bidi(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := bs.Send(&testpb.EchoRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, err := bs.Recv(); err != nil {
		t.Fatal(err)
	}
	cancel()
	rpctest.Eventually(t, "the backend's call has ended", func() bool { return b.InFlight() == 0 })
}

func TestDrainEndsStreamsWithAStatus(t *testing.T) {
	drain := frontend.NewDrain()
	c, _, _ := setup(t, frontend.Options{Drain: drain})
	bs, err := c.Bidi(rpctest.Context(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := bs.Send(&testpb.EchoRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, err := bs.Recv(); err != nil {
		t.Fatal(err)
	}
	drain.Close()
	if _, err := bs.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("got %v", err)
	}
}

// flood sends messages as fast as it may and counts them.
type flood struct {
	testpb.UnimplementedEchoServer

	sent atomic.Int64
}

const floodMessage = 100_000

func (f *flood) ServerStream(_ *testpb.EchoRequest, ss grpcgo.ServerStreamingServer[testpb.EchoResponse]) error {
	for {
		if err := ss.Send(&testpb.EchoResponse{Filler: strings.Repeat("x", floodMessage)}); err != nil {
			return err
		}
		f.sent.Add(1)
	}
}

func TestReaderThatStopsStopsTheBackend(t *testing.T) {
	f := &flood{}
	_, _, s := setup(t, frontend.Options{}, testkit.WithoutServices(), testkit.WithRegister(func(r grpcgo.ServiceRegistrar) {
		testpb.RegisterEchoServer(r, f)
	}))
	c := testpb.NewEchoClient(client(t, s, grpcgo.WithStaticStreamWindowSize(64<<10), grpcgo.WithStaticConnWindowSize(64<<10)))
	ctx, cancel := context.WithCancel(rpctest.Context(t))
	defer cancel()
	ss, err := c.ServerStream(ctx, &testpb.EchoRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ss.Recv(); err != nil {
		t.Fatal(err)
	}
	// It has come to rest when nothing was sent for a while.
	last := int64(-1)
	rpctest.Eventually(t, "the backend stops", func() bool {
		now := f.sent.Load()
		defer func() { last = now }()
		time.Sleep(200 * time.Millisecond)
		return now == last
	})
	if sent := f.sent.Load(); sent > 30 {
		t.Errorf("%d messages of %d bytes were sent, and one was read", sent, floodMessage)
	}
}

func TestMethodsWithoutSchemaPassThrough(t *testing.T) {
	unknown := func(_ any, ss grpcgo.ServerStream) error {
		path, _ := grpcgo.MethodFromServerStream(ss)
		for {
			var m testpb.EchoRequest
			if err := ss.RecvMsg(&m); errors.Is(err, io.EOF) {
				return status.Error(codes.OutOfRange, path)
			} else if err != nil {
				return err
			}
			if err := ss.SendMsg(&m); err != nil {
				return err
			}
		}
	}
	_, _, s := setup(t, frontend.Options{}, testkit.WithServerOptions(grpcgo.UnknownServiceHandler(unknown)))
	cs, err := client(t, s).NewStream(rpctest.Context(t), &grpcgo.StreamDesc{ClientStreams: true, ServerStreams: true}, "/raw.Service/Any")
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"a", "b"} {
		if err := cs.SendMsg(&testpb.EchoRequest{Text: text}); err != nil {
			t.Fatal(err)
		}
		var m testpb.EchoRequest
		if err := cs.RecvMsg(&m); err != nil || m.GetText() != text {
			t.Fatalf("got %q, %v", m.GetText(), err)
		}
	}
	_ = cs.CloseSend()
	if err := cs.RecvMsg(&testpb.EchoRequest{}); status.Code(err) != codes.OutOfRange || status.Convert(err).Message() != "/raw.Service/Any" {
		t.Errorf("at the end: %v", err)
	}
}

// mustRequest is the wire form of an EchoRequest with the text.
func mustRequest(text string) []byte { return rpctest.Wire(&testpb.EchoRequest{Text: text}) }

func TestRequestsOfOtherSitesAreRefused(t *testing.T) {
	c, b, _ := setup(t, frontend.Options{})
	ctx := metadata.AppendToOutgoingContext(rpctest.Context(t), "sec-fetch-site", "cross-site", "origin", "https://evil.example")
	if _, err := c.Unary(ctx, &testpb.EchoRequest{}); status.Code(err) != codes.PermissionDenied {
		t.Errorf("got %v", err)
	}
	if n := b.Calls(); n != 0 {
		t.Errorf("%d calls were made", n)
	}
}
