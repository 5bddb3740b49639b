package e2e

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddy-grpc/gateway/e2e/kit"
)

// TestFleetExample: only who has credentials gets through to the services, and nobody can say for
// himself who he is. Preflight requests and health checks need none.
func TestFleetExample(t *testing.T) {
	auth := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path != "/verify" || r.Header.Get("X-User") != "":
			w.WriteHeader(http.StatusTeapot)
		case r.Header.Get("Authorization") != "Bearer good":
			w.WriteHeader(http.StatusUnauthorized)
		default:
			w.Header().Set("X-User", "ada")
		}
	}))
	defer auth.Close()
	t.Setenv("AUTH", auth.Listener.Addr().String())
	d := startDemo(t, "--listen-etcd", kit.FreeAddr(t), "--caddyfile", "../fleet/Caddyfile")

	const origin = "https://app.example.com"
	for _, c := range []struct {
		name, method, path, body string
		header                   http.Header
		status                   int
		want                     string
	}{
		{name: "no credentials", method: "GET", path: "/v1/users/1", status: http.StatusUnauthorized},
		{
			name: "credentials", method: "GET", path: "/v1/users/1", header: http.Header{"Authorization": {"Bearer good"}},
			status: http.StatusOK, want: "Ada Lovelace",
		},
		{
			name: "a name of one's own", method: "GET", path: "/v1/users/1",
			header: http.Header{"Authorization": {"Bearer good"}, "X-User": {"root"}}, status: http.StatusOK, want: "Ada Lovelace",
		},
		{
			name: "a preflight request", method: "OPTIONS", path: "/v1/users/1",
			header: http.Header{"Origin": {origin}, "Access-Control-Request-Method": {"GET"}}, status: http.StatusNoContent,
		},
		{name: "a health check", method: "POST", path: "/grpc.health.v1.Health/Check", body: "{}", status: http.StatusOK, want: "SERVING"},
	} {
		t.Run(c.name, func(t *testing.T) {
			req, err := http.NewRequest(c.method, fmt.Sprintf("http://%s%s", d.listen, c.path), strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			if c.header != nil {
				req.Header = c.header
			}
			if c.body != "" {
				req.Header.Set("Content-Type", "application/json")
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != c.status || !strings.Contains(string(body), c.want) {
				t.Errorf("%d %s, want %d and %q", resp.StatusCode, body, c.status, c.want)
			}
			if got := resp.Header.Get("Access-Control-Allow-Origin"); c.header.Get("Origin") != "" && got != origin {
				t.Errorf("Access-Control-Allow-Origin is %q, want %q", got, origin)
			}
		})
	}
	d.interrupt(t)
}
