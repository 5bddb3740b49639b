package httpe2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-grpc/gateway/e2e/kit"
)

// accessLogSite writes an access log, and has error routes, which `errors pass` makes use of.
const accessLogSite = `
	log
	@pass header X-Site pass
	handle @pass {
		grpc_gateway echo {
			errors pass
		}
	}
	handle {
		grpc_gateway echo {
			max_request_size 1KiB
		}
	}
	handle_errors {
		respond "page|{err.status_code}|{err.message}|{http.grpc_gateway.code}|{http.grpc_gateway.method}"
	}`

func TestErrors(t *testing.T) {
	w := newWorld(t, accessLogSite)
	codes := row{name: "codes map as in code.proto"}
	for code, status := range []int{1: 499, 2: 500, 3: 400, 4: 504, 5: 404, 6: 409, 7: 403, 8: 429, 9: 400, 10: 409, 11: 400, 12: 501, 13: 500, 14: 503, 15: 500, 16: 401, 17: 500} {
		if code == 0 {
			continue
		}
		codes.cases = append(codes.cases, exchange{
			request: "POST /v1/echo", body: fmt.Sprintf(`{"script":{"failCode":%d,"failMessage":"a \"reason\""}}`, code),
			status: status, exact: fmt.Sprintf(`{"code":%d,"message":"a \"reason\""}`, code), fields: "Content-Type: application/json",
		})
	}
	large := `{"text":"` + strings.Repeat("a", 2000) + `"}`
	run(t, w, []row{
		codes,
		{"details with @type", []exchange{{
			request: "POST /v1/echo", body: `{"script":{"failCode":3,"failMessage":"no","failBadRequest":true}}`, status: 400,
			exact: `{"code":3,"message":"no","details":[{"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":[{"field":"text","description":"the script says so"}]}]}`,
		}}},
		{"a body too large is 413", []exchange{
			{request: "POST /v1/echo", body: large, status: 413, has: `{"code":8,`},
			{request: "POST /v1/collect", body: `{"text":"a"}` + large, status: 413, has: `{"code":8,`},
		}},
		{"503 carries Retry-After", []exchange{
			{request: "POST /v1/echo", body: `{"script":{"failCode":14,"failRetryAfter":"2.1s"}}`, status: 503, fields: "Retry-After: 3"},
			{request: "POST /v1/echo", body: `{"script":{"failCode":3,"failRetryAfter":"2.1s"}}`, status: 400, fields: "Retry-After"},
		}},
		{"headers are held back until the first message", []exchange{
			{request: "POST /v1/stream", body: `{"script":{"failCode":7,"failMessage":"no"}}`, status: 403, exact: `{"code":7,"message":"no"}`},
			{request: "POST /v1/stream", headers: "Accept: text/event-stream", body: `{"script":{"failCode":7,"failMessage":"no"}}`, status: 403, exact: `{"code":7,"message":"no"}`},
			{request: "POST /v1/chat", body: `{"script":{"failCode":7,"failMessage":"no"}}`, status: 403, exact: `{"code":7,"message":"no"}`},
		}},
		{"errors pass", []exchange{
			{request: "POST /v1/echo", headers: "X-Site: pass", body: `{"script":{"failCode":9,"failMessage":"not now"}}`, status: 400,
				exact: "page|400|FAILED_PRECONDITION: not now|FAILED_PRECONDITION|gateway.test.v1.Echo/Unary"},
			{request: "DELETE /v1/echo", headers: "X-Site: pass", status: 405, has: "page|405|", fields: "Allow: GET, HEAD, OPTIONS, POST, REPORT"},
			{request: "POST /v1/stream", headers: "X-Site: pass", body: `{"count":2,"script":{"failCode":9,"failMessage":"late","failAfter":1}}`,
				has: "\n" + `{"error":{"code":9,"message":"late"}}` + "\n"},
		}},
	})
	t.Run("access-log fields", func(t *testing.T) { provesAccessLog(t, w) })
	t.Run("no internals in a body", func(t *testing.T) {
		w.backend.Stop()
		w.eachVersion(t, func(t *testing.T, c *client) {
			for _, path := range []string{"/v1/echo/down", "/v1/stream/1"} {
				a := c.do("GET", path, nil)
				if a.StatusCode != http.StatusServiceUnavailable || !strings.Contains(a.body, `{"code":14,"message":"`) || strings.Contains(a.body, "127.0.0.1") {
					t.Errorf("%s: %s", path, a)
				}
			}
		})
		entry := w.accessLog(t, "/v1/echo/down")
		if detail, _ := entry["grpc_error"].(string); !strings.Contains(detail, w.backend.Addr()) {
			t.Errorf("the log does not say which instance: %v", entry)
		}
	})
}

func provesAccessLog(t *testing.T, w *world) {
	c := w.client(t, "h2c")
	c.do("GET", "/v1/echo/logged-well", nil)
	c.do("GET", "/v1/echo/logged-badly?big=x", nil)
	c.do("POST", "/v1/stream?logged-stream", []byte(`{"count":1}`))
	for path, want := range map[string]map[string]any{
		"/v1/echo/logged-well": {
			"grpc_code": "OK", "grpc_upstream": "echo", "grpc_method": "gateway.test.v1.Echo/Unary", "grpc_route": "/v1/echo/{text}",
			"grpc_endpoint": w.backend.Addr(), "status": 200.,
		},
		"/v1/echo/logged-badly?big=x": {"grpc_code": "INVALID_ARGUMENT", "grpc_method": "gateway.test.v1.Echo/Unary", "status": 400.},
		"/v1/stream?logged-stream":    {"grpc_code": "INVALID_ARGUMENT", "status": 400.},
	} {
		entry := w.accessLog(t, path)
		for field, value := range want {
			if entry[field] != value {
				t.Errorf("%s: %s is %v, want %v", path, field, entry[field], value)
			}
		}
	}
}

// accessLog returns the entry of a request, when it is there.
func (w *world) accessLog(t testing.TB, uri string) (found map[string]any) {
	t.Helper()
	kit.Eventually(t, 10*time.Second, "the access log has "+uri, func() error {
		for line := range strings.Lines(w.Log()) {
			if !strings.Contains(line, "http.log.access") || !strings.Contains(line, `"uri":"`+uri+`"`) {
				continue
			}
			return json.Unmarshal([]byte(line), &found)
		}
		return fmt.Errorf("no entry")
	})
	return found
}
