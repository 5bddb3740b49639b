package httpe2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/caddy-grpc/gateway/e2e/kit"
)

// stopping is what a stream ends with when the server stops.
const stopping = `{"code":14,"message":"the server is shutting down"}`

// held is an event stream that is being read.
type held struct {
	mu     sync.Mutex
	events int
	failed string // the data of the event "error"
	wrong  string // what was not as it must be
	ended  chan struct{}
}

func hold(body io.Reader) *held {
	h := &held{ended: make(chan struct{})}
	go func() {
		defer close(h.ended)
		err := h.read(bufio.NewScanner(body))
		if err != nil {
			h.note(func() { h.wrong = err.Error() })
		}
	}()
	return h
}

func (h *held) note(fn func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	fn()
}

func (h *held) read(lines *bufio.Scanner) error {
	failing := false
	for lines.Scan() {
		line := lines.Text()
		switch {
		case strings.HasPrefix(line, "id: "):
			h.note(func() {
				if h.events++; line != fmt.Sprintf("id: %d", h.events) {
					h.wrong = fmt.Sprintf("%q instead of event %d", line, h.events)
				}
			})
		case line == "event: error":
			failing = true
		case failing && strings.HasPrefix(line, "data: "):
			h.note(func() { h.failed = strings.TrimPrefix(line, "data: ") })
		}
	}
	return lines.Err()
}

func (h *held) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.events
}

// TestHeldStreams holds many event streams over a reload of the config, until SIGTERM ends them
// with an event of their own.
func TestHeldStreams(t *testing.T) {
	streams, length := 500, 10*time.Second
	if long() {
		streams, length = 2000, time.Minute
	}
	w := newWorld(t, "\tgrpc_gateway echo {\n\t\tstream {\n\t\t\theartbeat 1s\n\t\t}\n\t}")
	before := w.Memory(t)
	all := make([]*held, streams)
	clients := []*client{w.client(t, "HTTP/1.1"), w.client(t, "h2c")}
	const request = `{"count":1000000,"script":{"interval":"3s"}}`
	others := []*client{w.unjudged(t, "HTTP/1.1"), w.unjudged(t, "h2c")}
	for i := range all {
		from := clients
		if i >= 20 {
			from = others
		}
		resp := from[i%2].open(context.Background(), "POST", "/v1/stream", strings.NewReader(request), "Accept: text/event-stream")
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("stream %d: %d", i, resp.StatusCode)
		}
		all[i] = hold(resp.Body)
	}
	socket, lines, array := w.holdSocket(t, "/v1/chat"), clients[0].openStream("application/x-ndjson"), clients[0].openStream("application/json")

	time.Sleep(length / 2)
	after := w.Memory(t)
	t.Logf("%d event streams: %d KiB of heap and stack each", streams, (after.Used()-before.Used())/int64(streams)>>10)
	changed := w.options
	changed.Site = "\theader X-Reloaded yes\n" + changed.Site
	if err := w.Reload(changed); err != nil {
		t.Fatal(err)
	}
	counts := make([]int, streams)
	for i, h := range all {
		counts[i] = h.count()
	}
	kit.Eventually(t, 30*time.Second, "the new config answers", func() error {
		// The old server tells its connections to go away a little later than the reload ends.
		if a := clients[1].do("GET", "/v1/echo/x", nil); a.Header.Get("X-Reloaded") != "yes" {
			return fmt.Errorf("not reloaded: %s", a)
		}
		return nil
	})
	time.Sleep(length / 2)
	kit.Eventually(t, 30*time.Second, "every stream goes on after the reload", func() error {
		for i, h := range all {
			if h.count() <= counts[i] {
				return fmt.Errorf("stream %d is still at event %d", i, counts[i])
			}
		}
		return nil
	})

	w.Terminate(t)
	provesPoliteEnd(t, all)
	if code, reason := socket(); code != 4014 || reason != "UNAVAILABLE: the server is shutting down" {
		t.Errorf("a WebSocket: closed with %d %q", code, reason)
	}
	if a := lines(); a.err != nil || !strings.HasSuffix(a.body, "\n{\"error\":"+stopping+"}\n") {
		t.Errorf("NDJSON: %s", a)
	}
	if a := array(); a.err == nil || strings.HasSuffix(a.body, "]") {
		t.Errorf("an array: %s", a)
	}
	w.Wait(t, 30*time.Second)
	w.idle(t, "Caddy has ended")
}

// openStream opens a stream; the answer is read later.
func (c *client) openStream(accept string) (read func() answer) {
	c.t.Helper()
	resp := c.open(context.Background(), "POST", "/v1/stream", strings.NewReader(`{"count":1000000,"script":{"interval":"3s"}}`), "Accept: "+accept)
	return func() answer { return c.read(resp) }
}

// holdSocket opens a WebSocket and reads, so that pings are answered, until the server closes it.
func (w *world) holdSocket(t testing.TB, path string) (closed func() (websocket.StatusCode, string)) {
	t.Helper()
	conn, resp, err := websocket.Dial(t.Context(), "ws://"+w.Listen+path, nil)
	if err != nil {
		t.Fatalf("%s: %v (%v)", path, err, resp)
	}
	result := make(chan error, 1)
	go func() {
		_, _, err := conn.Read(context.Background())
		result <- err
	}()
	t.Cleanup(func() { _ = conn.CloseNow() })
	return func() (websocket.StatusCode, string) {
		var closed websocket.CloseError
		if err := <-result; !errors.As(err, &closed) {
			return 0, fmt.Sprint(err)
		}
		return closed.Code, closed.Reason
	}
}

func provesPoliteEnd(t *testing.T, all []*held) {
	t.Helper()
	limit := time.After(30 * time.Second)
	bad := 0
	for i, h := range all {
		select {
		case <-h.ended:
		case <-limit:
			t.Fatalf("stream %d has not ended", i)
		}
		if h.failed != stopping || h.wrong != "" {
			if bad++; bad < 5 {
				t.Errorf("stream %d after %d events: ended with %q, %s", i, h.events, h.failed, h.wrong)
			}
		}
	}
	if bad > 0 {
		t.Errorf("%d of %d streams did not end politely", bad, len(all))
	}
}
