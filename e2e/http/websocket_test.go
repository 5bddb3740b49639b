package httpe2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// socket is a WebSocket of a test.
type socket struct {
	*websocket.Conn
	t   testing.TB
	ctx context.Context
}

func (w *world) dial(t testing.TB, path, origin string) (*socket, *http.Response, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	options := &websocket.DialOptions{HTTPHeader: http.Header{}}
	if origin != "" {
		options.HTTPHeader.Set("Origin", origin)
	}
	conn, resp, err := websocket.Dial(ctx, "ws://"+w.Listen+path, options)
	if err != nil {
		return nil, resp, err
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	return &socket{conn, t, ctx}, resp, nil
}

func (w *world) socket(t testing.TB, path string) *socket {
	t.Helper()
	s, resp, err := w.dial(t, path, "")
	if err != nil {
		t.Fatalf("%s: %v (%v)", path, err, resp)
	}
	return s
}

func (s *socket) say(frame string) {
	s.t.Helper()
	if err := s.Write(s.ctx, websocket.MessageText, []byte(frame)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *socket) hear(beginning string) {
	s.t.Helper()
	kind, frame, err := s.Read(s.ctx)
	if err != nil || kind != websocket.MessageText || !strings.HasPrefix(string(frame), beginning) {
		s.t.Fatalf("got %v %.200s, %v; want %s…", kind, frame, err, beginning)
	}
}

func (s *socket) closed(code websocket.StatusCode, reason string) {
	s.t.Helper()
	_, frame, err := s.Read(s.ctx)
	var closed websocket.CloseError
	if !errors.As(err, &closed) || closed.Code != code || closed.Reason != reason {
		s.t.Fatalf("got %.200s, %v; want it closed with %d %q", frame, err, code, reason)
	}
}

func TestWebSocket(t *testing.T) {
	w := newWorld(t, `
	@off path /gateway.test.v1.Echo/*
	handle @off {
		grpc_gateway echo {
			stream {
				websocket off
			}
		}
	}
	handle {
		grpc_gateway echo {
			stream {
				heartbeat 100ms
				websocket_origins app.example.com
			}
		}
	}`)
	t.Run("unary", func(t *testing.T) {
		s := w.socket(t, "/v1/echo/hi?count=3")
		s.hear(`{"text":"hi","request":{"text":"hi","count":3}`)
		s.closed(1000, "")
	})
	t.Run("server stream", func(t *testing.T) {
		s := w.socket(t, "/v1/stream/1000?text=x")
		for range 1000 {
			s.hear(`{"text":"x"`)
		}
		s.closed(1000, "")
	})
	t.Run("client stream", func(t *testing.T) {
		s := w.socket(t, "/v1/collect")
		var texts []string
		for i := range 100 {
			texts = append(texts, fmt.Sprint(i))
			s.say(fmt.Sprintf(`{"text":"%d"}`, i))
		}
		s.say("")
		s.hear(`{"text":"` + strings.Join(texts, ",") + `"`)
		s.closed(1000, "")
	})
	t.Run("bidi", func(t *testing.T) {
		s := w.socket(t, "/v1/chat")
		for i := range 100 {
			s.say(fmt.Sprintf(`{"text":"%d"}`, i))
			s.hear(fmt.Sprintf(`{"text":"%d"`, i))
		}
		s.say("")
		s.closed(1000, "")
	})
	t.Run("a failure after some messages", func(t *testing.T) {
		s := w.socket(t, "/v1/stream/3?script.fail_code=9&script.fail_message=not+now&script.fail_after=1")
		s.hear(`{"request":`)
		s.closed(4009, "FAILED_PRECONDITION: not now")
	})
	t.Run("a bad message", func(t *testing.T) {
		s := w.socket(t, "/v1/chat")
		s.say(`{"txt":1}`)
		_, _, err := s.Read(s.ctx)
		if websocket.CloseStatus(err) != 4003 || !strings.Contains(err.Error(), "INVALID_ARGUMENT: message 1") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("errors before the handshake are ordinary", func(t *testing.T) {
		for path, want := range map[string]int{"/v1/nowhere": 404, "/v1/echo/x?nonsense=1": 400} {
			if _, resp, err := w.dial(t, path, ""); err == nil || resp == nil || resp.StatusCode != want {
				t.Errorf("%s: %v, %v", path, resp, err)
			}
		}
		if _, resp, err := w.dial(t, "/gateway.test.v1.Echo/Bidi", ""); err == nil || resp == nil || resp.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("websocket off: %v, %v", resp, err)
		}
	})
	t.Run("origins", func(t *testing.T) {
		for origin, allowed := range map[string]bool{"http://" + w.Listen: true, "https://app.example.com": true, "https://evil.example": false, "null": false} {
			s, resp, err := w.dial(t, "/v1/echo/x", origin)
			switch {
			case allowed && err != nil:
				t.Errorf("%s: %v", origin, err)
			case allowed:
				s.hear(`{"text":"x"`)
			case err == nil || resp == nil || resp.StatusCode != http.StatusForbidden:
				t.Errorf("%s: %v, %v", origin, resp, err)
			}
		}
	})
	t.Run("heartbeats on a quiet connection", func(t *testing.T) {
		pings := make(chan struct{}, 100)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		conn, _, err := websocket.Dial(ctx, "ws://"+w.Listen+"/v1/chat", &websocket.DialOptions{
			OnPingReceived: func(context.Context, []byte) bool { pings <- struct{}{}; return true },
		})
		if err != nil {
			t.Fatal(err)
		}
		reading := conn.CloseRead(ctx)
		for range 3 {
			select {
			case <-pings:
			case <-reading.Done():
				t.Fatal("the connection ended")
			}
		}
		_ = conn.CloseNow()
		w.idle(t, "the client left")
	})
}
