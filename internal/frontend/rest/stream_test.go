package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/protobuf/proto"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/frontend/rpctest"
	"github.com/caddy-grpc/gateway/internal/testkit/testpb"
)

// messagesOf takes a response body apart by its framing. failed is the Status of its terminal
// error.
func messagesOf(t testing.TB, framing, body string) (messages []string, failed string) {
	t.Helper()
	switch framing {
	case typeNDJSON:
		for line := range strings.Lines(body) {
			line = strings.TrimSuffix(line, "\n")
			if rest, ok := strings.CutPrefix(line, `{"error":`); ok {
				failed = strings.TrimSuffix(rest, "}")
				continue
			}
			messages = append(messages, line)
		}
	case typeSSE:
		for event := range strings.SplitSeq(strings.TrimSuffix(body, "\n\n"), "\n\n") {
			var id, kind, data string
			if _, err := fmt.Sscanf(event, "id: %s\n", &id); err == nil {
				if id != fmt.Sprint(len(messages)+1) {
					t.Errorf("event %d has the id %s", len(messages)+1, id)
				}
			}
			for line := range strings.SplitSeq(event, "\n") {
				if v, ok := strings.CutPrefix(line, "data: "); ok {
					data = v
				}
				if v, ok := strings.CutPrefix(line, "event: "); ok {
					kind = v
				}
			}
			switch {
			case kind == "error":
				failed = data
			case data != "":
				messages = append(messages, data)
			}
		}
	case typeJSON:
		var all []json.RawMessage
		if err := json.Unmarshal([]byte(body), &all); err != nil {
			t.Fatalf("%v in %.200s", err, body)
		}
		for _, m := range all {
			messages = append(messages, string(m))
		}
	}
	return messages, failed
}

var streamFramings = []string{typeNDJSON, typeSSE, typeJSON}

func TestServerStreamFramings(t *testing.T) {
	w := newWorld(t, frontend.Options{})
	for _, f := range streamFramings {
		t.Run(f, func(t *testing.T) {
			w.eachVersion(t, func(t *testing.T, c *client) {
				for _, n := range []int{0, 1, 2, 1000} {
					a := c.do("GET", fmt.Sprintf("/v1/stream/%d?text=hi", n), nil, "Accept: "+f)
					got, failed := messagesOf(t, f, a.body)
					if a.StatusCode != http.StatusOK || a.Header.Get("Content-Type") != f || len(got) != n || failed != "" || a.err != nil {
						t.Fatalf("%d messages: got %d, status %d, failed %q, %v", n, len(got), a.StatusCode, failed, a.err)
					}
					for i, m := range got {
						var msg struct {
							Number int
							Text   string
						}
						if err := json.Unmarshal([]byte(m), &msg); err != nil || msg.Number != i+1 || msg.Text != "hi" {
							t.Fatalf("message %d: %s, %v", i+1, m, err)
						}
					}
				}
			})
		})
	}
}

func TestServerStreamErrors(t *testing.T) {
	w := newWorld(t, frontend.Options{})
	const status = `{"code":9,"message":"not now"}`
	for _, f := range streamFramings {
		t.Run(f, func(t *testing.T) {
			w.eachVersion(t, func(t *testing.T, c *client) {
				// Before the first message: the real status.
				c.do("GET", "/v1/stream/3?script.fail_code=9&script.fail_message=not+now", nil, "Accept: "+f).wantError(t, 400, 9, "not now")
				c.do("GET", "/v1/stream/3?script.fail_code=16", nil, "Accept: "+f).wantError(t, 401, 16, "")
				for _, n := range []int{1, 2, 1000} {
					a := c.do("GET", fmt.Sprintf("/v1/stream/1000?script.fail_code=9&script.fail_message=not+now&script.fail_after=%d", n), nil, "Accept: "+f)
					if a.StatusCode != http.StatusOK {
						t.Fatalf("status %d", a.StatusCode)
					}
					if f == typeJSON {
						if a.err == nil || json.Valid([]byte(a.body)) {
							t.Errorf("after %d messages: %.100s, %v; want the connection aborted", n, a.body, a.err)
						}
						// What came before did arrive.
						if got, _ := messagesOf(t, f, a.body+"]"); len(got) != n {
							t.Errorf("got %d messages, want %d", len(got), n)
						}
						continue
					}
					got, failed := messagesOf(t, f, a.body)
					if len(got) != n || failed != status || a.err != nil {
						t.Errorf("after %d messages: got %d, %q, %v", n, len(got), failed, a.err)
					}
				}
			})
		})
	}
}

func TestEachMessageIsFlushedAsItArrives(t *testing.T) {
	w := newWorld(t, frontend.Options{})
	for _, f := range streamFramings {
		t.Run(f, func(t *testing.T) {
			w.eachVersion(t, func(t *testing.T, c *client) {
				// The second message comes when this test has long failed.
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				resp, err := c.open(ctx, "POST", "/v1/stream", `{"count":2,"text":"first","script":{"interval":"60s"}}`, "Accept: "+f)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				var got []byte
				for !bytes.Contains(got, []byte(`"number":1`)) {
					buf := make([]byte, 4096)
					n, err := resp.Body.Read(buf)
					if got = append(got, buf[:n]...); err != nil {
						t.Fatalf("%v after %s", err, got)
					}
				}
			})
		})
	}
}

func TestHeartbeat(t *testing.T) {
	w := newWorld(t, frontend.Options{Heartbeat: 20 * time.Millisecond})
	w.eachVersion(t, func(t *testing.T, c *client) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		resp, err := c.open(ctx, "POST", "/v1/stream", `{"count":2,"script":{"delay":"60s"}}`, "Accept: text/event-stream")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK || resp.Header.Get("Cache-Control") != "no-cache" {
			t.Errorf("%d %v", resp.StatusCode, resp.Header)
		}
		l := newLines(resp.Body)
		for range 3 {
			if got := l.next(t) + l.next(t); got != ":" {
				t.Errorf("got %q, want a comment", got)
			}
		}
		// The other framings have none.
		a := c.do("POST", "/v1/stream", `{"count":1,"script":{"delay":"0.1s"}}`)
		if strings.Count(a.body, "\n") != 1 {
			t.Errorf("NDJSON: %q", a.body)
		}
	})
}

func TestClientThatLeavesCancelsTheStream(t *testing.T) {
	w := newWorld(t, frontend.Options{})
	for _, f := range streamFramings {
		t.Run(f, func(t *testing.T) {
			w.eachVersion(t, func(t *testing.T, c *client) {
				ctx, cancel := context.WithCancel(t.Context())
				resp, err := c.open(ctx, "POST", "/v1/stream", `{"count":1000000,"script":{"interval":"0.001s"}}`, "Accept: "+f)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(resp.Body, make([]byte, 2000)); err != nil {
					t.Fatal(err)
				}
				cancel()
				resp.Body.Close()
				eventually(t, "the backend is free", func() bool { return w.backend.InFlight() == 0 })
			})
		})
	}
	w.mu.Lock()
	served := len(w.infos)
	w.mu.Unlock()
	for i := range served {
		if info, err := w.lastInfo(i + 1); err != nil || info.Code != 1 || info.Err == nil {
			t.Errorf("request %d: %+v, %v; want CANCELLED", i+1, info, err)
		}
	}
}

// TestSlowReader has an upstream that never stops sending and a client that reads nothing. There is
// no window of gRPC here, because its size is the channel's matter.
func TestSlowReader(t *testing.T) {
	message, err := proto.Marshal(&testpb.EchoResponse{Filler: strings.Repeat("x", 1000)})
	if err != nil {
		t.Fatal(err)
	}
	table := newTable(t, cannedConn{answer: message})
	for _, f := range streamFramings {
		t.Run(f, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			r := httptest.NewRequestWithContext(ctx, "GET", "/v1/stream/1", nil)
			r.Header.Set("Accept", f)
			rw := &stuckWriter{header: http.Header{}, stuck: make(chan struct{}), free: make(chan struct{})}
			info := &frontend.Info{}
			done := make(chan struct{})
			go func() {
				defer close(done)
				_ = New(frontend.Options{}).Serve(rw, r, table, info)
			}()
			<-rw.stuck
			// Long enough for a gateway without back-pressure to take in a hundred times as much.
			time.Sleep(200 * time.Millisecond)
			cancel()
			close(rw.free)
			<-done
			if held := info.Received * 1000; held < maxPending || held > 4*maxPending {
				t.Errorf("%d KiB held for a reader that does not read", held>>10)
			}
		})
	}
}

// stuckWriter is a client that reads nothing.
type stuckWriter struct {
	header      http.Header
	once        sync.Once
	stuck, free chan struct{}
}

func (s *stuckWriter) Header() http.Header { return s.header }
func (s *stuckWriter) WriteHeader(int)     {}
func (s *stuckWriter) Flush()              {}

func (s *stuckWriter) Write([]byte) (int, error) {
	s.once.Do(func() { close(s.stuck) })
	<-s.free
	return 0, io.ErrClosedPipe
}

func TestClientStream(t *testing.T) {
	w := newWorld(t, frontend.Options{})
	w.eachVersion(t, func(t *testing.T, c *client) {
		for _, tc := range []struct {
			name, contentType, body, want string
			number                        int32
		}{
			{"NDJSON", "application/x-ndjson", "{\"text\":\"a\"}\n{\"text\":\"b\"}\n", "a,b", 2},
			{"NDJSON, last line without its end", "application/x-ndjson", "{\"text\":\"a\"}\r\n\r\n{\"text\":\"b\"}", "a,b", 2},
			{"NDJSON by another name", "application/jsonl; charset=utf-8", `{"text":"a"}`, "a", 1},
			{"an array", "application/json", ` [ {"text":"a"} , {"text":"]"},{"text":"\""}]` + "\n", `a,],"`, 3},
			{"an empty array", "application/json", `[]`, "", 0},
			{"one message", "application/json", `{"text":"a"}`, "a", 1},
			{"no Content-Type", "", `[{"text":"a"}]`, "a", 1},
			{"nothing", "application/x-ndjson", "", "", 0},
			{"white space", "application/x-ndjson", " \n\n", "", 0},
		} {
			var headers []string
			if tc.contentType != "" {
				headers = []string{"Content-Type: " + tc.contentType}
			}
			got := c.do("POST", "/v1/collect", tc.body, headers...).echo(t)
			if got.GetText() != tc.want || got.GetNumber() != tc.number {
				t.Errorf("%s: got %q, %d messages", tc.name, got.GetText(), got.GetNumber())
			}
		}
		for name, tc := range map[string]struct{ contentType, body, message string }{
			"malformed":            {"application/x-ndjson", "{\"text\":\"a\"}\n{\"text\":b}\n", "message 2: "},
			"wrong field":          {"application/x-ndjson", "{\"nonsense\":1}\n", "message 1: "},
			"cut off":              {"application/x-ndjson", "{\"text\":\"a\"}\n{\"text\":", "message 2: the body ends in the middle"},
			"array, cut off":       {"application/json", `[{"text":"a"}`, "the body ends in the middle"},
			"array, no comma":      {"application/json", `[{"text":"a"}{"text":"b"}]`, "want a comma"},
			"array, two commas":    {"application/json", `[{"text":"a"},,{"text":"b"}]`, "want a message"},
			"array, comma last":    {"application/json", `[{"text":"a"},]`, "want a message"},
			"array, more after it": {"application/json", `[{"text":"a"}] x`, "nothing after"},
			"array in NDJSON":      {"application/x-ndjson", `[{"text":"a"}]`, "message 1: "},
		} {
			c.do("POST", "/v1/collect", tc.body, "Content-Type: "+tc.contentType).wantError(t, 400, 3, tc.message)
			_ = name
		}
		c.do("POST", "/v1/collect", "x", "Content-Type: text/plain").wantError(t, 415, 3, "application/x-ndjson, application/json")
		c.do("POST", "/v1/collect", `{"script":{"failCode":5,"failMessage":"gone"}}`).wantError(t, 404, 5, "gone")
		eventually(t, "all calls have ended", func() bool { return w.backend.InFlight() == 0 })
	})
}

// TestEarlyAnswer has an upstream that fails while the client goes on sending and waits for
// nothing.
func TestEarlyAnswer(t *testing.T) {
	w := newWorld(t, frontend.Options{})
	w.eachVersion(t, func(t *testing.T, c *client) {
		body, feed := io.Pipe()
		defer feed.Close()
		go func() { _, _ = feed.Write([]byte(`{"script":{"failCode":5,"failMessage":"gone"}}` + "\n")) }()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		resp, err := c.open(ctx, "POST", "/v1/collect", body, "Content-Type: application/x-ndjson")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != http.StatusNotFound || !strings.Contains(string(b), "gone") {
			t.Errorf("%d %s", resp.StatusCode, b)
		}
	})
}

// TestEarlyAnswerEndsTheConnection is about HTTP/1.1, where net/http panics when such a connection
// is used again.
func TestEarlyAnswerEndsTheConnection(t *testing.T) {
	c := newWorld(t, frontend.Options{}).client(t, "HTTP1")
	more := strings.Repeat(`{"text":"a"}`+"\n", 2000)
	for name, tc := range map[string]struct {
		body          string
		status        int
		mayGoOn, ends bool
	}{
		"the whole body was read":         {body: more, status: 200},
		"a bad message in the middle":     {body: more + `{"txt":1}` + more, status: 400, ends: true},
		"the service fails in the middle": {body: `{"script":{"failCode":5}}` + more, status: 404, mayGoOn: true},
	} {
		a := c.do("POST", "/v1/collect", struct{ io.Reader }{strings.NewReader(tc.body)}, "Content-Type: application/x-ndjson")
		if a.StatusCode != tc.status || !tc.mayGoOn && a.Close != tc.ends {
			t.Errorf("%s: %d, the connection is closed: %v", name, a.StatusCode, a.Close)
		}
	}
}

func TestBidi(t *testing.T) {
	w := newWorld(t, frontend.Options{})
	for _, f := range []string{typeNDJSON, typeSSE} {
		t.Run(f, func(t *testing.T) {
			w.eachVersion(t, func(t *testing.T, c *client) {
				body, feed := io.Pipe()
				defer feed.Close()
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				say := func(s string) {
					if _, err := io.WriteString(feed, s+"\n"); err != nil {
						t.Error(err)
					}
				}
				go say(`{"text":"0"}`)
				resp, err := c.open(ctx, "POST", "/v1/chat", body, "Content-Type: application/x-ndjson", "Accept: "+f)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				l := newLines(resp.Body)
				hear := func(want string) {
					t.Helper()
					for line := l.next(t); !strings.Contains(line, want); line = l.next(t) {
						if strings.Contains(line, `"text"`) {
							t.Fatalf("got %s, want %s", line, want)
						}
					}
				}
				// Each answer is waited for before the next message is sent: both directions are
				// open at once.
				for i := range 100 {
					hear(fmt.Sprintf(`{"text":"%d"`, i))
					if i < 99 {
						say(fmt.Sprintf(`{"text":"%d"}`, i+1))
					}
				}
				feed.Close()
				rest, err := io.ReadAll(l.r)
				if err != nil || len(bytes.TrimSpace(rest)) > 0 {
					t.Errorf("behind the last message: %q, %v", rest, err)
				}
			})
		})
	}
}

func TestBidiErrors(t *testing.T) {
	w := newWorld(t, frontend.Options{})
	w.eachVersion(t, func(t *testing.T, c *client) {
		nd := "Content-Type: application/x-ndjson"
		c.do("POST", "/v1/chat", `{"text":`, nd).wantError(t, 400, 3, "message 1: the body ends")
		c.do("POST", "/v1/chat", `{"script":{"failCode":7}}`, nd).wantError(t, 403, 7, "")

		body, feed := io.Pipe()
		defer feed.Close()
		go func() { _, _ = io.WriteString(feed, `{"text":"a"}`+"\n") }()
		resp, err := c.open(t.Context(), "POST", "/v1/chat", body, nd)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		l := newLines(resp.Body)
		l.next(t)
		_, _ = io.WriteString(feed, `{"nonsense":1}`+"\n")
		if got := l.next(t); !strings.HasPrefix(got, `{"error":{"code":3,"message":"message 2: request body: `) {
			t.Errorf("got %s", got)
		}
		l.wantEOF(t)

		if a := c.do("GET", "/v1/chat?text=q&count=2", nil); a.StatusCode != http.StatusOK || strings.Count(a.body, "\n") != 2 {
			t.Errorf("a route without a body sends one message: %d %s", a.StatusCode, a.body)
		}
		eventually(t, "all calls have ended", func() bool { return w.backend.InFlight() == 0 })
	})
}

func TestDrainEndsStreams(t *testing.T) {
	for _, version := range []string{"HTTP1", "HTTP2"} {
		for _, f := range []string{typeNDJSON, typeSSE, typeJSON, "nothing sent"} {
			t.Run(version+" "+f, func(t *testing.T) {
				drain := frontend.NewDrain()
				w := newWorld(t, frontend.Options{Drain: drain})
				c := w.client(t, version)
				if f == "nothing sent" {
					go func() {
						eventually(t, "the call arrived", func() bool { return w.backend.InFlight() == 1 })
						drain.Close()
					}()
					c.do("POST", "/v1/stream", `{"count":2,"script":{"delay":"60s"}}`).wantError(t, 503, 14, "shutting down")
					return
				}
				resp, err := c.open(t.Context(), "POST", "/v1/stream", `{"count":2,"script":{"interval":"60s"}}`, "Accept: "+f)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				drain.Close()
				b, err := io.ReadAll(resp.Body)
				if f == typeJSON {
					if err == nil || json.Valid(b) {
						t.Errorf("got %s, %v; want the connection aborted", b, err)
					}
					return
				}
				got, failed := messagesOf(t, f, string(b))
				if err != nil || len(got) != 1 || failed != `{"code":14,"message":"the server is shutting down"}` {
					t.Errorf("got %s, %v", b, err)
				}
			})
		}
	}
	t.Run("after close_delay", func(t *testing.T) {
		drain := frontend.NewDrain()
		w := newWorld(t, frontend.Options{Drain: drain, CloseDelay: 200 * time.Millisecond})
		resp, err := w.client(t, "HTTP1").open(t.Context(), "POST", "/v1/stream", `{"count":1000000,"script":{"interval":"0.01s"}}`)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		drain.Close()
		b, err := io.ReadAll(resp.Body)
		got, failed := messagesOf(t, typeNDJSON, string(b))
		if err != nil || len(got) < 2 || !strings.Contains(failed, "shutting down") {
			t.Errorf("%d messages, then %q, %v", len(got), failed, err)
		}
	})
	t.Run("unary calls finish", func(t *testing.T) {
		drain := frontend.NewDrain()
		drain.Close()
		w := newWorld(t, frontend.Options{Drain: drain})
		if a := w.client(t, "HTTP1").do("GET", "/v1/echo/x", nil); a.StatusCode != http.StatusOK {
			t.Errorf("%d %s", a.StatusCode, a.body)
		}
	})
}

// TestKeepAliveAfterStreams checks that a connection can be used again after a stream.
func TestKeepAliveAfterStreams(t *testing.T) {
	w := newWorld(t, frontend.Options{})
	c := w.client(t, "HTTP1")
	dials := 0
	tr := c.http.Transport.(*http.Transport)
	tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		dials++
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}
	for range 3 {
		c.do("POST", "/v1/stream", `{"count":3}`).wantStatus(t, 200)
		c.do("POST", "/v1/collect", struct{ io.Reader }{strings.NewReader(`{"text":"a"}`)}).wantStatus(t, 200)
		c.do("GET", "/v1/echo/a", nil).wantStatus(t, 200)
	}
	if dials != 1 {
		t.Errorf("%d connections for 9 requests", dials)
	}
}

// TestPanicsEndTheirRequestOnly: another goroutine of the request panics, and the process goes on.
func TestPanicsEndTheirRequestOnly(t *testing.T) {
	w := newWorld(t, frontend.Options{})
	receives, sends := w.table.Methods[testpb.Echo_ServerStream_FullMethodName], w.table.Methods[testpb.Echo_ClientStream_FullMethodName]
	receives.Conn = rpctest.Panicking{ClientConnInterface: receives.Conn}
	sends.Conn = rpctest.Panicking{ClientConnInterface: sends.Conn, Send: true}
	w.eachVersion(t, func(t *testing.T, c *client) {
		for _, call := range []struct{ method, path, body string }{
			{"GET", "/v1/stream/3", ""},
			{"POST", "/v1/collect", `{"text":"a"}`},
		} {
			resp, err := c.open(t.Context(), call.method, call.path, call.body)
			if err != nil {
				continue // The connection was closed before there was an answer.
			}
			if body, err := io.ReadAll(resp.Body); err == nil && resp.StatusCode == http.StatusOK && !bytes.Contains(body, []byte("error")) {
				t.Errorf("%s looks like a success: %s", call.path, body)
			}
			resp.Body.Close()
		}
		if got := c.do("GET", "/v1/echo/hi", nil).echoed(t).GetText(); got != "hi" {
			t.Errorf("the next call has %q", got)
		}
	})
	for _, path := range []string{"/v1/stream/3", "/v1/collect"} {
		s := w.websocket(t, path)
		s.say("{}") // An error shows in reading.
		if _, _, err := s.Read(t.Context()); websocket.CloseStatus(err) == websocket.StatusNormalClosure || err == nil {
			t.Errorf("the WebSocket of %s looks like a success: %v", path, err)
		}
	}
}
