package apidocs

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/caddy-grpc/gateway/e2e/kit"
	"github.com/caddy-grpc/gateway/e2e/kit/browser"
)

// panel is the page's panel for streams, with one call chosen.
type panel struct {
	tab
}

// panel chooses a call and a framing.
func (tb tab) panel(method, path, framing string) panel {
	tb.T.Helper()
	tb.Wait("#streams-title", "Streams")
	tb.Run(fmt.Sprintf(`(() => {
		const calls = document.getElementById("stream-call");
		calls.value = [...calls.options].find((o) => o.text === %q).value;
		calls.dispatchEvent(new Event("change", { bubbles: true }));
	})()`, method+" "+path))
	if framing != "" {
		tb.Choose("#stream-framing", framing)
	}
	return panel{tb}
}

// start presses Start. An empty message leaves the field as it is.
func (p panel) start(message string) {
	p.T.Helper()
	if message != "" {
		p.Fill("#stream-message", message)
	}
	p.Click("#stream-start")
}

// lines are the lines of the log. Those of failures begin with "!".
func (p panel) lines() []string {
	p.T.Helper()
	return browser.JS[[]string](p.Tab, `[...document.querySelectorAll("#stream-log li")].map((li) => (li.className === "failed" ? "!" : "") + li.textContent)`)
}

// waitLines waits until the log has so many lines at least, and returns them.
func (p panel) waitLines(n int) []string {
	p.T.Helper()
	var lines []string
	kit.Eventually(p.T, patience, fmt.Sprintf("the panel shows %d lines", n), func() error {
		if lines = p.lines(); len(lines) < n {
			return fmt.Errorf("it shows %d: %q", len(lines), lines)
		}
		return nil
	})
	return lines
}

func (p panel) running() bool {
	p.T.Helper()
	return browser.JS[bool](p.Tab, `!document.getElementById("stream-stop").disabled`)
}

// never is longer than any test: what comes after it does not come.
const never = `"interval": "600s"`

// TestStreamsAppear: each message is shown when it comes, and not when the stream has ended.
func TestStreamsAppear(t *testing.T) {
	caddy, backend := startGateway(t, "%s")
	page := startBrowser(t).open(t, caddy.URL(""), "/docs/", browser.Look{})
	for framing, want := range map[string]string{
		"application/x-ndjson": `{"text":"first"`,
		"text/event-stream":    `data: {"text":"first"`,
		"websocket":            `{"text":"first"`,
	} {
		t.Run("the first message of a stream that goes on, "+framing, func(t *testing.T) {
			page.T = t
			p := page.panel("POST", "/v1/stream", framing)
			p.start(`{"text": "first", "count": 2, "script": {` + never + `}}`)
			kit.Eventually(t, patience, "the first message is shown", func() error {
				if lines := p.lines(); !strings.Contains(strings.Join(lines, "\n"), want) {
					return fmt.Errorf("the lines are %q", lines)
				}
				return nil
			})
			if !p.running() {
				t.Errorf("the stream has ended: %s", p.Text("#stream-state"))
			}
			p.Click("#stream-stop")
			p.Wait("#stream-state", "Stopped after 1 message.")
			idle(t, backend)
		})
		t.Run("one message after the other, "+framing, func(t *testing.T) {
			page.T = t
			p := page.panel("POST", "/v1/stream", framing)
			p.start(`{"text": "tick", "count": 100000, "script": {"interval": "0.2s"}}`)
			for n := 2; n <= 8; n += 3 {
				p.waitLines(n)
				if !p.running() {
					t.Fatalf("the stream has ended: %s", p.Text("#stream-state"))
				}
			}
			p.Shoot("stream-" + strings.ReplaceAll(framing, "/", "-"))
			p.Click("#stream-stop")
			p.Wait("#stream-state", "Stopped after ")
			idle(t, backend)
		})
	}
	t.Run("a route for GET", func(t *testing.T) {
		page.T = t
		p := page.panel("GET", "/v1/stream/{count}", "application/x-ndjson")
		p.start("")
		p.Wait("#stream-state", "Write a value for {count}")
		p.Fill("#stream-path", "/v1/stream/3?text=of the query")
		p.start("")
		p.Wait("#stream-state", "HTTP 200: ended after 3 messages.")
		if lines := p.lines(); len(lines) != 3 || !strings.Contains(lines[2], `"text":"of the query"`) {
			t.Errorf("the lines are %q", lines)
		}
	})
	t.Run("from the list of Swagger UI", func(t *testing.T) {
		page.T = t
		block := page.operation("POST", "/v1/stream")
		page.Click(block + " .watch")
		if got := page.Chosen("#stream-call"); got != "POST /v1/stream" {
			t.Errorf("the panel has chosen %q", got)
		}
	})
}

// TestWebSocketBothWays: what is sent is answered while the socket is open.
func TestWebSocketBothWays(t *testing.T) {
	caddy, backend := startGateway(t, "%s")
	p := startBrowser(t).open(t, caddy.URL(""), "/docs/", browser.Look{}).panel("POST", "/v1/chat", "")
	if got := p.Chosen("#stream-framing"); got != "WebSocket" {
		t.Fatalf("the framing is %q, and a page can send a stream over a WebSocket only", got)
	}
	p.start("")
	p.Wait("#stream-state", "Open.")
	for i, text := range []string{"one", "two"} {
		p.Fill("#stream-message", fmt.Sprintf(`{"text": %q}`, text))
		p.Click("#stream-send")
		lines := p.waitLines(2 * (i + 1))
		if sent, got := lines[2*i], lines[2*i+1]; !strings.HasPrefix(sent, "→ ") || !strings.Contains(got, fmt.Sprintf(`"text":%q`, text)) {
			t.Errorf("after %q: %q", text, lines)
		}
	}
	p.Shoot("websocket")
	p.Click("#stream-end")
	p.Wait("#stream-state", "Closed after 2 messages: the call succeeded.")
	idle(t, backend)

	t.Run("one answer to many messages", func(t *testing.T) {
		p := p.panel("POST", "/v1/collect", "")
		p.start("")
		p.Wait("#stream-state", "Open.")
		for _, text := range []string{"a", "b"} {
			p.Fill("#stream-message", fmt.Sprintf(`{"text": %q}`, text))
			p.Click("#stream-send")
		}
		p.Click("#stream-end")
		p.Wait("#stream-state", "Closed after 1 message: the call succeeded.")
		p.Wait("#stream-log", `"text":"a,b"`)
	})
}

// TestStreamErrors: the panel says what went wrong, and how far the stream had come.
func TestStreamErrors(t *testing.T) {
	caddy, _ := startGateway(t, "%s")
	page := startBrowser(t).open(t, caddy.URL(""), "/docs/", browser.Look{})
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
			page.T = t
			p := page.panel("POST", "/v1/stream", c.framing)
			if c.path != "" {
				p.Fill("#stream-path", c.path)
			}
			p.start(c.message)
			p.Wait("#stream-state", c.state)
			lines := p.lines()
			if len(lines) == 0 || !strings.HasPrefix(lines[len(lines)-1], c.last) {
				t.Errorf("the log is %q", lines)
			}
			if p.running() {
				t.Error("something still runs")
			}
		})
	}
	page.T = t
	page.Shoot("stream-error")
	t.Run("the gateway goes away", func(t *testing.T) {
		page.T = t
		p := page.panel("POST", "/v1/stream", "application/x-ndjson")
		p.start(`{"text": "s", "count": 2, "script": {` + never + `}}`)
		p.waitLines(1)
		caddy.Terminate(t)
		caddy.Wait(t, time.Minute)
		p.Wait("#stream-state", "ailed after 1 message")
		p.start("")
		p.Wait("#stream-state", "Failed after 0 messages: ")
	})
}
