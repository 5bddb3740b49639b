package httpe2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// framings are the media types of server streams.
var framings = []string{"application/x-ndjson", "text/event-stream", "application/json"}

// eachFraming runs the test for each, over HTTP/1.1 and HTTP/2.
func eachFraming(t *testing.T, w *world, test func(t *testing.T, c *client, accept string)) {
	t.Helper()
	for _, framing := range framings {
		t.Run(strings.ReplaceAll(framing, "/", " "), func(t *testing.T) {
			w.eachVersion(t, func(t *testing.T, c *client) { test(t, c, framing) })
		})
	}
}

// take takes a stream apart. failed is the Status that ended it; an array that was cut off has ok
// false.
func take(t testing.TB, framing, body string) (messages []string, failed string, ok bool) {
	t.Helper()
	switch framing {
	case "application/x-ndjson":
		for line := range strings.Lines(body) {
			line = strings.TrimSuffix(line, "\n")
			if status, bad := strings.CutPrefix(line, `{"error":`); bad {
				failed = strings.TrimSuffix(status, "}")
				continue
			}
			messages = append(messages, line)
		}
	case "text/event-stream":
		for event := range strings.SplitSeq(strings.TrimSuffix(body, "\n\n"), "\n\n") {
			if status, bad := strings.CutPrefix(event, "event: error\ndata: "); bad {
				failed = status
				continue
			}
			message, good := strings.CutPrefix(event, fmt.Sprintf("id: %d\ndata: ", len(messages)+1))
			if !good {
				t.Errorf("not event %d: %q", len(messages)+1, event)
			}
			messages = append(messages, message)
		}
	default:
		var all []json.RawMessage
		ok = json.Unmarshal([]byte(body), &all) == nil
		if !ok && json.Unmarshal([]byte(body+"]"), &all) != nil {
			t.Errorf("neither an array nor the beginning of one: %.300q", body)
		}
		for _, message := range all {
			messages = append(messages, string(message))
		}
		return messages, "", ok
	}
	return messages, failed, true
}

// numbered fails unless these are the messages 1 to n.
func numbered(t testing.TB, messages []string, n int) {
	t.Helper()
	if len(messages) != n {
		t.Errorf("%d messages, want %d", len(messages), n)
		return
	}
	for i, text := range messages {
		var message struct{ Number int }
		if err := json.Unmarshal([]byte(text), &message); err != nil || message.Number != i+1 {
			t.Errorf("message %d: %.200s (%v)", i+1, text, err)
			return
		}
	}
}

func TestStreams(t *testing.T) {
	w := newWorld(t, "\tlog\n\tgrpc_gateway echo")

	t.Run("1,000 messages", func(t *testing.T) {
		eachFraming(t, w, func(t *testing.T, c *client, accept string) {
			a := c.do("GET", "/v1/stream/1000", nil, "Accept: "+accept)
			messages, failed, ok := take(t, accept, a.body)
			if a.StatusCode != http.StatusOK || a.Header.Get("Content-Type") != accept || a.err != nil || failed != "" || !ok {
				t.Errorf("failed %q, %s", failed, a)
			}
			numbered(t, messages, 1000)
		})
	})

	t.Run("the first message is on the wire before the second is sent", func(t *testing.T) {
		eachFraming(t, w, func(t *testing.T, c *client, accept string) {
			// The second message comes long after this test has failed.
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			resp := c.open(ctx, "POST", "/v1/stream", strings.NewReader(`{"count":2,"script":{"interval":"120s"}}`), "Accept: "+accept)
			var got []byte
			for buf := make([]byte, 4096); !strings.Contains(string(got), `"number":1`); {
				n, err := resp.Body.Read(buf)
				if got = append(got, buf[:n]...); err != nil {
					t.Fatalf("%v after %s", err, got)
				}
			}
		})
	})

	t.Run("an error before the first message", func(t *testing.T) {
		eachFraming(t, w, func(t *testing.T, c *client, accept string) {
			a := c.do("GET", "/v1/stream/3?script.fail_code=9&script.fail_message=not+now", nil, "Accept: "+accept)
			if a.StatusCode != http.StatusBadRequest || a.body != `{"code":9,"message":"not now"}` {
				t.Errorf("got %s", a)
			}
		})
	})

	t.Run("an error after some", func(t *testing.T) {
		eachFraming(t, w, func(t *testing.T, c *client, accept string) {
			for _, n := range []int{1, 1000} {
				a := c.do("GET", fmt.Sprintf("/v1/stream/2000?script.fail_code=9&script.fail_message=not+now&script.fail_after=%d", n), nil, "Accept: "+accept)
				messages, failed, ok := take(t, accept, a.body)
				numbered(t, messages, n)
				if accept == "application/json" {
					if ok || a.err == nil {
						t.Errorf("after %d messages: want the connection aborted and no valid array; the body's error is %v", n, a.err)
					}
					continue
				}
				if failed != `{"code":9,"message":"not now"}` || a.err != nil {
					t.Errorf("after %d messages: failed %q, %v", n, failed, a.err)
				}
			}
		})
	})

	t.Run("a client that leaves in the middle cancels the call", func(t *testing.T) {
		eachFraming(t, w, func(t *testing.T, c *client, accept string) {
			ctx, cancel := context.WithCancel(t.Context())
			resp := c.open(ctx, "POST", "/v1/stream", strings.NewReader(`{"count":3,"script":{"interval":"300s"}}`), "Accept: "+accept)
			if _, err := resp.Body.Read(make([]byte, 1)); err != nil || w.backend.InFlight() == 0 {
				t.Fatalf("no stream: %v, %d in flight", err, w.backend.InFlight())
			}
			cancel()
			w.idle(t, accept)
		})
	})

	t.Run("client streams from NDJSON and JSON arrays", func(t *testing.T) { provesUploads(t, w) })
	t.Run("bidi over HTTP/2", func(t *testing.T) { provesBidi(t, w) })
}

func provesUploads(t *testing.T, w *world) {
	var lines, array strings.Builder
	var texts []string
	for i := range 1000 {
		texts = append(texts, fmt.Sprint(i))
		fmt.Fprintf(&lines, "{\"text\":\"%d\"}\n", i)
		fmt.Fprintf(&array, "%c{\"text\":\"%d\"}", "[,"[min(i, 1)], i)
	}
	want := `{"text":"` + strings.Join(texts, ",") + `"`
	w.eachVersion(t, func(t *testing.T, c *client) {
		for contentType, body := range map[string]string{"application/x-ndjson": lines.String(), "application/json": array.String() + "]"} {
			// Without a length, as a client sends what it does not know the end of.
			a := c.read(c.open(t.Context(), "POST", "/v1/collect", struct{ io.Reader }{strings.NewReader(body)}, "Content-Type: "+contentType))
			if a.StatusCode != http.StatusOK || !strings.HasPrefix(a.body, want) {
				t.Errorf("%s: %s", contentType, a)
			}
			a = c.do("POST", "/v1/collect", []byte(strings.Replace(body, `{"text":"500"}`, `{"txt":"500"}`, 1)), "Content-Type: "+contentType)
			if a.StatusCode != http.StatusBadRequest || !strings.Contains(a.body, "message 501") {
				t.Errorf("%s, message 501 is bad: %s", contentType, a)
			}
		}
		w.idle(t, "after a bad message")
	})
}

func (c *client) read(resp *http.Response) answer {
	c.t.Helper()
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return answer{resp, string(text), err}
}

func provesBidi(t *testing.T, w *world) {
	c := w.client(t, "h2c")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	r, body := io.Pipe()
	// The answer's header comes with its first message, so someone has to speak while the request
	// is opened.
	go func() { _, _ = io.WriteString(body, "{\"text\":\"0\"}\n") }()
	resp := c.open(ctx, "POST", "/v1/chat", r, "Content-Type: application/x-ndjson")
	answers := bufio.NewReader(resp.Body)
	for i := range 200 {
		if i > 0 {
			if _, err := fmt.Fprintf(body, "{\"text\":\"%d\"}\n", i); err != nil {
				t.Fatal(err)
			}
		}
		line, err := answers.ReadString('\n')
		if err != nil || !strings.HasPrefix(line, fmt.Sprintf(`{"text":"%d"`, i)) {
			t.Fatalf("answer %d: %s, %v", i, line, err)
		}
	}
	body.Close()
	if rest, err := io.ReadAll(answers); err != nil || len(rest) > 0 {
		t.Errorf("after the end: %q, %v", rest, err)
	}
	w.idle(t, "after the end")
}
