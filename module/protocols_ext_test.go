package module_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"github.com/caddy-grpc/gateway/internal/testkit"
	"github.com/caddy-grpc/gateway/internal/testkit/testpb"
)

// dial returns a gRPC client of the site.
func (s *site) dial() *grpc.ClientConn {
	s.t.Helper()
	cc, err := grpc.NewClient("passthrough:///"+s.addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = cc.Close() })
	return cc
}

// post makes a request with the content type and further headers, name and value in turns.
func (s *site) post(path, contentType, body string, headers ...string) answer {
	req, err := http.NewRequest(http.MethodPost, "http://"+s.addr+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	return send(s.client, req)
}

func bounded(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestProtocolsOnOnePort(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	s.load("", "grpc_gateway "+backend.Addr())
	const unary = testpb.Echo_Unary_FullMethodName

	resp, err := testpb.NewEchoClient(s.dial()).Unary(bounded(t), &testpb.EchoRequest{Text: "by gRPC"})
	if err != nil || resp.GetText() != "by gRPC" {
		t.Errorf("gRPC: %v, %v", resp, err)
	}
	got := s.want(s.post(unary, "application/json", `{"text":"by Connect"}`, "Connect-Protocol-Version", "1"), http.StatusOK)
	if got.field("text") != "by Connect" {
		t.Errorf("Connect: %s", got)
	}
	got = s.want(s.post(unary, "application/json", `{"script":{"failCode":5}}`, "Connect-Protocol-Version", "1"), http.StatusNotFound)
	if got.field("code") != "not_found" {
		t.Errorf("an error of Connect: %s", got)
	}
	got = s.want(s.post(unary, "application/json", `{"script":{"failCode":5}}`), http.StatusNotFound)
	if got.field("code") != 5. {
		t.Errorf("an error without a protocol: %s", got)
	}
	got = s.want(s.post(unary, "application/grpc-web-text", "AAAAAAA="), http.StatusOK)
	raw, err := base64.StdEncoding.DecodeString(got.body)
	if err != nil || !bytes.Contains(raw, []byte("grpc-status: 0\r\n")) {
		t.Errorf("gRPC-Web: %s", got)
	}
}

func TestMethodsThatNoSchemaDescribes(t *testing.T) {
	backend := testkit.StartBackend(t, testkit.WithReflection(false, false),
		testkit.WithServerOptions(grpc.UnknownServiceHandler(func(_ any, ss grpc.ServerStream) error {
			return ss.SendMsg(&testpb.EchoResponse{Text: "unknown"})
		})))
	s := newSite(t)
	s.load("", "grpc_gateway "+backend.Addr()+" {\n\thide secret.*\n}")
	cc := s.dial()
	for path, want := range map[string]codes.Code{
		"/any.Service/Method":            codes.OK,
		"/secret.Service/Method":         codes.Unimplemented, // even if the schema has it
		"/grpc.health.v1.Health/Check":   codes.Unimplemented,
		"/any.Service/Method/and/more":   codes.Unimplemented,
		testpb.Echo_Unary_FullMethodName: codes.OK,
	} {
		if err := cc.Invoke(bounded(t), path, &testpb.EchoRequest{}, &testpb.EchoResponse{}); status.Code(err) != want {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
	}
}

func TestReflectionAndHealthOfTheGateway(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	s.load("", "grpc_gateway "+backend.Addr()+" {\n\treflection on\n\thealth on\n}")
	cc := s.dial()
	ctx := bounded(t)
	stream, err := reflectionv1.NewServerReflectionClient(cc).ServerReflectionInfo(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var services []string
	eventually(t, "the services are known", func() bool {
		if err := stream.Send(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}}); err != nil {
			t.Fatal(err)
		}
		resp, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		services = nil
		for _, svc := range resp.GetListServicesResponse().GetService() {
			services = append(services, svc.GetName())
		}
		return len(services) > 3
	})
	want := "gateway.test.v1.Echo gateway.test.v1.Library grpc.health.v1.Health grpc.reflection.v1.ServerReflection grpc.reflection.v1alpha.ServerReflection"
	if got := strings.Join(services, " "); got != want {
		t.Errorf("services: %s", got)
	}
	_ = stream.CloseSend()

	health := healthpb.NewHealthClient(cc)
	is := func(service string, want healthpb.HealthCheckResponse_ServingStatus) func() bool {
		return func() bool {
			resp, err := health.Check(ctx, &healthpb.HealthCheckRequest{Service: service})
			return err == nil && resp.GetStatus() == want
		}
	}
	eventually(t, "the service serves", is("gateway.test.v1.Echo", healthpb.HealthCheckResponse_SERVING))
	backend.Stop()
	eventually(t, "the service does not serve", is("gateway.test.v1.Echo", healthpb.HealthCheckResponse_NOT_SERVING))
	eventually(t, "the gateway serves", is("", healthpb.HealthCheckResponse_SERVING))
}

func TestCORS(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	preflight := func() answer {
		req, err := http.NewRequest(http.MethodOptions, "http://"+s.addr+testpb.Echo_Unary_FullMethodName, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Origin", "https://app.example")
		req.Header.Set("Access-Control-Request-Method", "POST")
		req.Header.Set("Access-Control-Request-Headers", "x-grpc-web")
		return send(s.client, req)
	}
	s.load("", "grpc_gateway "+backend.Addr())
	if got := preflight(); got.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("without the option: %v", got.header)
	}
	s.load("", "grpc_gateway "+backend.Addr()+" {\n\tcors https://app.example\n}")
	// The server of the old config may accept one more connection.
	eventually(t, "the new config", func() bool { return preflight().header.Get("Access-Control-Allow-Origin") != "" })
	got := s.want(preflight(), http.StatusNoContent)
	if got.header.Get("Access-Control-Allow-Origin") != "https://app.example" || got.header.Get("Access-Control-Allow-Headers") != "x-grpc-web" {
		t.Errorf("preflight: %v", got.header)
	}
	got = s.want(s.post(testpb.Echo_Unary_FullMethodName, "application/json", `{"script":{"headers":{"x-h":"v"}}}`, "Origin", "https://app.example"), 200)
	if got.header.Get("Access-Control-Allow-Origin") != "https://app.example" || !strings.Contains(got.header.Get("Access-Control-Expose-Headers"), "X-H") {
		t.Errorf("an answer: %v", got.header)
	}
	got = s.want(s.post("/nowhere", "application/json", `{}`, "Origin", "https://app.example"), 404)
	if got.header.Get("Access-Control-Allow-Origin") != "https://app.example" {
		t.Errorf("an error: %v", got.header)
	}
}

// TestStreamsMayRest sends nothing for longer than read_idle_timeout. Caddy ends requests whose
// body rests that long, by default a minute, but streams may rest.
func TestStreamsMayRest(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	config := bytes.Replace(adapt(t, s.caddyfile("", "grpc_gateway "+backend.Addr())),
		[]byte(`"srv0":{`), []byte(`"srv0":{"read_idle_timeout": 200000000, `), 1)
	if !json.Valid(config) || !bytes.Contains(config, []byte("read_idle_timeout")) {
		t.Fatalf("bad config: %s", config)
	}
	if err := caddy.Load(config, true); err != nil {
		t.Fatal(err)
	}
	stream, err := testpb.NewEchoClient(s.dial()).Bidi(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := stream.Send(&testpb.EchoRequest{Text: "still here"}); err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(600 * time.Millisecond)
	}
	_ = stream.CloseSend()
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
}
