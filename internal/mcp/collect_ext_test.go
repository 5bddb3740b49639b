package mcp_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/frontend/rpctest"
	"github.com/caddy-grpc/gateway/internal/mcp"
	"github.com/caddy-grpc/gateway/internal/testkit"
	"github.com/caddy-grpc/gateway/internal/toolname"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// called is the result of a tool.
type called struct {
	IsError           bool
	Content           []struct{ Text string }
	StructuredContent struct {
		Messages  []any
		Truncated bool
	}
}

// status is the google.rpc.Status of a tool call that has failed.
func (c called) status() (code int, message string) {
	var st struct {
		Code    int
		Message string
	}
	if c.IsError && len(c.Content) == 1 {
		_ = json.Unmarshal([]byte(c.Content[0].Text), &st)
	}
	return st.Code, st.Message
}

// gateway calls tools in front of a real backend.
type gateway struct {
	t       *testing.T
	url     string
	client  *http.Client
	backend *testkit.Backend
}

func newGateway(t *testing.T, opts frontend.Options, limits mcp.Limits) *gateway {
	t.Helper()
	backend := testkit.StartBackend(t)
	g := gatewayTo(t, rpctest.Dial(t, backend.Addr()), opts, limits)
	g.backend = backend
	return g
}

// gatewayTo is newGateway with any upstream.
func gatewayTo(t *testing.T, conn grpc.ClientConnInterface, opts frontend.Options, limits mcp.Limits) *gateway {
	t.Helper()
	table := rpctest.Table(t, conn)
	h := mcp.New(mcp.Config{Options: opts, Path: "/mcp", Matches: func(string) bool { return true }, Names: new(toolname.Registry), Limits: limits})
	source := mcp.Source{Key: table, Methods: func() map[string]*frontend.Method { return table.Methods }}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.Serve(w, r, func(context.Context) mcp.Source { return source })
	}))
	t.Cleanup(server.Close)
	return &gateway{t: t, url: server.URL + "/mcp", client: server.Client()}
}

// call calls a tool.
func (g *gateway) call(tool, arguments string) called {
	g.t.Helper()
	body := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"` + tool + `","arguments":` + arguments + `}}`
	req, err := http.NewRequestWithContext(rpctest.Context(g.t), http.MethodPost, g.url, strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	resp, err := g.client.Do(req)
	if err != nil {
		g.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	var answer struct{ Result called }
	if err != nil || json.Unmarshal(raw, &answer) != nil {
		g.t.Fatalf("%s: %.500s, %v", resp.Status, raw, err)
	}
	return answer.Result
}

// whenCalled closes the drain as soon as the backend has a call.
func (g *gateway) whenCalled(drain *frontend.Drain) (done chan struct{}) {
	done = make(chan struct{})
	go func() {
		defer close(done)
		rpctest.Eventually(g.t, "the call has begun", func() bool { return g.backend.InFlight() == 1 })
		drain.Close()
	}()
	return done
}

// hour are limits that no test reaches.
var hour = mcp.Limits{Messages: 1 << 30, Bytes: 1 << 30, Time: time.Hour}

// TestDrainEndsCollectedStreams ends streams that are collected when the server stops.
func TestDrainEndsCollectedStreams(t *testing.T) {
	for name, arguments := range map[string]string{
		"nothing received": `{"count":2,"script":{"delay":"3600s"}}`,
		"a message":        `{"count":2,"script":{"interval":"3600s"}}`,
		"many messages":    `{"count":1000000,"script":{"interval":"0.001s"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			drain := frontend.NewDrain()
			g := newGateway(t, frontend.Options{Drain: drain}, hour)
			closed := g.whenCalled(drain)
			got := g.call("Echo_ServerStream", arguments)
			<-closed
			if code, message := got.status(); code != 14 || message != "the server is shutting down" {
				t.Errorf("got %+v", got)
			}
			rpctest.Eventually(t, "the call is cancelled", func() bool { return g.backend.InFlight() == 0 })
		})
	}
	t.Run("within close_delay", func(t *testing.T) {
		drain := frontend.NewDrain()
		drain.Close()
		g := newGateway(t, frontend.Options{Drain: drain, CloseDelay: time.Hour}, hour)
		got := g.call("Echo_ServerStream", `{"count":3}`)
		if got.IsError || len(got.StructuredContent.Messages) != 3 || got.StructuredContent.Truncated {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("after close_delay", func(t *testing.T) {
		drain := frontend.NewDrain()
		drain.Close()
		g := newGateway(t, frontend.Options{Drain: drain, CloseDelay: 50 * time.Millisecond}, hour)
		got := g.call("Echo_ServerStream", `{"count":2,"script":{"interval":"3600s"}}`)
		if code, _ := got.status(); code != 14 {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("unary calls finish", func(t *testing.T) {
		drain := frontend.NewDrain()
		drain.Close()
		g := newGateway(t, frontend.Options{Drain: drain}, hour)
		if got := g.call("Echo_Unary", `{"script":{"delay":"0.050s"}}`); got.IsError {
			t.Errorf("got %+v", got)
		}
	})
}

// stuck is an upstream that no call can reach, as one without instances.
type stuck struct{ grpc.ClientConnInterface }

// NewStream implements grpc.ClientConnInterface.
func (stuck) NewStream(ctx context.Context, _ *grpc.StreamDesc, _ string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestStreamThatDoesNotBegin ends a stream that waits for an instance, at the limits and when the
// server stops.
func TestStreamThatDoesNotBegin(t *testing.T) {
	limits := hour
	limits.Time = 50 * time.Millisecond
	g := gatewayTo(t, stuck{}, frontend.Options{}, limits)
	if code, message := g.call("Echo_ServerStream", `{"count":1}`).status(); code != 4 || message != "the stream did not begin within 50ms" {
		t.Errorf("at the limits: %d %s", code, message)
	}
	drain := frontend.NewDrain()
	drain.Close()
	g = gatewayTo(t, stuck{}, frontend.Options{Drain: drain}, hour)
	if code, message := g.call("Echo_ServerStream", `{"count":1}`).status(); code != 14 || message != "the server is shutting down" {
		t.Errorf("at the end: %d %s", code, message)
	}
}
