package module_test

import (
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-grpc/gateway/internal/testkit"
)

func TestErrorsPass(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	s.load("", "grpc_gateway "+backend.Addr()+` {
		errors pass
	}
	handle_errors {
		respond "{err.status_code}|{err.message}|{http.grpc_gateway.code}|{http.grpc_gateway.message}|{http.grpc_gateway.method}"
	}`)
	for _, tc := range []struct{ name, method, path, body, want string }{
		{"of the service", "POST", "/v1/echo", `{"script":{"failCode":9,"failMessage":"not now"}}`,
			"400|FAILED_PRECONDITION: not now|FAILED_PRECONDITION|not now|gateway.test.v1.Echo/Unary"},
		{"of the gateway", "GET", "/v1/nowhere", "", "404|NOT_FOUND: no route for GET /v1/nowhere|NOT_FOUND|no route for GET /v1/nowhere|"},
		{"before the first message of a stream", "POST", "/v1/stream", `{"script":{"failCode":5,"failMessage":"gone"}}`,
			"404|NOT_FOUND: gone|NOT_FOUND|gone|gateway.test.v1.Echo/ServerStream"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := s.do(tc.method, tc.path, tc.body)
			if got.body != tc.want || strconv.Itoa(got.status) != tc.want[:3] {
				t.Errorf("got %s\nwant %s", got, tc.want)
			}
		})
	}
	t.Run("headers stay", func(t *testing.T) {
		if got := s.want(s.do("DELETE", "/v1/echo", ""), http.StatusMethodNotAllowed); !strings.Contains(got.header.Get("Allow"), "GET") {
			t.Errorf("Allow: %q", got.header.Get("Allow"))
		}
		got := s.want(s.do("POST", "/v1/echo", `{"script":{"failCode":14,"failRetryAfter":"2s"}}`), http.StatusServiceUnavailable)
		if got.header.Get("Retry-After") != "2" {
			t.Errorf("Retry-After: %q", got.header.Get("Retry-After"))
		}
	})
	t.Run("no internals", func(t *testing.T) {
		backend.Stop()
		if got := s.want(s.get("/v1/echo/x"), http.StatusServiceUnavailable); strings.Contains(got.body, backend.Addr()) {
			t.Errorf("the page shows an address: %s", got)
		}
	})
}

// Error routes can make a document of an error that has all of it, whatever the service wrote.
func TestErrorsPassHasTheDetailsAsJSON(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	s.load("", "grpc_gateway "+backend.Addr()+` {
		errors pass
		answers {
			map FAILED_PRECONDITION 412
			internal hide
		}
	}
	handle_errors {
		respond `+"`"+`{"http":{err.status_code},"details":{http.grpc_gateway.details},"status":{http.grpc_gateway.status},"text":"{err.message}"}`+"`"+`
	}`)
	const violation = `{"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":[{"field":"text","description":"the script says so"}]}`
	for _, tc := range []struct{ name, script, want string }{
		{"details", `"failCode":9,"failMessage":"a {b} \"c\"\n","failBadRequest":true`,
			`{"http":412,"details":[` + violation + `],"status":{"code":9,"message":"a {b} \"c\"\n","details":[` + violation + `]},` +
				`"text":"FAILED_PRECONDITION: a {b} "c"\n"}`},
		{"none", `"failCode":5,"failMessage":"gone"`, `{"http":404,"details":[],"status":{"code":5,"message":"gone"},"text":"NOT_FOUND: gone"}`},
		{"hidden", `"failCode":13,"failMessage":"panic","failBadRequest":true`,
			`{"http":500,"details":[],"status":{"code":13,"message":"the service failed"},"text":"INTERNAL: the service failed"}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := s.do("POST", "/v1/echo", `{"script":{`+tc.script+`}}`); got.body != tc.want {
				t.Errorf("got  %s\nwant %s", got.body, tc.want)
			}
		})
	}
	t.Run("a challenge", func(t *testing.T) {
		got := s.want(s.do("POST", "/v1/echo", `{"script":{"failCode":16}}`), http.StatusUnauthorized)
		if got.header.Get("WWW-Authenticate") != "Bearer" {
			t.Errorf("header %v", got.header)
		}
	})
}

func TestErrorsProblem(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	s.load("", "grpc_gateway "+backend.Addr()+` {
		errors problem
		answers {
			map FAILED_PRECONDITION 412
			internal hide
		}
	}
	log`)
	for script, want := range map[string]string{
		`"failCode":9,"failMessage":"no"`:     `{"type":"about:blank","title":"FAILED_PRECONDITION","status":412,"detail":"no"}`,
		`"failCode":13,"failMessage":"panic"`: `{"type":"about:blank","title":"INTERNAL","status":500,"detail":"the service failed"}`,
	} {
		if got := s.do("POST", "/v1/echo", `{"script":{`+script+`}}`); got.body != want || got.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	eventually(t, "the access log has what was hidden", func() bool {
		log, err := os.ReadFile(s.logFile())
		return err == nil && strings.Contains(string(log), `"grpc_error":"INTERNAL: panic"`)
	})
}

func TestStreamOptionsAreChecked(t *testing.T) {
	s := newSite(t)
	for _, tc := range []struct{ name, options, want string }{
		{"origins", `"stream":{"websocket_origins":["https://a"]}`, `stream: websocket_origins: "https://a": expected a host`},
		{"event_id", `"stream":{"event_id":"cursor"}`, `stream: event_id "cursor": expected count or off`},
		{"event_id_field", `"stream":{"event_id_field":"a b"}`, `stream: event_id_field: "a b": expected the path of a field`},
		{
			"both", `"stream":{"event_id":"off","event_id_field":"cursor"}`,
			"stream: event_id off and event_id_field cursor: expected one of them",
		},
		{"close_delay", `"stream":{"close_delay":-1}`, "stream: close_delay -1ns: expected a duration of 0 or more"},
		{
			"problem details and an envelope", `"errors":"problem","answers":{"envelope":{}}`,
			"errors problem and the envelope of answers: expected one of them",
		},
		{"errors", `"errors":"json"`, `errors "json": expected status, problem, text or pass`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			config := strings.Replace(string(adapt(t, s.caddyfile("", "grpc_gateway 127.0.0.1:1"))),
				`"handler":"grpc_gateway"`, `"handler":"grpc_gateway",`+tc.options, 1)
			if err := caddy.Load([]byte(config), true); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
}

func TestOptInsReachTheProtocols(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	s.load("", "grpc_gateway "+backend.Addr()+` {
		etag on
		forms on
		fully_decode_reserved_expansion on
	}`)
	if got := s.get("/v1/shelves/1/books/1"); got.header.Get("ETag") == "" {
		t.Errorf("no ETag: %s", got)
	}
	if got := s.want(s.get("/v1/files/a%2Fb/c"), http.StatusOK); got.field("request", "path") != "a/b/c" {
		t.Errorf("fully decoded: %s", got)
	}
	s.load("", "grpc_gateway "+backend.Addr())
	eventually(t, "no ETag without the option", func() bool {
		got := s.afresh("/v1/shelves/1/books/1")
		return got.status == http.StatusOK && got.header.Get("ETag") == ""
	})
	eventually(t, "no full decoding without the option", func() bool {
		got := s.afresh("/v1/files/a%2Fb/c")
		return got.status == http.StatusOK && got.field("request", "path") == "a%2Fb/c"
	})
}
