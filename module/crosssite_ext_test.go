package module_test

import (
	"bufio"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-grpc/gateway/internal/testkit"
	"github.com/caddy-grpc/gateway/internal/testkit/testpb"
)

// request makes a request with headers, name and value in turns.
func (s *site) request(method, path string, headers ...string) answer {
	s.t.Helper()
	req, err := http.NewRequest(method, "http://"+s.addr+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	return send(s.client, req)
}

func TestCrossSite(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	const unary = testpb.Echo_Unary_FullMethodName
	evil := []string{"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"}
	app := []string{"Origin", "https://app.example", "Sec-Fetch-Site", "cross-site", "Cookie", "session=1"}

	s.load("", "grpc_gateway "+backend.Addr()+" {\n\tcors https://app.example\n}")
	s.want(s.request("POST", "/v1/echo"), http.StatusOK)
	s.want(s.request("POST", "/v1/echo", app...), http.StatusOK)
	calls := backend.Calls()
	if got := s.want(s.request("POST", "/v1/echo", evil...), http.StatusForbidden); got.field("code") != 7. {
		t.Errorf("REST: %s", got)
	}
	got := s.want(s.post(unary, "application/json", `{}`, append(evil, "Connect-Protocol-Version", "1")...), http.StatusForbidden)
	if got.field("code") != "permission_denied" {
		t.Errorf("Connect: %s", got)
	}
	got = s.want(s.post(unary, "application/grpc-web", "\x00\x00\x00\x00\x00", evil...), http.StatusOK)
	if !strings.Contains(got.body, "grpc-status: 7\r\n") {
		t.Errorf("gRPC-Web: %q", got.body)
	}
	if n := backend.Calls(); n != calls {
		t.Errorf("%d calls were made", n-calls)
	}
	s.want(s.request("GET", "/v1/echo/x", evil...), http.StatusOK)

	s.load("", "grpc_gateway "+backend.Addr()+" {\n\terrors pass\n}\nhandle_errors {\n\trespond \"{http.grpc_gateway.code}\" {err.status_code}\n}")
	eventually(t, "the site's error route answers", func() bool {
		got := s.request("POST", "/v1/echo", evil...)
		return got.status == http.StatusForbidden && got.body == "PERMISSION_DENIED"
	})

	s.load("", "grpc_gateway "+backend.Addr()+" {\n\tcross_site allow\n}")
	eventually(t, "the check is off", func() bool { return s.request("POST", "/v1/echo", evil...).status == http.StatusOK })
}

func TestCrossSiteWordIsChecked(t *testing.T) {
	s := newSite(t)
	config := strings.Replace(string(adapt(t, s.caddyfile("", "grpc_gateway 127.0.0.1:1"))),
		`"handler":"grpc_gateway"`, `"handler":"grpc_gateway","cross_site":"off"`, 1)
	if err := caddy.Load([]byte(config), true); err == nil || !strings.Contains(err.Error(), `cross_site "off": expected refuse or allow`) {
		t.Errorf("got %v", err)
	}
}

func TestOriginsInCORSCountForWebSockets(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	s.load("", "grpc_gateway "+backend.Addr()+" {\n\tcors https://app.example\n}")
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	for origin, want := range map[string]int{"https://app.example": 101, "https://evil.example": 403, "http://" + s.addr: 101} {
		if got := s.handshake("/v1/chat", origin); got != want {
			t.Errorf("%s: status %d, want %d", origin, got, want)
		}
	}
}

// handshake opens a WebSocket, closes it, and returns the status.
func (s *site) handshake(path, origin string) int {
	s.t.Helper()
	req, err := http.NewRequest(http.MethodGet, "http://"+s.addr+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	for name, value := range map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Origin": origin,
		"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
	} {
		req.Header.Set(name, value)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		s.t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

func TestPreflights(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	s.load("", `log {
		output file `+s.dir+`/access.json
	}
	grpc_gateway `+backend.Addr()+` {
		cors https://app.example
		route ARCHIVE /v1/boxes/{text} gateway.test.v1.Echo/Unary
		route * /v1/any gateway.test.v1.Echo/Unary
	}`)
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	for _, tc := range []struct{ name, path, requested, want string }{
		{"a custom method of the config", "/v1/boxes/a", "ARCHIVE", "ARCHIVE"},
		{"a custom method of the schema", "/v1/echo", "REPORT", "GET, HEAD, POST, REPORT"},
		{"a route for any method", "/v1/any", "PURGE", "DELETE, GET, HEAD, PATCH, POST, PURGE, PUT"},
		{"a method's name", "/gateway.test.v1.Library/DeleteBook", "POST", "POST"},
		{"the name of a method that a Connect GET can call", "/gateway.test.v1.Library/GetBook", "GET", "GET, HEAD, POST"},
		{"an unknown path", "/nowhere", "PUT", "GET, HEAD, POST, PUT, PATCH, DELETE"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := s.request("OPTIONS", tc.path, "Origin", "https://app.example", "Access-Control-Request-Method", tc.requested)
			if allowed := got.header.Get("Access-Control-Allow-Methods"); got.status != http.StatusNoContent || allowed != tc.want {
				t.Errorf("status %d, %s; want %s", got.status, allowed, tc.want)
			}
		})
	}

	s.want(s.request("OPTIONS", "/v1/refused", "Origin", "https://evil.example", "Access-Control-Request-Method", "POST"), http.StatusForbidden)
	eventually(t, "the refused preflight is in the access log", func() bool {
		entry := accessEntry(t, s.dir+"/access.json", "/v1/refused")
		if entry == nil {
			return false
		}
		if entry["grpc_code"] != "PERMISSION_DENIED" || !strings.Contains(entry["grpc_error"].(string), "evil.example") {
			t.Errorf("got %v", entry)
		}
		return true
	})
}

// A site exempts preflights from its authentication as docs/rpc.md says. Nothing else is exempt.
func TestPreflightsBesideAuthentication(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	s.load("", `
	@call not {
		method OPTIONS
		header Origin *
		header Access-Control-Request-Method *
	}
	respond @call 401
	grpc_gateway `+backend.Addr()+` {
		cors https://app.example
		route * /v1/any gateway.test.v1.Echo/Unary
	}`)
	const method, origin = "Access-Control-Request-Method", "Origin"
	// The answer waits for the schema, whose reading the backend counts as a call.
	s.want(s.request("OPTIONS", "/v1/any", origin, "https://app.example", method, "PUT"), http.StatusNoContent)
	calls := backend.Calls()
	for _, tc := range []struct {
		name    string
		method  string
		headers []string
		status  int
	}{
		{"a preflight", "OPTIONS", []string{origin, "https://app.example", method, "PUT"}, 204},
		{"of another origin", "OPTIONS", []string{origin, "https://evil.example", method, "PUT"}, 403},
		{"of an empty origin", "OPTIONS", []string{origin, "", method, "PUT"}, 403},
		{"for an empty method", "OPTIONS", []string{origin, "https://app.example", method, ""}, 204},
		{"another OPTIONS", "OPTIONS", nil, 401},
		{"without a method", "OPTIONS", []string{origin, "https://app.example"}, 401},
		{"without an origin", "OPTIONS", []string{method, "PUT"}, 401},
		{"a call", "POST", []string{origin, "https://app.example", method, "PUT"}, 401},
	} {
		if got := s.request(tc.method, "/v1/any", tc.headers...); got.status != tc.status {
			t.Errorf("%s: %s, want %d", tc.name, got, tc.status)
		}
	}
	if n := backend.Calls() - calls; n != 0 {
		t.Errorf("%d calls were made", n)
	}
}

// accessEntry is the entry of the access log for a path, nil if there is none yet.
func accessEntry(t testing.TB, file, path string) map[string]any {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		return nil
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var entry map[string]any
		if json.Unmarshal(lines.Bytes(), &entry) != nil {
			continue
		}
		if request, ok := entry["request"].(map[string]any); ok && request["uri"] == path {
			return entry
		}
	}
	return nil
}
