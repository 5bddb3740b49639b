package module_test

import (
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-grpc/gateway/internal/testkit"
	"github.com/caddy-grpc/gateway/module"
)

// A service at a Unix socket is called like any other, also if networks allows no address at all.
func TestUnixSocket(t *testing.T) {
	addr := "unix/" + filepath.Join(t.TempDir(), "a b.sock")
	testkit.StartBackend(t, testkit.WithAddress(addr))
	for name, body := range map[string]string{
		"as a target":         `grpc_gateway "` + addr + `"`,
		"as gRPC writes it":   "grpc_gateway " + strings.ReplaceAll(strings.Replace(addr, "unix/", "unix://", 1), " ", "%20"),
		"in a list":           "grpc_gateway {\n upstream echo {\n discover static \"" + addr + "\"\n networks {\n deny 0.0.0.0/0 ::/0\n }\n }\n }",
		"as reverse_proxy's":  `grpc_gateway "` + strings.Replace(addr, "unix/", "unix+h2c/", 1) + `"`,
		"with another option": "grpc_gateway \"" + addr + "\" {\n authority localhost\n }",
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.load("", body)
			got := s.want(s.get("/v1/echo/x"), http.StatusOK)
			if authority := got.field("metadata", ":authority"); authority != "localhost" {
				t.Errorf("authority %v, want localhost", authority)
			}
			var v []module.UpstreamView
			s.ask("/grpc_gateway/upstreams", &v)
			if len(v) != 1 || len(v[0].Endpoints) != 1 || v[0].Endpoints[0].Address != addr || len(v[0].Refused) > 0 {
				t.Errorf("the view: %+v", v)
			}
			var one module.UpstreamView
			s.ask((&url.URL{Path: "/grpc_gateway/upstreams/" + v[0].Name}).EscapedPath(), &one)
			if one.Name != v[0].Name {
				t.Errorf("the view of %s is that of %s", v[0].Name, one.Name)
			}
			out, _, err := run(t, "", "upstreams", "--address", s.admin)
			if err != nil || !strings.Contains(out, addr) {
				t.Errorf("%v: no %q in:\n%s", err, addr, out)
			}
			if metrics := s.admin0("GET", "/metrics").body; !strings.Contains(metrics, `caddy_grpc_gateway_endpoints{state="READY",upstream="`+v[0].Name+`"} 1`) {
				t.Error("the metrics have no instance of that name")
			}
		})
	}
}

// Instances see the authority of the config in calls, whatever their address is.
func TestAuthority(t *testing.T) {
	backend := testkit.StartBackend(t)
	t.Setenv("TEST_AUTHORITY", "from.env:443")
	for written, want := range map[string]string{
		"":                               backend.Addr(),
		"authority api.internal":         "api.internal",
		"authority api.internal:8443":    "api.internal:8443",
		"authority [::1]":                "[::1]",
		"authority {env.TEST_AUTHORITY}": "from.env:443",
	} {
		t.Run(want, func(t *testing.T) {
			s := newSite(t)
			s.load("", "grpc_gateway "+backend.Addr()+" {\n "+written+"\n }")
			got := s.want(s.get("/v1/echo/x"), http.StatusOK)
			if authority := got.field("metadata", ":authority"); authority != want {
				t.Errorf("authority %v, want %s", authority, want)
			}
		})
	}
	for written, want := range map[string]string{
		"{env.TEST_NO_AUTHORITY}": "authority: ",
		"{http.request.host}":     "authority: ",
	} {
		s := newSite(t)
		if err := s.tryLoad("", "grpc_gateway "+backend.Addr()+" {\n authority "+written+"\n }"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("authority %s: got error %v, want one with %q", written, err, want)
		}
	}
}
