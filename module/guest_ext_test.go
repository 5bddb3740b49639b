package module_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-grpc/gateway/discovery"
	"github.com/caddy-grpc/gateway/internal/testkit"
	"github.com/caddy-grpc/gateway/module"
)

// manual is a source of instances as a third party would write one. A test sets its state.
type manual struct {
	Name string `json:"name,omitempty"`
}

// manualStates are the states by name.
var manualStates = map[string]*testkit.Source{}

func init() { caddy.RegisterModule(new(manual)) }

func (*manual) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.grpc_gateway.discovery.manual", New: func() caddy.Module { return new(manual) }}
}

func (m *manual) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if !d.AllArgs(&m.Name) {
		return d.ArgErr()
	}
	return nil
}

func (m *manual) ID() string { return "manual:" + m.Name }

func (m *manual) Watch(ctx context.Context, publish func(discovery.State)) {
	manualStates[m.Name].Watch(ctx, publish)
}

func TestGuestOfAThirdParty(t *testing.T) {
	a, b := testkit.StartBackend(t), testkit.StartBackend(t)
	source := testkit.NewSource("manual:echo", a.Addr())
	manualStates["echo"] = source
	s := newSite(t)
	s.load("", "grpc_gateway {\n timeout 20s\n upstream echo {\n discover manual echo\n }\n }")
	s.want(s.get("/v1/echo/x"), http.StatusOK)

	view := func() (v module.UpstreamView) {
		s.ask("/grpc_gateway/upstreams/echo", &v)
		return v
	}
	call := make(chan answer, 1)
	go func() { call <- s.get("/v1/echo/x?script.delay=1s") }()
	eventually(t, "in flight", func() bool { return a.InFlight() > 0 })
	source.SetAddrs(b.Addr())
	eventually(t, "the new instance is used", func() bool { s.get("/v1/echo/x"); return b.Calls() > 1 })
	if got := <-call; got.status != http.StatusOK {
		t.Errorf("the call to the instance that left: %s", got)
	}

	source.SetState(discovery.State{
		Synced:    true,
		Endpoints: []discovery.Endpoint{{ID: "one", Addr: b.Addr(), Weight: 3}},
		Skipped:   []discovery.Skipped{{ID: "two", Reason: "not an address"}},
		Revision:  42,
		Err:       errors.New("the registry is gone"),
	})
	eventually(t, "the registry's state is shown", func() bool { return view().Registry.Revision == 42 })
	if r := view().Registry; !r.Synced || !r.Stale || r.Error != "the registry is gone" || len(r.Skipped) != 1 || r.Skipped[0].Reason != "not an address" {
		t.Errorf("registry: %+v", r)
	}
	s.want(s.get("/v1/echo/x"), http.StatusOK)

	source.SetAddrs()
	eventually(t, "scaled to nothing", func() bool { return s.get("/v1/echo/x").status == http.StatusServiceUnavailable })
	source.SetAddrs(a.Addr())
	eventually(t, "and back", func() bool { return s.get("/v1/echo/x").status == http.StatusOK })
	s.shutdown()
	if n := source.Watchers(); n != 0 {
		t.Errorf("%d watches are left over", n)
	}
}

// TestOneWatchForAll lets several handlers share the watch, the connections and the schema of one
// service.
func TestOneWatchForAll(t *testing.T) {
	backend := testkit.StartBackend(t)
	source := testkit.NewSource("manual:shared", backend.Addr())
	manualStates["shared"] = source
	s := newSite(t)
	upstream := " {\n upstream echo {\n discover manual shared\n }\n }\n"
	s.load("", "grpc_gateway /v1/*"+upstream+"grpc_gateway /gateway.test.v1.*"+upstream)
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	s.want(s.do("POST", "/gateway.test.v1.Echo/Unary", "{}"), http.StatusOK)
	if n := source.Watchers(); n != 1 {
		t.Errorf("%d watches", n)
	}
	if n := backend.Accepted(); n != 1 {
		t.Errorf("%d connections", n)
	}
	var views []module.UpstreamView
	s.ask("/grpc_gateway/upstreams", &views)
	if len(views) != 1 || views[0].Name != "echo" {
		t.Errorf("upstreams: %+v", views)
	}
}

// TestDifferentUpstreamsOfOneName checks that operators can tell them apart.
func TestDifferentUpstreamsOfOneName(t *testing.T) {
	a, b := testkit.StartBackend(t), testkit.StartBackend(t)
	s := newSite(t)
	upstream := func(addr string) string { return " {\n upstream echo {\n discover static " + addr + "\n }\n }\n" }
	s.load("", "grpc_gateway /v1/*"+upstream(a.Addr())+"grpc_gateway /gateway.test.v1.*"+upstream(b.Addr()))
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	s.want(s.do("POST", "/gateway.test.v1.Echo/Unary", "{}"), http.StatusOK)
	var views []module.UpstreamView
	s.ask("/grpc_gateway/upstreams", &views)
	if len(views) != 2 || views[0].Name == views[1].Name || !strings.HasPrefix(views[0].Name, "echo-") || !strings.HasPrefix(views[1].Name, "echo-") {
		t.Errorf("upstreams: %+v", views)
	}
	var handlers []module.HandlerView
	s.ask("/grpc_gateway/routes", &handlers)
	for _, h := range handlers {
		if len(h.Routes) == 0 || h.Routes[0].Upstream != h.Upstreams[0] {
			t.Errorf("the routes of %v name another upstream: %+v", h.Upstreams, h.Routes[0])
		}
	}
}

// TestJSONIsReadStrictly refuses options that do not exist.
func TestJSONIsReadStrictly(t *testing.T) {
	s := newSite(t)
	for _, field := range []string{`"openapi": "/x"`, `"stream": {"sse": true}`, `"upstreams": [{"retry": 3}]`, `"errors": "loud"`, `"query": "any"`, `"timeout": "soon"`} {
		config := `{"admin": {"disabled": true, "config": {"persist": false}}, "apps": {"http": {"servers": {"a": {"routes": [{"handle": [
			{"handler": "grpc_gateway", "upstreams": [{"discover": {"source": "static", "addresses": ["h:1"]}}], ` + field + `}]}]}}}}}`
		if err := caddy.Load([]byte(config), true); err == nil || !strings.Contains(err.Error(), "grpc_gateway") {
			t.Errorf("%s: %v", field, err)
		}
	}
	_ = s
}
