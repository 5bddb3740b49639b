package module_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-grpc/gateway/internal/testkit"
	"github.com/caddy-grpc/gateway/module"
)

// TestSubset checks that one of two instances is connected, that it is the same one after a reload
// and for the same key, and that operators see that there are two.
func TestSubset(t *testing.T) {
	a, b := testkit.StartBackend(t), testkit.StartBackend(t)
	s := newSite(t)
	t.Setenv("TEST_POD", "pod-7")
	block := func(options string) string {
		return "grpc_gateway {\n upstream user {\n discover static " + a.Addr() + " " + b.Addr() + "\n " + options + "\n }\n }"
	}
	s.load(block("subset 1 {env.TEST_POD}"), "grpc_gateway user")
	for range 5 {
		s.want(s.get("/v1/echo/x"), http.StatusOK)
	}
	var v module.UpstreamView
	s.ask("/grpc_gateway/upstreams/user", &v)
	if v.Subset == nil || v.Subset.Known != 2 || v.Subset.InUse != 1 || len(v.Endpoints) != 1 || v.Registry.Instances != 2 {
		t.Fatalf("upstream: %+v", v)
	}
	if open := a.Open() + b.Open(); open != 1 {
		t.Errorf("%d connections are open", open)
	}
	out, _, err := run(t, "", "upstreams", "--address", s.admin)
	if want := "subset: 1 of 2 instances are used"; err != nil || !strings.Contains(out, want) {
		t.Errorf("the command line says %q, %v; want %q in it", out, err, want)
	}
	key, member := v.Key, v.Endpoints[0].Address
	s.load(block("subset 1 pod-7"), "grpc_gateway user")
	s.ask("/grpc_gateway/upstreams/user", &v)
	if v.Key != key || v.Endpoints[0].Address != member {
		t.Errorf("after a reload with the same key: %+v", v)
	}
}

// TestSubsetTellsGatewaysApart checks that there is a key without configuration, and that it stays.
func TestSubsetTellsGatewaysApart(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	global := "grpc_gateway {\n upstream user {\n discover static " + backend.Addr() + "\n subset 5\n }\n }"
	var keys []string
	for range 2 {
		s.load(global, "grpc_gateway user")
		s.want(s.get("/v1/echo/x"), http.StatusOK)
		var v module.UpstreamView
		s.ask("/grpc_gateway/upstreams/user", &v)
		keys = append(keys, v.Key)
	}
	if keys[0] != keys[1] {
		t.Errorf("the pool has the keys %q", keys)
	}
}

// TestHealthCheck checks that an instance that is not SERVING gets no calls, and that operators see
// why.
func TestHealthCheck(t *testing.T) {
	for _, service := range []string{"", "gateway.test.v1.Echo"} {
		t.Run(service, func(t *testing.T) {
			backend := testkit.StartBackend(t)
			backend.SetHealth("gateway.test.v1.Echo", true)
			s := newSite(t)
			s.load("grpc_gateway {\n upstream user {\n discover static "+backend.Addr()+"\n health_check "+service+"\n }\n }", "grpc_gateway user")
			s.want(s.get("/v1/echo/x"), http.StatusOK)
			health := func() (state, answer string) {
				var v module.UpstreamView
				s.ask("/grpc_gateway/upstreams/user", &v)
				return string(v.Endpoints[0].State), v.Endpoints[0].Health
			}
			if state, answer := health(); state != "READY" || answer != "SERVING" {
				t.Errorf("at first it is %s, %s", state, answer)
			}
			backend.SetHealth(service, false)
			eventually(t, "it is unhealthy", func() bool { return upstreamHas(s, "unhealthy") })
			if state, answer := health(); state != "unhealthy" || answer != "NOT_SERVING" {
				t.Errorf("then it is %s, %s", state, answer)
			}
			var got answer
			eventually(t, "calls fail", func() bool { got = s.do("GET", "/v1/echo/x", ""); return got.status != http.StatusOK })
			if got.status != http.StatusServiceUnavailable || got.field("message") != "no instance of the service is healthy" {
				t.Errorf("a call is answered with %s", got)
			}
			out, _, err := run(t, "", "upstreams", "--address", s.admin)
			if want := "health check: NOT_SERVING"; err != nil || !strings.Contains(out, want) {
				t.Errorf("the command line says %q, %v; want %q in it", out, err, want)
			}
			backend.SetHealth(service, true)
			eventually(t, "calls succeed", func() bool { return s.do("GET", "/v1/echo/x", "").status == http.StatusOK })
		})
	}
}
