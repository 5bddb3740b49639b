package stream_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	grpcgo "google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/caddy-grpc/gateway/internal/frontend/rpctest"
	"github.com/caddy-grpc/gateway/internal/testkit"
	"github.com/caddy-grpc/gateway/internal/testkit/testpb"
)

// quiet is a service whose streams have a header and no messages.
type quiet struct {
	testpb.UnimplementedEchoServer
}

func (quiet) ServerStream(_ *testpb.EchoRequest, ss grpcgo.ServerStreamingServer[testpb.EchoResponse]) error {
	if err := ss.SendHeader(metadata.Pairs("x-early", "1")); err != nil {
		return err
	}
	<-ss.Context().Done()
	return nil
}

// TestClientOfAQuietStreamThatLeaves: the header has come, nothing more does, and the client goes
// away.
func TestClientOfAQuietStreamThatLeaves(t *testing.T) {
	b := testkit.StartBackend(t, testkit.WithoutServices(), testkit.WithRegister(func(s grpcgo.ServiceRegistrar) {
		testpb.RegisterEchoServer(s, quiet{})
	}))
	table := rpctest.Table(t, rpctest.Dial(t, b.Addr()))
	for _, w := range ways() {
		if w.name == "WebSocket" {
			continue // rest has this test for it: it needs another client.
		}
		for _, tr := range rpctest.NewServer(t, w.handler, table).Transports(t) {
			if w.name == "gRPC" && tr.Name == "HTTP/1.1" {
				continue
			}
			t.Run(w.name+", "+tr.Name, func(t *testing.T) {
				ctx, leave := context.WithCancel(rpctest.Context(t))
				r, err := http.NewRequestWithContext(ctx, http.MethodPost, tr.URL+testpb.Echo_ServerStream_FullMethodName, strings.NewReader(w.body))
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("Content-Type", w.contentType)
				for name, values := range w.header {
					r.Header[name] = values
				}
				resp, err := tr.Client.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				if resp.Header.Get("X-Early") != "1" || b.InFlight() != 1 {
					t.Errorf("%v, %d calls", resp.Header, b.InFlight())
				}
				leave()
				resp.Body.Close()
				rpctest.Eventually(t, "the call ends", func() bool { return b.InFlight() == 0 })
			})
		}
	}
}
