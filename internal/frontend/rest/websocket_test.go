package rest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/caddy-grpc/gateway/internal/frontend"
)

// ws is one WebSocket of a test.
type ws struct {
	*websocket.Conn
	t   testing.TB
	ctx context.Context
}

func (w *world) websocket(t testing.TB, path string, headers ...string) *ws {
	t.Helper()
	conn, resp, err := w.upgrade(t, path, headers...)
	if err != nil {
		t.Fatalf("%v: %v", err, resp)
	}
	return conn
}

func (w *world) upgrade(t testing.TB, path string, headers ...string) (*ws, *http.Response, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	h := http.Header{}
	for _, line := range headers {
		k, v, _ := strings.Cut(line, ": ")
		h.Add(k, v)
	}
	conn, resp, err := websocket.Dial(ctx, w.url+path, &websocket.DialOptions{HTTPHeader: h, HTTPClient: w.client(t, "HTTP1").http})
	if err != nil {
		return nil, resp, err
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	return &ws{conn, t, ctx}, resp, nil
}

func (s *ws) say(frame string) {
	s.t.Helper()
	if err := s.Write(s.ctx, websocket.MessageText, []byte(frame)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *ws) hear(part string) {
	s.t.Helper()
	kind, frame, err := s.Read(s.ctx)
	if err != nil || kind != websocket.MessageText || !strings.Contains(string(frame), part) {
		s.t.Fatalf("got %v %s, %v; want %s", kind, frame, err, part)
	}
}

func (s *ws) wantClose(code websocket.StatusCode, reason string) {
	s.t.Helper()
	_, frame, err := s.Read(s.ctx)
	var closed websocket.CloseError
	if !errors.As(err, &closed) || closed.Code != code || !strings.HasPrefix(closed.Reason, reason) {
		s.t.Fatalf("got %s, %v; want it closed with %d %s", frame, err, code, reason)
	}
}

func TestWebSocketForAllKinds(t *testing.T) {
	w := newWorld(t, frontend.Options{})
	t.Run("unary, a route without a body", func(t *testing.T) {
		s := w.websocket(t, "/v1/echo/hi?count=3")
		s.hear(`{"text":"hi","request":{"text":"hi","count":3}`)
		s.wantClose(1000, "")
	})
	t.Run("server stream, by name", func(t *testing.T) {
		s := w.websocket(t, "/gateway.test.v1.Echo/ServerStream")
		s.say(`{"text":"hi","count":1}`)
		s.hear(`{"text":"hi"`)
		s.wantClose(1000, "")
	})
	t.Run("server stream", func(t *testing.T) {
		s := w.websocket(t, "/v1/stream/1000?text=x")
		for i := range 1000 {
			s.hear(fmt.Sprintf(`"number":%d,`, i+1))
		}
		s.wantClose(1000, "")
	})
	t.Run("server stream, a POST route", func(t *testing.T) {
		s := w.websocket(t, "/v1/stream")
		s.say(`{"count":2}`)
		s.hear(`"number":1,`)
		s.hear(`"number":2,`)
		s.wantClose(1000, "")
	})
	t.Run("client stream", func(t *testing.T) {
		s := w.websocket(t, "/v1/collect")
		s.say(`{"text":"a"}`)
		s.say(`{"text":"b"}`)
		s.say("")
		s.hear(`{"text":"a,b"`)
		s.wantClose(1000, "")
	})
	t.Run("bidi, a GET route", func(t *testing.T) {
		s := w.websocket(t, "/v1/chat?count=1")
		for i := range 100 {
			s.say(fmt.Sprintf(`{"text":"%d"}`, i))
			s.hear(fmt.Sprintf(`{"text":"%d","request":{"text":"%d","count":1}`, i, i))
		}
		s.say("")
		s.wantClose(1000, "")
	})
	t.Run("HttpBody", func(t *testing.T) {
		s := w.websocket(t, "/v1/download/2")
		for _, want := range []string{"chunk 1\n", "chunk 2\n"} {
			if kind, frame, err := s.Read(s.ctx); err != nil || kind != websocket.MessageBinary || string(frame) != want {
				t.Fatalf("got %v %q, %v", kind, frame, err)
			}
		}
		s.wantClose(1000, "")
	})
	if info, err := w.lastInfo(1); err != nil || info.Framing != "websocket" || info.Code != 0 || info.Err != nil {
		t.Errorf("%+v, %v", info, err)
	}
}

// A handshake is a GET, and looks like one to everything in front of the gateway that checks the
// HTTP method.
func TestWebSocketAndUnaryMethods(t *testing.T) {
	for _, tc := range []struct {
		name, path, frame string
		all               int // The status with WebSocketUnary.
		byDefault         int
	}{
		{"bound to GET", "/v1/echo/hi", "", 101, 101},
		{"bound to GET and to another method", "/v1/echo?text=hi", "", 101, 101},
		{"bound to POST", "/v1/echo:text", `"hi"`, 101, 405},
		// GetBook has the same path.
		{"bound to PATCH and PUT only, path of a GET", "/v1/shelves/1/books/1", "", 101, 101},
		// ListBooks has the same path.
		{"bound to POST, path of a GET", "/v1/shelves/1/books", "", 101, 101},
		{"by name", "/gateway.test.v1.Echo/Unary", `{"text":"hi"}`, 101, 405},
		{"by the name of a method that deletes", "/gateway.test.v1.Library/DeleteBook", `{"name":"shelves/1/books/1"}`, 101, 405},
		{"by the name of a method without side effects", "/gateway.test.v1.Library/GetBook", `{"name":"shelves/1/books/1"}`, 101, 405},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, all := range []bool{false, true} {
				w := newWorld(t, frontend.Options{WebSocketUnary: all})
				want := tc.byDefault
				if all {
					want = tc.all
				}
				s, resp, err := w.upgrade(t, tc.path)
				if want == http.StatusSwitchingProtocols {
					if err != nil {
						t.Fatalf("WebSocketUnary %v: %v", all, err)
					}
					if tc.frame != "" {
						s.say(tc.frame)
					}
					if _, _, err := s.Read(s.ctx); err != nil && websocket.CloseStatus(err) != 4005 {
						t.Errorf("WebSocketUnary %v: %v", all, err)
					}
					continue
				}
				if err == nil || resp.StatusCode != want || want == 405 && !strings.Contains(resp.Header.Get("Allow"), "POST") {
					t.Errorf("WebSocketUnary %v: got %v, %v; want %d", all, resp, err, want)
				}
				if n := w.backend.Calls(); n != 0 {
					t.Errorf("WebSocketUnary %v: %d calls", all, n)
				}
			}
		})
	}
}

func TestWebSocketSubprotocols(t *testing.T) {
	w := newWorld(t, frontend.Options{})
	origin := "Origin: " + w.url
	for _, tc := range []struct {
		name, path string
		headers    []string
		status     int
		message    string
	}{
		{"none", "/v1/chat", []string{origin}, 101, ""},
		{"an empty list", "/v1/chat", []string{origin, "Sec-WebSocket-Protocol:  , "}, 101, ""},
		{"unknown ones, not a browser", "/v1/chat", []string{"Sec-WebSocket-Protocol: a, b"}, 101, ""},
		{"unknown ones, a browser", "/v1/chat", []string{origin, "Sec-WebSocket-Protocol: a, b"}, 400, "subprotocols are not supported"},
		{"a token", "/v1/chat", []string{origin, "Sec-WebSocket-Protocol: bearer, s3cret"}, 400, "subprotocols are not supported"},
		{"gRPC-Web, on a route", "/v1/chat", []string{"Sec-WebSocket-Protocol: grpc-websockets"}, 400, "gRPC-Web over WebSocket is not supported"},
		{"gRPC-Web, unary", "/gateway.test.v1.Echo/Unary", []string{origin, "Sec-WebSocket-Protocol: grpc-websockets"}, 400, "gRPC-Web over WebSocket is not supported"},
		{"gRPC-Web, among others", "/gateway.test.v1.Echo/Bidi", []string{"Sec-WebSocket-Protocol: a", "Sec-WebSocket-Protocol: b,Grpc-WebSockets"}, 400, "gRPC-Web over WebSocket is not supported"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			headers := append([]string{
				"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
			}, tc.headers...)
			calls := w.backend.Calls()
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			resp, err := w.client(t, "HTTP1").open(ctx, http.MethodGet, tc.path, nil, headers...)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if resp.StatusCode != tc.status || len(resp.Header["Sec-Websocket-Protocol"]) > 0 {
				t.Fatalf("got %v, want %d", resp, tc.status)
			}
			if tc.status == http.StatusSwitchingProtocols {
				// Otherwise the next case could count this call as its own.
				eventually(t, "the call is at the backend", func() bool { return w.backend.Calls() > calls })
				return
			}
			body, err := io.ReadAll(resp.Body)
			if err != nil || !strings.Contains(string(body), tc.message) || strings.Contains(string(body), "s3cret") {
				t.Errorf("got %s, %v", body, err)
			}
			if n := w.backend.Calls() - calls; n != 0 {
				t.Errorf("%d calls", n)
			}
		})
	}
	eventually(t, "all calls have ended", func() bool { return w.backend.InFlight() == 0 })
}

func TestWebSocketErrors(t *testing.T) {
	w := newWorld(t, frontend.Options{MaxRequestSize: 1000})
	t.Run("of the call, before the first message", func(t *testing.T) {
		s := w.websocket(t, "/v1/stream/3?script.fail_code=5&script.fail_message=gone")
		s.wantClose(4005, "NOT_FOUND: gone")
	})
	t.Run("of the call, after some", func(t *testing.T) {
		s := w.websocket(t, "/v1/stream/3?script.fail_code=16&script.fail_after=1")
		s.hear(`"number":1,`)
		s.wantClose(4016, "UNAUTHENTICATED: ")
	})
	t.Run("with a long message", func(t *testing.T) {
		s := w.websocket(t, "/v1/stream/1?script.fail_code=5&script.fail_message="+strings.Repeat("%C3%A9", 200))
		s.wantClose(4005, "NOT_FOUND: "+strings.Repeat("é", (maxReason-len("NOT_FOUND: "))/2))
	})
	t.Run("of the client's message", func(t *testing.T) {
		s := w.websocket(t, "/v1/chat")
		s.say(`{"text":"a"}`)
		s.hear(`{"text":"a"`)
		s.say(`{"nonsense":1}`)
		s.wantClose(4003, "INVALID_ARGUMENT: message 2: ")
	})
	t.Run("a message too large", func(t *testing.T) {
		s := w.websocket(t, "/v1/chat")
		s.say(`{"text":"` + strings.Repeat("a", 1000) + `"}`)
		s.wantClose(websocket.StatusMessageTooBig, "")
	})
	for _, tc := range []struct {
		name, path string
		headers    []string
		status     int
	}{
		{"no route", "/v1/nowhere", nil, 404},
		{"a bad parameter", "/v1/stream/x", nil, 400},
		{"a page of another site", "/v1/chat", []string{"Origin: https://evil.example"}, 403},
		{"no origin at all", "/v1/chat", []string{"Origin: null"}, 403},
		{"a bad timeout", "/v1/chat", []string{"X-Request-Timeout: -1s"}, 400},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, resp, err := w.upgrade(t, tc.path, tc.headers...)
			if err == nil || resp.StatusCode != tc.status || resp.Header.Get("Content-Type") != "application/json" {
				t.Errorf("got %v, %v; want %d", resp, err, tc.status)
			}
		})
	}
	eventually(t, "all calls have ended", func() bool { return w.backend.InFlight() == 0 })
}

func TestWebSocketOrigins(t *testing.T) {
	w := newWorld(t, frontend.Options{WebSocketOrigins: []string{"*.good.example"}})
	w.websocket(t, "/v1/chat", "Origin: https://app.good.example")
	w.websocket(t, "/v1/chat", "Origin: "+w.url)
	if _, resp, err := w.upgrade(t, "/v1/chat", "Origin: https://good.example.evil.example"); err == nil || resp.StatusCode != http.StatusForbidden {
		t.Errorf("got %v, %v", resp, err)
	}
}

func TestWebSocketOff(t *testing.T) {
	w := newWorld(t, frontend.Options{NoWebSocket: true})
	if _, resp, err := w.upgrade(t, "/v1/echo/x"); err == nil || resp.StatusCode != http.StatusOK {
		t.Errorf("got %v, %v; want an ordinary answer", resp, err)
	}
}

func TestWebSocketClientThatLeaves(t *testing.T) {
	w := newWorld(t, frontend.Options{})
	for _, path := range []string{"/v1/stream/1000000?script.interval=0.001s", "/v1/chat"} {
		for name, leave := range map[string]func(*ws){
			"politely": func(s *ws) { _ = s.Close(websocket.StatusNormalClosure, "") },
			"at once":  func(s *ws) { _ = s.CloseNow() },
		} {
			t.Run(path+" "+name, func(t *testing.T) {
				before := w.backend.Calls()
				s := w.websocket(t, path)
				eventually(t, "the call arrived", func() bool { return w.backend.Calls() > before })
				leave(s)
				eventually(t, "the backend is free", func() bool { return w.backend.InFlight() == 0 })
			})
		}
	}
}

func TestWebSocketDrain(t *testing.T) {
	drain := frontend.NewDrain()
	w := newWorld(t, frontend.Options{Drain: drain})
	s := w.websocket(t, "/v1/chat")
	s.say(`{"text":"a"}`)
	s.hear(`{"text":"a"`)
	drain.Close()
	s.wantClose(4014, "UNAVAILABLE: the server is shutting down")
}

func TestWebSocketPing(t *testing.T) {
	w := newWorld(t, frontend.Options{Heartbeat: 10 * time.Millisecond})
	pinged := make(chan struct{}, 100)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, w.url+"/v1/chat", &websocket.DialOptions{
		HTTPClient: w.client(t, "HTTP1").http,
		OnPingReceived: func(context.Context, []byte) bool {
			pinged <- struct{}{}
			return true
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	read := conn.CloseRead(ctx)
	for range 3 {
		select {
		case <-pinged:
		case <-read.Done():
			t.Fatal("the connection has ended")
		}
	}
	_ = conn.CloseNow()
}

func TestWebSocketFramesLeaveInOneWrite(t *testing.T) {
	conn := &countingConn{}
	c := &corkedConn{Conn: conn}
	_, _ = c.Write([]byte("a"))
	c.cork()
	for range 100 {
		_, _ = c.Write([]byte("b"))
	}
	if len(conn.writes) != 1 {
		t.Errorf("%d writes while it is corked", len(conn.writes)-1)
	}
	if err := c.uncork(); err != nil {
		t.Fatal(err)
	}
	_, _ = c.Write([]byte("c"))
	if want := []string{"a", strings.Repeat("b", 100), "c"}; !slices.Equal(conn.writes, want) {
		t.Errorf("got %q", conn.writes)
	}
	if c.held != nil {
		t.Error("an idle connection holds a buffer")
	}
}

type countingConn struct {
	net.Conn
	writes []string
}

func (c *countingConn) Write(p []byte) (int, error) {
	c.writes = append(c.writes, string(p))
	return len(p), nil
}
