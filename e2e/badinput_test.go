package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-grpc/gateway/e2e/kit"
	"github.com/caddy-grpc/gateway/internal/testkit"
)

// TestBadInput: each mistake of a client gets the status it deserves and a message that says what
// to change.
func TestBadInput(t *testing.T) {
	backend := testkit.StartBackend(t)
	caddy := kit.StartCaddy(t, kit.Options{Site: "grpc_gateway " + backend.Addr()})
	serving(t, caddy, []string{backend.Addr()})
	cases := []struct {
		name, method, path, contentType, body string
		status, code                          int
		says                                  string
	}{
		{"malformed JSON", "POST", "/v1/echo", "application/json", `{"text":`, 400, 3, ""},
		{"text after the JSON", "POST", "/v1/echo", "application/json", `{} {}`, 400, 3, ""},
		{"wrong type", "POST", "/v1/echo", "application/json", `{"count":"many"}`, 400, 3, "count"},
		{"number out of range", "POST", "/v1/echo", "application/json", `{"count":3000000000}`, 400, 3, "count"},
		{"unknown field", "POST", "/v1/echo", "application/json", `{"nope":1}`, 400, 3, "nope"},
		{"unknown enum name", "POST", "/v1/echo", "application/json", `{"genre":"OPERA"}`, 400, 3, "OPERA"},
		{"invalid UTF-8", "POST", "/v1/echo", "application/json", "{\"text\":\"\xff\"}", 400, 3, ""},
		{"two members of a oneof", "POST", "/v1/echo", "application/json", `{"left":"a","right":1}`, 400, 3, ""},
		{"oversized body", "POST", "/v1/echo", "application/json", `{"text":"` + strings.Repeat("x", 5<<20) + `"}`, 413, 8, ""},
		{"not JSON", "POST", "/v1/echo", "text/plain", `hello`, 415, 3, ""},
		{"unknown query parameter", "GET", "/v1/echo/a?nope=1", "", "", 400, 3, "nope"},
		{"bad query value", "GET", "/v1/echo/a?count=x", "", "", 400, 3, "count"},
		// Go's server refuses this one itself.
		{"bad percent-encoding in the path", "GET", "/v1/echo/%zz", "", "", 400, 0, ""},
		{"bytes in the path that are no text", "GET", "/v1/echo/%ff", "", "", 400, 3, "text"},
		{"unknown path", "GET", "/v1/nothing/here", "", "", 404, 5, ""},
		{"known path, other method", "PUT", "/v1/echo", "application/json", "{}", 405, 12, ""},
		{"unknown RPC", "POST", "/gateway.test.v1.Echo/Nope", "application/json", "{}", 404, 5, ""},
		{"wrong type to an RPC path", "POST", "/gateway.test.v1.Echo/Unary", "application/json", `{"count":[]}`, 400, 3, "count"},
		{"bad timeout header", "TIMEOUT", "/v1/echo", "application/json", `{}`, 400, 3, ""},
		{"backend error", "POST", "/v1/echo", "application/json", `{"script":{"failCode":9,"failMessage":"not today"}}`, 400, 9, "not today"},
	}
	// Go's HTTP/2 client would repeat a request with a path that its server refuses
	client := kit.H1()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			method := c.method
			if method == "TIMEOUT" {
				method = http.MethodPost
			}
			target := caddy.URL(c.path)
			req, err := http.NewRequest(method, "http://"+caddy.Listen, strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			// The raw path is sent as it is, valid or not.
			req.URL.Opaque = strings.TrimPrefix(target, "http:")
			if c.contentType != "" {
				req.Header.Set("Content-Type", c.contentType)
			}
			if c.method == "TIMEOUT" {
				req.Header.Set("X-Request-Timeout", "-3s")
			}
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != c.status {
				t.Fatalf("status %d, want %d: %s", resp.StatusCode, c.status, body)
			}
			if c.code == 0 {
				return // refused before any handler
			}
			var status struct {
				Code    int
				Message string
			}
			if err := json.Unmarshal(body, &status); err != nil {
				t.Fatalf("the body is no Status: %v: %q", err, body)
			}
			if status.Code != c.code || status.Message == "" || !strings.Contains(status.Message, c.says) {
				t.Errorf("Status %s, want code %d and a message with %q", body, c.code, c.says)
			}
			for _, internal := range []string{backend.Addr(), "goroutine", ".go:"} {
				if strings.Contains(string(body), internal) {
					t.Errorf("the body shows %q: %s", internal, body)
				}
			}
		})
	}
}

// TestServiceWithoutReflection: the client learns that the gateway is not set up, the operator what
// to do.
func TestServiceWithoutReflection(t *testing.T) {
	backend := testkit.StartBackend(t, testkit.WithReflection(false, false))
	caddy := kit.StartCaddy(t, kit.Options{Site: "grpc_gateway " + backend.Addr()})
	caddy.WaitReady(t, 20*time.Second, backend.Addr())
	kit.Eventually(t, 10*time.Second, "the operator is told", func() error {
		if log := caddy.Log(); !strings.Contains(log, "reflection") {
			return fmt.Errorf("nothing about reflection in the log: %s", log)
		}
		return nil
	})
	code, body, err := kit.GetJSON(http.DefaultClient, caddy.URL("/v1/echo/a"))
	if err != nil || code != http.StatusServiceUnavailable || !strings.Contains(body, `"code":14`) {
		t.Errorf("%d %s %v", code, body, err)
	}
}

// TestUnknownHost: an upstream that does not resolve is a 503 with a Status, not a hang.
func TestUnknownHost(t *testing.T) {
	caddy := kit.StartCaddy(t, kit.Options{Site: "grpc_gateway dns:///no-such-host.invalid:9001"})
	client := &http.Client{Timeout: 15 * time.Second}
	code, body, err := kit.GetJSON(client, caddy.URL("/v1/echo/a"))
	if err != nil || code != http.StatusServiceUnavailable || !strings.Contains(body, `"code":14`) {
		t.Errorf("%d %s %v", code, body, err)
	}
}
