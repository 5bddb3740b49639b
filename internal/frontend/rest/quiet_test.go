package rest

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/api/httpbody"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/testkit"
	"github.com/caddy-grpc/gateway/internal/testkit/testpb"
)

// quietService does what the text of a request says, and then nothing.
type quietService struct {
	testpb.UnimplementedEchoServer
}

func (quietService) ServerStream(req *testpb.EchoRequest, ss grpc.ServerStreamingServer[testpb.EchoResponse]) error {
	if strings.Contains(req.GetText(), "header") {
		if err := ss.SendHeader(metadata.Pairs("x-early", "1")); err != nil {
			return err
		}
	}
	if strings.Contains(req.GetText(), "error") {
		return status.Error(codes.NotFound, "gone")
	}
	<-ss.Context().Done()
	return nil
}

// Download is quiet at first.
func (quietService) Download(_ *testpb.EchoRequest, ss grpc.ServerStreamingServer[httpbody.HttpBody]) error {
	if err := ss.SendHeader(metadata.Pairs("x-early", "1")); err != nil {
		return err
	}
	time.Sleep(2 * headerGrace)
	return ss.Send(&httpbody.HttpBody{ContentType: "text/plain", Data: []byte("data")})
}

func newQuietWorld(t *testing.T, opts frontend.Options) *world {
	t.Helper()
	return newWorld(t, opts, testkit.WithoutServices(), testkit.WithRegister(func(s grpc.ServiceRegistrar) {
		testpb.RegisterEchoServer(s, quietService{})
	}))
}

// bounded ends long before the default heartbeat.
func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestHeaderOfAQuietStream(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		opts       frontend.Options
		early      string // what comes of the service's own header
	}{
		{name: "goes out with the service's own", text: "header", early: "1"},
		{name: "goes out after the time of a heartbeat", text: "nothing", opts: frontend.Options{Heartbeat: 20 * time.Millisecond}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newQuietWorld(t, tc.opts)
			for _, f := range streamFramings {
				w.eachVersion(t, func(t *testing.T, c *client) {
					for _, method := range []string{"GET", "HEAD"} {
						ctx, cancel := context.WithCancel(bounded(t))
						resp, err := c.open(ctx, method, "/v1/stream/1?text="+tc.text, nil, "Accept: "+f)
						if err != nil {
							t.Fatalf("%s %s: %v", method, f, err)
						}
						if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != f || resp.Header.Get("X-Early") != tc.early {
							t.Errorf("%s %s: %d %v", method, f, resp.StatusCode, resp.Header)
						}
						cancel()
						resp.Body.Close()
					}
				})
			}
			eventually(t, "the calls of clients that have left, or have asked for the header only, end", func() bool {
				return w.backend.InFlight() == 0
			})
		})
	}
}

func TestErrorRightAfterTheHeaderKeepsItsStatus(t *testing.T) {
	w := newQuietWorld(t, frontend.Options{})
	for _, f := range streamFramings {
		w.eachVersion(t, func(t *testing.T, c *client) {
			a := c.do("GET", "/v1/stream/1?text=header+error", nil, "Accept: "+f)
			a.wantError(t, 404, 5, "gone")
			if a.Header.Get("X-Early") != "1" {
				t.Errorf("%s: %v", f, a.Header)
			}
		})
	}
}

func TestHeaderOfRawContentWaitsForItsType(t *testing.T) {
	w := newQuietWorld(t, frontend.Options{Heartbeat: 10 * time.Millisecond, HeartbeatLines: true})
	w.eachVersion(t, func(t *testing.T, c *client) {
		if a := c.do("GET", "/v1/download/1", nil); a.Header.Get("Content-Type") != "text/plain" || a.body != "data" {
			t.Errorf("%v %q", a.Header, a.body)
		}
	})
}

func TestHeartbeatLines(t *testing.T) {
	w := newWorld(t, frontend.Options{Heartbeat: 20 * time.Millisecond, HeartbeatLines: true})
	w.eachVersion(t, func(t *testing.T, c *client) {
		const body = `{"count":2,"script":{"delay":"0.15s","interval":"0.15s"}}`
		lines := c.do("POST", "/v1/stream", body)
		var messages, empty int
		for line := range strings.Lines(lines.body) {
			switch {
			case line == "\n":
				empty++
			case json.Valid([]byte(line)):
				messages++
			default:
				t.Errorf("line %q", line)
			}
		}
		if messages != 2 || empty < 2 {
			t.Errorf("%d messages and %d heartbeats in %q", messages, empty, lines.body)
		}
		array := c.do("POST", "/v1/stream", body, "Accept: application/json")
		if got, _ := messagesOf(t, typeJSON, array.body); len(got) != 2 || strings.Count(array.body, "\n") < 2 {
			t.Errorf("array: %q", array.body)
		}
	})
}

func TestClientOfAQuietStreamThatLeaves(t *testing.T) {
	w := newQuietWorld(t, frontend.Options{})
	for _, text := range []string{"header", "nothing"} {
		w.eachVersion(t, func(t *testing.T, c *client) {
			for _, f := range streamFramings {
				before := w.backend.Calls()
				ctx, cancel := context.WithCancel(bounded(t))
				left := make(chan struct{})
				go func() {
					defer close(left)
					if resp, err := c.open(ctx, "GET", "/v1/stream/1?text="+text, nil, "Accept: "+f); err == nil {
						<-ctx.Done()
						resp.Body.Close()
					}
				}()
				eventually(t, "the call arrived", func() bool { return w.backend.Calls() > before })
				cancel()
				<-left
				eventually(t, "the backend is free", func() bool { return w.backend.InFlight() == 0 })
			}
		})
	}
	t.Run("WebSocket", func(t *testing.T) {
		before := w.backend.Calls()
		s := w.websocket(t, "/v1/stream/1?text=header")
		eventually(t, "the call arrived", func() bool { return w.backend.Calls() > before })
		_ = s.CloseNow()
		eventually(t, "the backend is free", func() bool { return w.backend.InFlight() == 0 })
	})
}
