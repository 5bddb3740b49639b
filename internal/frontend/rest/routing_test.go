package rest

import (
	"net/http"
	"testing"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/testkit/testpb"
)

func TestUnknownRouteOtherMethodUnimplemented(t *testing.T) {
	w := newWorld(t, frontend.Options{})
	w.eachVersion(t, func(t *testing.T, c *client) {
		c.do("GET", "/v1/nowhere", nil).wantError(t, 404, 5, "no route for GET /v1/nowhere")
		c.do("GET", "/", nil).wantError(t, 404, 5, "no route")

		a := c.do("DELETE", "/v1/echo", nil)
		a.wantError(t, 405, 12, "DELETE is not allowed")
		if got := a.Header.Get("Allow"); got != "GET, HEAD, OPTIONS, POST, REPORT" {
			t.Errorf("Allow: %q", got)
		}
		c.do("POST", "/v1/echo", `{"script":{"failCode":12,"failMessage":"not here"}}`).wantError(t, 501, 12, "not here")
	})
}

func TestRouteTableNotReady(t *testing.T) {
	w := newWorld(t, frontend.Options{})
	w.table.Pending = "the schema of user is not known yet"
	w.eachVersion(t, func(t *testing.T, c *client) {
		a := c.do("GET", "/v1/nowhere", nil)
		a.wantError(t, 503, 14, "the schema of user is not known yet")
		if got := a.Header.Get("Retry-After"); got != "1" {
			t.Errorf("Retry-After: %q", got)
		}
		if a := c.do("GET", "/v1/echo/hi", nil); a.StatusCode != http.StatusOK {
			t.Errorf("a known route: %d %s", a.StatusCode, a.body)
		}
	})
	w.table = nil
	w.client(t, "HTTP1").do("GET", "/v1/echo/hi", nil).wantError(t, 503, 14, "starting")
}

func TestHEADAndOPTIONS(t *testing.T) {
	w := newWorld(t, frontend.Options{})
	w.eachVersion(t, func(t *testing.T, c *client) {
		get, head := c.do("GET", "/v1/shelves:titles", nil), c.do("HEAD", "/v1/shelves:titles", nil)
		if head.StatusCode != http.StatusOK || head.body != "" || head.Header.Get("Content-Type") != "application/json" {
			t.Errorf("HEAD: %d %q %v", head.StatusCode, head.body, head.Header)
		}
		if get.Header.Get("Content-Length") == "" || get.Header.Get("Content-Length") != head.Header.Get("Content-Length") {
			t.Errorf("Content-Length: GET %q, HEAD %q", get.Header.Get("Content-Length"), head.Header.Get("Content-Length"))
		}
		if a := c.do("HEAD", "/v1/shelves/9/books/9", nil); a.StatusCode != http.StatusNotFound || a.body != "" {
			t.Errorf("HEAD of what is not there: %d %q", a.StatusCode, a.body)
		}
		if a := c.do("HEAD", "/v1/stream/3", nil); a.StatusCode != http.StatusOK || a.body != "" {
			t.Errorf("HEAD of a stream: %d %q", a.StatusCode, a.body)
		}
		if a := c.do("HEAD", "/v1/stream/0", nil); a.StatusCode != http.StatusOK || a.body != "" {
			t.Errorf("HEAD of an empty stream: %d %q", a.StatusCode, a.body)
		}
		for path, allow := range map[string]string{
			"/v1/echo":                     "GET, HEAD, OPTIONS, POST, REPORT",
			"/v1/shelves/1/books/1":        "DELETE, GET, HEAD, OPTIONS, PATCH, PUT",
			"/gateway.test.v1.Echo/Unary":  "OPTIONS, POST",
			"/v1/collect":                  "OPTIONS, POST",
			"/v1/echo/some%20text:shout":   "GET, HEAD, OPTIONS, POST",
			"/v1/echo/some%20text:whisper": "GET, HEAD, OPTIONS",
		} {
			if a := c.do("OPTIONS", path, nil); a.StatusCode != http.StatusNoContent || a.Header.Get("Allow") != allow || a.body != "" {
				t.Errorf("OPTIONS %s: %d, Allow %q, want %q", path, a.StatusCode, a.Header.Get("Allow"), allow)
			}
		}
		c.do("OPTIONS", "/v1/nowhere", nil).wantError(t, 404, 5, "no route")
	})
}

func TestByName(t *testing.T) {
	w := newWorld(t, frontend.Options{})
	w.eachVersion(t, func(t *testing.T, c *client) {
		c.do("POST", "/gateway.test.v1.Echo/Unary", `{"text":"hi","list":["a"]}`).wantEcho(t, &testpb.EchoRequest{Text: "hi", List: []string{"a"}})
		a := c.do("GET", "/gateway.test.v1.Echo/Unary", nil)
		a.wantError(t, 405, 12, "GET is not allowed")
		if got := a.Header.Get("Allow"); got != "OPTIONS, POST" {
			t.Errorf("Allow: %q", got)
		}
		c.do("POST", "/gateway.test.v1.Echo/Nothing", `{}`).wantError(t, 404, 5, "no route")
		c.do("POST", "/gateway.test.v1.Echo%2FUnary", `{}`).wantError(t, 404, 5, "no route")
	})
}

func TestCustomKind(t *testing.T) {
	w := newWorld(t, frontend.Options{})
	w.eachVersion(t, func(t *testing.T, c *client) {
		c.do("REPORT", "/v1/echo", `{"text":"r"}`).wantEcho(t, &testpb.EchoRequest{Text: "r"})
	})
}

func TestInfo(t *testing.T) {
	w := newWorld(t, frontend.Options{})
	c := w.client(t, "HTTP1")
	c.do("GET", "/v1/echo/hi", nil)
	if info, err := w.lastInfo(1); err != nil || info.Protocol != "rest" || info.Route != "/v1/echo/{text}" || info.Method.Name != "gateway.test.v1.Echo/Unary" ||
		!info.Called || info.Code != 0 || info.Err != nil || info.Sent != 1 || info.Received != 1 || info.Framing != "" {
		t.Errorf("a unary call: %+v, %v", info, err)
	}
	c.do("GET", "/v1/echo?big=x", nil)
	if info, err := w.lastInfo(2); err == nil || info.Called || info.Code != 3 || info.Err == nil {
		t.Errorf("a refused request: %+v, %v", info, err)
	}
	c.do("POST", "/v1/stream", `{"count":3,"script":{"failCode":9,"failAfter":2}}`)
	if info, err := w.lastInfo(3); err != nil || !info.Called || info.Code != 9 || info.Err == nil || info.Sent != 1 || info.Received != 2 || info.Framing != "ndjson" {
		t.Errorf("a stream that failed: %+v, %v", info, err)
	}
}
