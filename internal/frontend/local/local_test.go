package local_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/frontend/connect"
	frontgrpc "github.com/caddy-grpc/gateway/internal/frontend/grpc"
	"github.com/caddy-grpc/gateway/internal/frontend/health"
	"github.com/caddy-grpc/gateway/internal/frontend/local"
	"github.com/caddy-grpc/gateway/internal/frontend/reflection"
	"github.com/caddy-grpc/gateway/internal/frontend/rpctest"
	"github.com/caddy-grpc/gateway/internal/testkit/testpb"
	"github.com/caddy-grpc/gateway/internal/transcode"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo answers like the testkit's, with metadata.
type echo struct {
	testpb.UnimplementedEchoServer
}

func (echo) Unary(ctx context.Context, r *testpb.EchoRequest) (*testpb.EchoResponse, error) {
	if r.GetText() == "fail" {
		return nil, status.Error(codes.OutOfRange, "failed")
	}
	md, _ := metadata.FromIncomingContext(ctx)
	return &testpb.EchoResponse{Text: r.GetText() + strings.Join(md.Get("x-a"), ",")}, nil
}

func (echo) Bidi(ss grpc.BidiStreamingServer[testpb.EchoRequest, testpb.EchoResponse]) error {
	if err := ss.SetHeader(metadata.Pairs("x-h", "v")); err != nil {
		return err
	}
	ss.SetTrailer(metadata.Pairs("x-t", "w"))
	for {
		r, err := ss.Recv()
		if errors.Is(err, io.EOF) {
			return status.Error(codes.Aborted, "the end")
		}
		if err != nil {
			return err
		}
		if err := ss.Send(&testpb.EchoResponse{Text: r.GetText()}); err != nil {
			return err
		}
	}
}

// serve returns a client of a gateway that has nothing but the local services.
func serve(t *testing.T, s *local.Server) (*grpc.ClientConn, *frontend.Table) {
	t.Helper()
	table := tableOf(t, s)
	return dial(t, rpctest.NewServer(t, frontgrpc.New(frontend.Options{}), table)), table
}

func tableOf(t *testing.T, s *local.Server) *frontend.Table {
	t.Helper()
	t.Cleanup(s.Wait)
	methods, err := s.Methods(transcode.Options{})
	if err != nil {
		t.Fatal(err)
	}
	table := &frontend.Table{Methods: make(map[string]*frontend.Method)}
	for _, m := range methods {
		table.Methods[m.Path] = m
	}
	return table
}

func dial(t *testing.T, s *rpctest.Server) *grpc.ClientConn {
	t.Helper()
	cc, err := grpc.NewClient("passthrough:///"+s.Addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	return cc
}

func TestCalls(t *testing.T) {
	s := local.NewServer()
	testpb.RegisterEchoServer(s, echo{})
	cc, _ := serve(t, s)
	c := testpb.NewEchoClient(cc)
	ctx := metadata.AppendToOutgoingContext(rpctest.Context(t), "x-a", "1")

	if resp, err := c.Unary(ctx, &testpb.EchoRequest{Text: "a"}); err != nil || resp.GetText() != "a1" {
		t.Errorf("unary: %v, %v", resp, err)
	}
	if _, err := c.Unary(ctx, &testpb.EchoRequest{Text: "fail"}); status.Code(err) != codes.OutOfRange || status.Convert(err).Message() != "failed" {
		t.Errorf("unary that fails: %v", err)
	}
	if _, err := c.ClientStream(ctx); err != nil {
		t.Fatal(err)
	}
	ss, err := c.ServerStream(ctx, &testpb.EchoRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ss.Recv(); status.Code(err) != codes.Unimplemented {
		t.Errorf("unimplemented: %v", err)
	}
	bs, err := c.Bidi(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"a", "b"} {
		if err := bs.Send(&testpb.EchoRequest{Text: text}); err != nil {
			t.Fatal(err)
		}
		if resp, err := bs.Recv(); err != nil || resp.GetText() != text {
			t.Fatalf("got %v, %v", resp, err)
		}
	}
	_ = bs.CloseSend()
	_, err = bs.Recv()
	header, _ := bs.Header()
	if status.Code(err) != codes.Aborted || len(header.Get("x-h")) != 1 || len(bs.Trailer().Get("x-t")) != 1 {
		t.Errorf("at the end: %v, header %v, trailer %v", err, header, bs.Trailer())
	}
}

func TestReflection(t *testing.T) {
	s := local.NewServer()
	testpb.RegisterEchoServer(s, echo{})
	var table atomic.Pointer[frontend.Table]
	reflection.Register(s, table.Load)
	cc, tab := serve(t, s)
	stream, err := reflectionv1.NewServerReflectionClient(cc).ServerReflectionInfo(rpctest.Context(t))
	if err != nil {
		t.Fatal(err)
	}
	ask := func(req *reflectionv1.ServerReflectionRequest) *reflectionv1.ServerReflectionResponse {
		t.Helper()
		if err := stream.Send(req); err != nil {
			t.Fatal(err)
		}
		resp, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	list := &reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}}
	if got := ask(list).GetListServicesResponse().GetService(); len(got) != 0 {
		t.Errorf("without a table: %v", got)
	}
	table.Store(tab)
	var names []string
	for _, svc := range ask(list).GetListServicesResponse().GetService() {
		names = append(names, svc.GetName())
	}
	if got := strings.Join(names, " "); got != "gateway.test.v1.Echo grpc.reflection.v1.ServerReflection grpc.reflection.v1alpha.ServerReflection" {
		t.Errorf("services: %s", got)
	}
	for symbol, pkg := range map[string]string{
		"gateway.test.v1.Echo": "gateway.test.v1", "gateway.test.v1.Echo.Unary": "gateway.test.v1", "gateway.test.v1.EchoRequest": "gateway.test.v1",
		"gateway.test.v1.Genre": "gateway.test.v1", "google.rpc.BadRequest": "google.rpc",
	} {
		resp := ask(&reflectionv1.ServerReflectionRequest{
			MessageRequest: &reflectionv1.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: symbol},
		})
		var fd descriptorpb.FileDescriptorProto
		files := resp.GetFileDescriptorResponse().GetFileDescriptorProto()
		if len(files) == 0 || proto.Unmarshal(files[0], &fd) != nil || fd.GetPackage() != pkg {
			t.Errorf("%s: %v", symbol, resp)
		}
	}
	resp := ask(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_FileByFilename{
		FileByFilename: "google/protobuf/timestamp.proto",
	}})
	if resp.GetFileDescriptorResponse() == nil {
		t.Errorf("an import: %v", resp)
	}
	resp = ask(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_FileContainingExtension{
		FileContainingExtension: &reflectionv1.ExtensionRequest{ContainingType: "google.protobuf.MethodOptions", ExtensionNumber: 72295728},
	}})
	if resp.GetFileDescriptorResponse() == nil {
		t.Errorf("the file of google.api.http: %v", resp)
	}
	resp = ask(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_FileContainingSymbol{
		FileContainingSymbol: "google.protobuf.Any.nope",
	}})
	if resp.GetErrorResponse().GetErrorCode() != int32(codes.NotFound) {
		t.Errorf("unknown symbol: %v", resp)
	}
}

func TestHealth(t *testing.T) {
	s := local.NewServer()
	testpb.RegisterEchoServer(s, echo{})
	var ready atomic.Bool
	drain := frontend.NewDrain()
	var table *frontend.Table
	health.Register(s, health.Config{
		Table: func() *frontend.Table { return table },
		Ready: func(string) bool { return ready.Load() },
		Drain: drain,
	})
	table = tableOf(t, s)
	cc := dial(t, rpctest.NewServer(t, frontgrpc.New(frontend.Options{}), table))
	c := healthpb.NewHealthClient(cc)
	ctx, cancel := context.WithCancel(rpctest.Context(t))
	defer cancel()

	const service = "gateway.test.v1.Echo"
	check := func(service string, want healthpb.HealthCheckResponse_ServingStatus) {
		t.Helper()
		resp, err := c.Check(ctx, &healthpb.HealthCheckRequest{Service: service})
		if err != nil || resp.GetStatus() != want {
			t.Errorf("%q: %v, %v, want %v", service, resp.GetStatus(), err, want)
		}
	}
	check("", healthpb.HealthCheckResponse_SERVING)
	check(service, healthpb.HealthCheckResponse_NOT_SERVING)
	watch, err := c.Watch(ctx, &healthpb.HealthCheckRequest{Service: service})
	if err != nil {
		t.Fatal(err)
	}
	next := func(want healthpb.HealthCheckResponse_ServingStatus) {
		t.Helper()
		resp, err := watch.Recv()
		if err != nil || resp.GetStatus() != want {
			t.Errorf("watch: %v, %v, want %v", resp.GetStatus(), err, want)
		}
	}
	next(healthpb.HealthCheckResponse_NOT_SERVING)
	ready.Store(true)
	next(healthpb.HealthCheckResponse_SERVING)
	check(service, healthpb.HealthCheckResponse_SERVING)
	if _, err := c.Check(ctx, &healthpb.HealthCheckRequest{Service: "nope"}); status.Code(err) != codes.NotFound {
		t.Errorf("unknown service: %v", err)
	}
	list, err := c.List(ctx, &healthpb.HealthListRequest{})
	if err != nil || len(list.GetStatuses()) != 3 {
		t.Errorf("list: %v, %v", list, err)
	}
	drain.Close()
	next(healthpb.HealthCheckResponse_NOT_SERVING)
	check("", healthpb.HealthCheckResponse_NOT_SERVING)
}

func TestOtherProtocolsReachLocalServices(t *testing.T) {
	s := local.NewServer()
	health.Register(s, health.Config{Table: func() *frontend.Table { return nil }, Ready: func(string) bool { return false }})
	srv := rpctest.NewServer(t, connect.New(frontend.Options{}), tableOf(t, s))
	resp, body := srv.Transports(t)[0].Do(t, http.MethodPost, "/grpc.health.v1.Health/Check", http.Header{"Content-Type": {"application/json"}}, strings.NewReader(`{}`))
	if resp.StatusCode != http.StatusOK || string(body) != `{"status":"SERVING"}` {
		t.Errorf("status %d, %s", resp.StatusCode, body)
	}
}
