package rest

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/caddy-grpc/gateway/internal/frontend"
)

func TestErrorsMapAsInCodeProto(t *testing.T) {
	w := newWorld(t, frontend.Options{})
	w.eachVersion(t, func(t *testing.T, c *client) {
		for code, status := range map[int]int{
			1: 499, 2: 500, 3: 400, 4: 504, 5: 404, 6: 409, 7: 403, 8: 429, 9: 400, 10: 409, 11: 400, 12: 501, 13: 500, 14: 503, 15: 500, 16: 401, 77: 500,
		} {
			a := c.do("POST", "/v1/echo", fmt.Sprintf(`{"script":{"failCode":%d,"failMessage":"a \"reason\""}}`, code))
			if want := fmt.Sprintf(`{"code":%d,"message":"a \"reason\""}`, code); a.StatusCode != status || a.body != want || a.Header.Get("Content-Type") != "application/json" {
				t.Errorf("code %d: %d %s, want %d %s", code, a.StatusCode, a.body, status, want)
			}
		}
	})
}

func TestErrorDetails(t *testing.T) {
	w := newWorld(t, frontend.Options{})
	w.eachVersion(t, func(t *testing.T, c *client) {
		a := c.do("POST", "/v1/echo", `{"script":{"failCode":3,"failMessage":"no","failBadRequest":true}}`)
		const want = `{"code":3,"message":"no","details":[{"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":[{"field":"text","description":"the script says so"}]}]}`
		if a.StatusCode != http.StatusBadRequest || a.body != want {
			t.Errorf("got %d %s\nwant %s", a.StatusCode, a.body, want)
		}
	})
}

func TestRetryAfter(t *testing.T) {
	w := newWorld(t, frontend.Options{})
	w.eachVersion(t, func(t *testing.T, c *client) {
		for code, want := range map[int]string{14: "3", 8: "3", 3: ""} {
			a := c.do("POST", "/v1/echo", fmt.Sprintf(`{"script":{"failCode":%d,"failRetryAfter":"2.1s"}}`, code))
			if got := a.Header.Get("Retry-After"); got != want {
				t.Errorf("code %d: Retry-After %q, want %q", code, got, want)
			}
		}
		// A header of the upstream's own gives way to the detail.
		a := c.do("POST", "/v1/echo", `{"script":{"failCode":14,"failRetryAfter":"2s","headers":{"retry-after":"9"}}}`)
		if got := a.Header.Values("Retry-After"); len(got) != 1 || got[0] != "2" {
			t.Errorf("Retry-After %q", got)
		}
	})
}

func TestErrorsShowNoInternals(t *testing.T) {
	w := newWorld(t, frontend.Options{})
	addr := w.backend.Addr()
	c := w.client(t, "HTTP1")
	w.backend.Stop()
	a := c.do("GET", "/v1/echo/x", nil)
	a.wantError(t, 503, 14, `"no instance of the service can be reached: connection refused"`)
	if got := a.Header.Get("Retry-After"); got != "1" {
		t.Errorf("Retry-After: %q", got)
	}
	if info, err := w.lastInfo(1); err == nil || !strings.Contains(info.Err.Error(), addr) {
		t.Errorf("the log does not get the address: %v", info.Err)
	}
	rec := httptest.NewRecorder()
	WriteError(rec, httptest.NewRequest(http.MethodGet, "/", nil), errors.New("secret"))
	if got := rec.Body.String(); rec.Code != 500 || strings.Contains(got, "secret") || !strings.HasPrefix(got, `{"code":13,`) {
		t.Errorf("a foreign error: %d %s", rec.Code, got)
	}
}

func TestUpstreamLostInTheMiddle(t *testing.T) {
	w := newWorld(t, frontend.Options{})
	w.eachVersion(t, func(t *testing.T, c *client) {
		if err := w.backend.Start(); err != nil && !strings.Contains(err.Error(), "running") {
			t.Fatal(err)
		}
		resp, err := c.open(t.Context(), "POST", "/v1/stream", `{"count":3,"script":{"interval":"30s"}}`)
		for err != nil || resp.StatusCode == http.StatusServiceUnavailable {
			// The channel may still be waiting to connect again.
			time.Sleep(10 * time.Millisecond)
			resp, err = c.open(t.Context(), "POST", "/v1/stream", `{"count":3,"script":{"interval":"30s"}}`)
		}
		defer resp.Body.Close()
		lines := newLines(resp.Body)
		lines.next(t)
		w.backend.Stop()
		// The backend's kernel resets the connection if the backend has not read all that came.
		const lost = `{"error":{"code":14,"message":"the connection to the instance was lost: connection `
		if got := lines.next(t); got != lost+`closed"}}` && got != lost+`reset"}}` {
			t.Errorf("got %s", got)
		}
		lines.wantEOF(t)
	})
}

func TestDeadlines(t *testing.T) {
	slow := `{"script":{"delay":"20s"}}`
	for _, tc := range []struct {
		name    string
		opts    frontend.Options
		headers []string
		status  int
		message string
		seen    [2]int64 // the range of the deadline that the backend sees, in milliseconds
	}{
		{name: "none", seen: [2]int64{0, 0}},
		{name: "the gateway's", opts: frontend.Options{Timeout: time.Minute}, seen: [2]int64{50_000, 60_000}},
		{name: "the client's", headers: []string{"X-Request-Timeout: 30s"}, seen: [2]int64{20_000, 30_000}},
		{name: "the client's shortens", opts: frontend.Options{Timeout: time.Minute}, headers: []string{"Grpc-Timeout: 30S"}, seen: [2]int64{20_000, 30_000}},
		{name: "the client's does not lengthen", opts: frontend.Options{Timeout: time.Minute}, headers: []string{"Connect-Timeout-Ms: 600000"}, seen: [2]int64{50_000, 60_000}},
		{name: "the shortest of many", headers: []string{"Connect-Timeout-Ms: 600000", "X-Request-Timeout: 60s", "Grpc-Timeout: 5M"}, seen: [2]int64{50_000, 60_000}},
		{name: "passed", headers: []string{"X-Request-Timeout: 20ms"}, status: 504, message: "deadline"},
		{name: "the gateway's, passed", opts: frontend.Options{Timeout: 20 * time.Millisecond}, status: 504, message: "deadline"},
		{name: "zero", headers: []string{"Connect-Timeout-Ms: 0"}, status: 504, message: "deadline"},
		{name: "negative", headers: []string{"X-Request-Timeout: -1s"}, status: 400, message: "X-Request-Timeout"},
		{name: "malformed", headers: []string{"Grpc-Timeout: soon"}, status: 400, message: "Grpc-Timeout"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			newWorld(t, tc.opts).eachVersion(t, func(t *testing.T, c *client) {
				if tc.status == 0 {
					got := c.do("POST", "/v1/echo", `{}`, tc.headers...).echo(t).GetDeadlineMs()
					if got < tc.seen[0] || got > tc.seen[1] {
						t.Errorf("the backend has %d ms, want %v", got, tc.seen)
					}
					return
				}
				code := map[int]int{504: 4, 400: 3}[tc.status]
				c.do("POST", "/v1/echo", slow, tc.headers...).wantError(t, tc.status, code, tc.message)
			})
		})
	}
}

func TestDeadlineOfStreams(t *testing.T) {
	w := newWorld(t, frontend.Options{Timeout: 20 * time.Millisecond})
	w.eachVersion(t, func(t *testing.T, c *client) {
		a := c.do("POST", "/v1/stream", `{"count":2,"script":{"interval":"0.1s"}}`)
		if strings.Count(a.body, "\n") != 2 || strings.Contains(a.body, "error") {
			t.Errorf("the unary deadline cut a stream: %s", a.body)
		}
		a = c.do("POST", "/v1/stream", `{"count":2,"script":{"interval":"20s"}}`, "X-Request-Timeout: 50ms")
		// The backend has the deadline, too, and may end the stream first, in its own words.
		lines := strings.SplitAfter(a.body, "\n")
		last := lines[max(0, len(lines)-2)]
		if !strings.HasPrefix(last, `{"error":{"code":4,`) || !strings.Contains(last, "deadline") {
			t.Errorf("the client's deadline: %s", a.body)
		}
	})
}

func TestCancellation(t *testing.T) {
	w := newWorld(t, frontend.Options{})
	w.eachVersion(t, func(t *testing.T, c *client) {
		for path, body := range map[string]string{
			"/v1/echo":    `{"script":{"delay":"30s"}}`,
			"/v1/stream":  `{"count":100,"script":{"interval":"30s"}}`,
			"/v1/collect": `{"script":{"delay":"30s"}}`,
		} {
			before := w.backend.Calls()
			c.leave(path, body, func() bool { return w.backend.Calls() > before })
			eventually(t, path+": the backend is free", func() bool { return w.backend.InFlight() == 0 })
		}
	})
}

// TestErrorsKeepWhatIsSet: the header of an error does not replace what other handlers have set.
// Nor does that of a success.
func TestErrorsKeepWhatIsSet(t *testing.T) {
	w := httptest.NewRecorder()
	w.Header().Set("Vary", "Origin")
	WriteError(w, httptest.NewRequest(http.MethodGet, "/", nil), frontend.Errorf(codes.NotFound, "gone").WithHeader("Vary", "Accept"))
	if got := w.Header().Values("Vary"); !slices.Equal(got, []string{"Origin", "Accept"}) {
		t.Errorf("Vary: %q", got)
	}
}
