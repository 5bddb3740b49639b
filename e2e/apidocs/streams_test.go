package apidocs

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/caddy-grpc/gateway/e2e/kit"
)

// panel is the page's panel for streams, with one call chosen.
type panel struct {
	*tab
}

// panel chooses a call and a framing.
func (tb *tab) panel(method, path, framing string) panel {
	tb.t.Helper()
	tb.wait("#streams-title", "Streams")
	tb.run(fmt.Sprintf(`(() => {
		const calls = document.getElementById("stream-call");
		calls.value = [...calls.options].find((o) => o.text === %q).value;
		calls.dispatchEvent(new Event("change", { bubbles: true }));
	})()`, method+" "+path))
	if framing != "" {
		tb.choose("#stream-framing", framing)
	}
	return panel{tb}
}

// start presses Start. An empty message leaves the field as it is.
func (p panel) start(message string) {
	p.t.Helper()
	if message != "" {
		p.fill("#stream-message", message)
	}
	p.click("#stream-start")
}

// lines are the lines of the log. Those of failures begin with "!".
func (p panel) lines() []string {
	p.t.Helper()
	return js[[]string](p.tab, `[...document.querySelectorAll("#stream-log li")].map((li) => (li.className === "failed" ? "!" : "") + li.textContent)`)
}

// waitLines waits until the log has so many lines at least, and returns them.
func (p panel) waitLines(n int) []string {
	p.t.Helper()
	var lines []string
	kit.Eventually(p.t, patience, fmt.Sprintf("the panel shows %d lines", n), func() error {
		if lines = p.lines(); len(lines) < n {
			return fmt.Errorf("it shows %d: %q", len(lines), lines)
		}
		return nil
	})
	return lines
}

func (p panel) running() bool {
	p.t.Helper()
	return js[bool](p.tab, `!document.getElementById("stream-stop").disabled`)
}

// never is longer than any test: what comes after it does not come.
const never = `"interval": "600s"`

// TestStreamsAppear: each message is shown when it comes, and not when the stream has ended.
func TestStreamsAppear(t *testing.T) {
	caddy, backend := startGateway(t, "%s")
	page := startBrowser(t).open(t, caddy.URL(""), "/docs/", look{})
	for framing, want := range map[string]string{
		"application/x-ndjson": `{"text":"first"`,
		"text/event-stream":    `data: {"text":"first"`,
		"websocket":            `{"text":"first"`,
	} {
		t.Run("the first message of a stream that goes on, "+framing, func(t *testing.T) {
			page.t = t
			p := page.panel("POST", "/v1/stream", framing)
			p.start(`{"text": "first", "count": 2, "script": {` + never + `}}`)
			kit.Eventually(t, patience, "the first message is shown", func() error {
				if lines := p.lines(); !strings.Contains(strings.Join(lines, "\n"), want) {
					return fmt.Errorf("the lines are %q", lines)
				}
				return nil
			})
			if !p.running() {
				t.Errorf("the stream has ended: %s", p.text("#stream-state"))
			}
			p.click("#stream-stop")
			p.wait("#stream-state", "Stopped after 1 message.")
			idle(t, backend)
		})
		t.Run("one message after the other, "+framing, func(t *testing.T) {
			page.t = t
			p := page.panel("POST", "/v1/stream", framing)
			p.start(`{"text": "tick", "count": 100000, "script": {"interval": "0.2s"}}`)
			for n := 2; n <= 8; n += 3 {
				p.waitLines(n)
				if !p.running() {
					t.Fatalf("the stream has ended: %s", p.text("#stream-state"))
				}
			}
			p.shoot("stream-" + strings.ReplaceAll(framing, "/", "-"))
			p.click("#stream-stop")
			p.wait("#stream-state", "Stopped after ")
			idle(t, backend)
		})
	}
	t.Run("a route for GET", func(t *testing.T) {
		page.t = t
		p := page.panel("GET", "/v1/stream/{count}", "application/x-ndjson")
		p.start("")
		p.wait("#stream-state", "Write a value for {count}")
		p.fill("#stream-path", "/v1/stream/3?text=of the query")
		p.start("")
		p.wait("#stream-state", "HTTP 200: ended after 3 messages.")
		if lines := p.lines(); len(lines) != 3 || !strings.Contains(lines[2], `"text":"of the query"`) {
			t.Errorf("the lines are %q", lines)
		}
	})
	t.Run("from the list of Swagger UI", func(t *testing.T) {
		page.t = t
		block := page.operation("POST", "/v1/stream")
		page.click(block + " .watch")
		if got := page.chosen("#stream-call"); got != "POST /v1/stream" {
			t.Errorf("the panel has chosen %q", got)
		}
	})
}

// TestWebSocketBothWays: what is sent is answered while the socket is open.
func TestWebSocketBothWays(t *testing.T) {
	caddy, backend := startGateway(t, "%s")
	p := startBrowser(t).open(t, caddy.URL(""), "/docs/", look{}).panel("POST", "/v1/chat", "")
	if got := p.chosen("#stream-framing"); got != "WebSocket" {
		t.Fatalf("the framing is %q, and a page can send a stream over a WebSocket only", got)
	}
	p.start("")
	p.wait("#stream-state", "Open.")
	for i, text := range []string{"one", "two"} {
		p.fill("#stream-message", fmt.Sprintf(`{"text": %q}`, text))
		p.click("#stream-send")
		lines := p.waitLines(2 * (i + 1))
		if sent, got := lines[2*i], lines[2*i+1]; !strings.HasPrefix(sent, "→ ") || !strings.Contains(got, fmt.Sprintf(`"text":%q`, text)) {
			t.Errorf("after %q: %q", text, lines)
		}
	}
	p.shoot("websocket")
	p.click("#stream-end")
	p.wait("#stream-state", "Closed after 2 messages: the call succeeded.")
	idle(t, backend)

	t.Run("one answer to many messages", func(t *testing.T) {
		p := p.panel("POST", "/v1/collect", "")
		p.start("")
		p.wait("#stream-state", "Open.")
		for _, text := range []string{"a", "b"} {
			p.fill("#stream-message", fmt.Sprintf(`{"text": %q}`, text))
			p.click("#stream-send")
		}
		p.click("#stream-end")
		p.wait("#stream-state", "Closed after 1 message: the call succeeded.")
		p.wait("#stream-log", `"text":"a,b"`)
	})
}

// TestStreamErrors: the panel says what went wrong, and how far the stream had come.
func TestStreamErrors(t *testing.T) {
	caddy, _ := startGateway(t, "%s")
	page := startBrowser(t).open(t, caddy.URL(""), "/docs/", look{})
	const fails = `{"text": "s", "count": 3, "script": {"failCode": 5, "failMessage": "no such thing", "failAfter": %d}}`
	for _, c := range []struct {
		name, framing, path, message string
		state                        string
		last                         string // the last line of the log
	}{
		{
			name: "a stream that is refused", framing: "application/x-ndjson", message: fmt.Sprintf(fails, 0),
			state: "HTTP 404: failed after 0 messages.", last: `!{"code":5,"message":"no such thing"}`,
		},
		{
			name: "a stream that fails", framing: "application/x-ndjson", message: fmt.Sprintf(fails, 2),
			state: "HTTP 200: failed after 2 messages.", last: `!{"error":{"code":5,"message":"no such thing"}}`,
		},
		{
			name: "events that are refused", framing: "text/event-stream", message: fmt.Sprintf(fails, 0),
			state: "HTTP 404: failed after 0 messages.", last: `!{"code":5,"message":"no such thing"}`,
		},
		{
			name: "events that fail", framing: "text/event-stream", message: fmt.Sprintf(fails, 2),
			state: "HTTP 200: failed after 2 messages.", last: `!data: {"code":5,"message":"no such thing"}`,
		},
		{
			name: "a WebSocket that is closed", framing: "websocket", message: fmt.Sprintf(fails, 2),
			state: "Closed after 2 messages: 4005 NOT_FOUND: no such thing", last: "!4005 NOT_FOUND: no such thing",
		},
		{
			name: "a WebSocket that is refused", framing: "websocket", path: "/v1/nowhere",
			state: "Closed after 0 messages: 1006", last: "!The WebSocket was refused. Browsers do not say why.",
		},
		{
			name: "a path without a route", framing: "application/x-ndjson", path: "/v1/nowhere",
			state: "HTTP 404: failed after 0 messages.", last: `!{"code":5,"message":"no route for POST /v1/nowhere"}`,
		},
		{
			name: "a message that is no JSON", framing: "application/x-ndjson", message: `{"text": `,
			state: "HTTP 400: failed after 0 messages.", last: `!{"code":3,`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			page.t = t
			p := page.panel("POST", "/v1/stream", c.framing)
			if c.path != "" {
				p.fill("#stream-path", c.path)
			}
			p.start(c.message)
			p.wait("#stream-state", c.state)
			lines := p.lines()
			if len(lines) == 0 || !strings.HasPrefix(lines[len(lines)-1], c.last) {
				t.Errorf("the log is %q", lines)
			}
			if p.running() {
				t.Error("something still runs")
			}
		})
	}
	page.t = t
	page.shoot("stream-error")
	t.Run("the gateway goes away", func(t *testing.T) {
		page.t = t
		p := page.panel("POST", "/v1/stream", "application/x-ndjson")
		p.start(`{"text": "s", "count": 2, "script": {` + never + `}}`)
		p.waitLines(1)
		caddy.Terminate(t)
		caddy.Wait(t, time.Minute)
		p.wait("#stream-state", "ailed after 1 message")
		p.start("")
		p.wait("#stream-state", "Failed after 0 messages: ")
	})
}
