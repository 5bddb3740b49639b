package module_test

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"github.com/caddy-grpc/gateway/internal/testkit"
	"github.com/caddy-grpc/gateway/internal/testkit/testpb"
)

// What hide names is in no answer of server reflection, though it shares its file with what is
// shown.
func TestReflectionShowsNothingHidden(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	s.load("", "grpc_gateway "+backend.Addr()+` {
		reflection on
		hide gateway.test.v1.Library gateway.test.v1.Echo/Bidi
	}`)
	s.want(s.do("POST", "/gateway.test.v1.Echo/Unary", `{}`), 200) // The schema is known.
	stream, err := reflectionv1.NewServerReflectionClient(s.dial()).ServerReflectionInfo(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	files := func(symbol string) [][]byte {
		t.Helper()
		err := stream.Send(&reflectionv1.ServerReflectionRequest{
			MessageRequest: &reflectionv1.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: symbol},
		})
		if err != nil {
			t.Fatal(err)
		}
		resp, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		return resp.GetFileDescriptorResponse().GetFileDescriptorProto()
	}
	shown := files("gateway.test.v1.Echo")
	if len(shown) == 0 || !bytes.Contains(slices.Concat(shown...), []byte("ServerStream")) {
		t.Fatal("the service is not described")
	}
	for _, name := range []string{"Library", "ListBooks", "CreateBookRequest", "Bidi"} {
		if bytes.Contains(slices.Concat(shown...), []byte(name)) {
			t.Errorf("%s is in the files of another service", name)
		}
	}
	for _, symbol := range []string{"Library", "Library.GetBook", "CreateBookRequest", "ListBooksResponse", "Echo.Bidi"} {
		if files("gateway.test.v1."+symbol) != nil {
			t.Errorf("%s is described", symbol)
		}
	}
	_ = stream.CloseSend()
}

// refusing refuses every call, with a detail of a type that no file of the service imports. The
// type is linked into the backend, so that its server reflection knows it.
type refusing struct{ testpb.UnimplementedEchoServer }

func (refusing) Unary(context.Context, *testpb.EchoRequest) (*testpb.EchoResponse, error) {
	st, err := status.New(codes.FailedPrecondition, "not now").WithDetails(&healthpb.HealthCheckRequest{Service: "x"})
	if err != nil {
		return nil, err
	}
	return nil, st.Err()
}

func TestATypeThatOnlyReflectionKnows(t *testing.T) {
	backend := testkit.StartBackend(t, testkit.WithoutServices(), testkit.WithRegister(func(r grpc.ServiceRegistrar) {
		testpb.RegisterEchoServer(r, refusing{})
	}))
	s := newSite(t)
	s.load("", "grpc_gateway "+backend.Addr())
	got := s.want(s.do("POST", "/gateway.test.v1.Echo/Unary", `{}`), 400)
	if want := `{"@type":"type.googleapis.com/grpc.health.v1.HealthCheckRequest","service":"x"}`; !strings.Contains(got.body, want) {
		t.Errorf("got %s", got)
	}
}
