package frontend_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	grpcgo "google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/frontend/connect"
	"github.com/caddy-grpc/gateway/internal/frontend/grpc"
	"github.com/caddy-grpc/gateway/internal/frontend/grpcweb"
	"github.com/caddy-grpc/gateway/internal/frontend/rest"
	"github.com/caddy-grpc/gateway/internal/frontend/rpctest"
	"github.com/caddy-grpc/gateway/internal/testkit"
	"github.com/caddy-grpc/gateway/internal/testkit/testpb"
)

// restProtocol answers errors, too, as the other protocols do.
type restProtocol struct{ *rest.Handler }

func (p restProtocol) Serve(w http.ResponseWriter, r *http.Request, t *frontend.Table, info *frontend.Info) {
	if err := p.Handler.Serve(w, r, t, info); err != nil {
		p.WriteError(w, r, err)
	}
}

// crashing makes a backend whose calls end in a status that says too much, streams after a message.
func crashing(t *testing.T) testkit.Option {
	t.Helper()
	st, err := status.New(codes.Unknown, "panic at secret.go").WithDetails(&errdetails.DebugInfo{Detail: "goroutine secret"})
	if err != nil {
		t.Fatal(err)
	}
	return testkit.WithServerOptions(
		grpcgo.ChainUnaryInterceptor(func(context.Context, any, *grpcgo.UnaryServerInfo, grpcgo.UnaryHandler) (any, error) {
			return nil, st.Err()
		}),
		grpcgo.ChainStreamInterceptor(func(_ any, ss grpcgo.ServerStream, _ *grpcgo.StreamServerInfo, _ grpcgo.StreamHandler) error {
			if err := ss.SendMsg(&testpb.EchoResponse{Text: "first"}); err != nil {
				return err
			}
			return st.Err()
		}))
}

// TestHiddenTextsInEveryProtocol looks for the texts of a status in everything that a client gets.
func TestHiddenTextsInEveryProtocol(t *testing.T) {
	// The rule would give the status another name, as clients of other gateways know it.
	rule, err := frontend.ParseRule("+*", "grpc-metadata-*")
	if err != nil {
		t.Fatal(err)
	}
	responses, err := frontend.CompileResponseRules([]frontend.Rule{rule})
	if err != nil {
		t.Fatal(err)
	}
	table := rpctest.Table(t, rpctest.Dial(t, testkit.StartBackend(t, crashing(t)).Addr()))
	enveloped := string(binary.BigEndian.AppendUint32([]byte{0}, 0))
	unary, stream := testpb.Echo_Unary_FullMethodName, testpb.Echo_ServerStream_FullMethodName
	for _, hide := range []bool{false, true} {
		opts := frontend.Options{ResponseMetadata: responses, Answers: &frontend.Answers{HideInternal: hide}}
		for _, tc := range []struct {
			name     string
			protocol rpctest.Protocol
			path     string
			headers  string // Content-Type, Accept
			body     string
		}{
			{"REST", restProtocol{rest.New(opts)}, unary, "application/json", "{}"},
			{"REST, problem details", restProtocol{rest.New(opts)}, unary, "application/json|application/problem+json", "{}"},
			{"NDJSON", restProtocol{rest.New(opts)}, stream, "application/json|application/x-ndjson", "{}"},
			{"event stream", restProtocol{rest.New(opts)}, stream, "application/json|text/event-stream", "{}"},
			{"Connect", connect.New(opts), unary, "application/json", "{}"},
			{"Connect, a stream", connect.New(opts), stream, "application/connect+proto", enveloped},
			{"gRPC-Web", grpcweb.New(opts), unary, "application/grpc-web", enveloped},
			{"gRPC-Web, a stream", grpcweb.New(opts), stream, "application/grpc-web", enveloped},
			{"gRPC", grpc.New(opts), unary, "application/grpc", enveloped},
			{"gRPC, a stream", grpc.New(opts), stream, "application/grpc", enveloped},
		} {
			t.Run(fmt.Sprintf("%s, hide %v", tc.name, hide), func(t *testing.T) {
				s := rpctest.NewServer(t, tc.protocol, table)
				contentType, accept, _ := strings.Cut(tc.headers, "|")
				h := http.Header{"Content-Type": {contentType}, "Te": {"trailers"}}
				if accept != "" {
					h.Set("Accept", accept)
				}
				resp, body := s.Transports(t)[1].Do(t, http.MethodPost, tc.path, h, strings.NewReader(tc.body))
				wantTexts(t, hide, fmt.Sprintf("%d %s %v %v", resp.StatusCode, body, resp.Header, resp.Trailer))
				wantLogged(t, s.LastInfo(t))
			})
		}
		t.Run(fmt.Sprintf("WebSocket, hide %v", hide), func(t *testing.T) {
			s := rpctest.NewServer(t, restProtocol{rest.New(opts)}, table)
			conn, _, err := websocket.Dial(rpctest.Context(t), s.URL+stream, &websocket.DialOptions{HTTPClient: s.Transports(t)[0].Client})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.CloseNow() }()
			var got bytes.Buffer
			for err = conn.Write(rpctest.Context(t), websocket.MessageText, []byte("{}")); err == nil; {
				var frame []byte
				_, frame, err = conn.Read(rpctest.Context(t))
				got.Write(frame)
			}
			wantTexts(t, hide, got.String()+err.Error())
			_ = conn.CloseNow()
			wantLogged(t, s.LastInfo(t))
		})
	}
}

// wantTexts fails if the client sees what it must not, and if the test could not tell.
func wantTexts(t *testing.T, hide bool, got string) {
	t.Helper()
	got = strings.ToLower(got)
	seen := strings.Contains(got, "secret")
	if hide && (seen || strings.Contains(got, "details") || !strings.Contains(got, "the service failed") && !strings.Contains(got, "the%20service%20failed")) {
		t.Errorf("the client got %q", got)
	}
	if !hide && !seen {
		t.Errorf("without the option the client got %q", got)
	}
}

func wantLogged(t *testing.T, info frontend.Info) {
	t.Helper()
	if info.Code != codes.Unknown || info.Err == nil || !strings.Contains(info.Err.Error(), "panic at secret.go") {
		t.Errorf("the log has %v: %v", info.Code, info.Err)
	}
}
