package module_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-grpc/gateway/discovery"
	"github.com/caddy-grpc/gateway/internal/testkit"
	"github.com/caddy-grpc/gateway/module"
)

// manualCatalog is a registry of many services that a test drives by hand.
type manualCatalog struct {
	Name string `json:"name,omitempty"`
}

func init() { caddy.RegisterModule(new(manualCatalog)) }

func (*manualCatalog) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.grpc_gateway.catalogs.manual", New: func() caddy.Module { return new(manualCatalog) }}
}

func (m *manualCatalog) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if !d.AllArgs(&m.Name) {
		return d.ArgErr()
	}
	return nil
}

func (m *manualCatalog) ID() string { return "manual:" + m.Name }

func (m *manualCatalog) Watch(ctx context.Context, publish func(discovery.State)) {
	manualStates[m.Name].Watch(ctx, publish)
}

// fleet is a registry of a test.
type fleet struct {
	t      *testing.T
	source *testkit.Source
	list   []discovery.Endpoint
}

// newFleet makes a registry named after the test. It has answered, with no service.
func newFleet(t *testing.T) *fleet {
	module.ResetDigests()
	f := &fleet{t: t, source: testkit.NewSource("manual:" + t.Name())}
	manualStates[t.Name()] = f.source
	f.source.Set()
	return f
}

// global is the global option for a catalog `fleet` with these options.
func (f *fleet) global(options string) string {
	return "grpc_gateway {\n catalog fleet manual " + f.t.Name() + " {\n " + options + "\n }\n }"
}

// add registers an instance. Later ones are younger.
func (f *fleet) add(service, addr string) {
	f.addWith(discovery.Endpoint{ID: service + "/" + addr, Service: service, Addr: addr, Created: int64(len(f.list) + 1)})
}

func (f *fleet) addWith(e discovery.Endpoint) {
	f.list = append(f.list, e)
	f.source.Set(f.list...)
}

// remove takes the instances of a service out.
func (f *fleet) remove(service string) {
	var list []discovery.Endpoint
	for _, e := range f.list {
		if e.Service != service {
			list = append(list, e)
		}
	}
	f.list = list
	f.source.Set(list...)
}

const siteOfFleet = "grpc_gateway catalog:fleet {\n expose *\n }"

// startService starts a gRPC service whose method Get answers with a name.
func startService(t *testing.T, grpcService, name string, rules ...string) (addr string) {
	t.Helper()
	return testkit.StartNamed(t, grpcService, name, rules...).Addr()
}

func (s *site) catalog() (v module.CatalogView) {
	s.t.Helper()
	var views []module.CatalogView
	s.ask("/grpc_gateway/catalog", &views)
	if len(views) != 1 {
		s.t.Fatalf("catalogs: %+v", views)
	}
	return views[0]
}

// service returns a service of the only catalog, or the zero value.
func (s *site) service(name string) module.ServiceView {
	s.t.Helper()
	for _, v := range s.catalog().Services {
		if v.Name == name {
			return v
		}
	}
	return module.ServiceView{}
}

func (s *site) status(path string) int { return s.do("GET", path, "").status }

// linesWith returns the lines of the log that have all of the texts.
func (s *site) linesWith(texts ...string) (lines []string) {
	raw, _ := os.ReadFile(s.logFile())
	for line := range strings.Lines(string(raw)) {
		all := true
		for _, text := range texts {
			all = all && strings.Contains(line, text)
		}
		if all {
			lines = append(lines, line)
		}
	}
	return lines
}

// TestCatalogServicesComeAndGo: a service is on the web when it registers, and leaves with its last
// instance. Others do not notice.
func TestCatalogServicesComeAndGo(t *testing.T) {
	f := newFleet(t)
	s := newSite(t)
	f.add("user.rpc", startService(t, "user.v1.Users", "user", "GET /v1/users/{value}"))
	s.load(f.global(""), siteOfFleet)
	if got := s.want(s.get("/v1/users/7"), http.StatusOK); got.body != `"user"` {
		t.Errorf("got %s", got)
	}
	if got := s.status("/v1/orders/7"); got != http.StatusNotFound {
		t.Errorf("a service that nobody knows: %d", got)
	}

	f.add("order.rpc", startService(t, "order.v1.Orders", "order", "GET /v1/orders/{value}"))
	eventually(t, "the new service answers", func() bool { return s.status("/v1/orders/7") == http.StatusOK })
	s.want(s.do("POST", "/order.v1.Orders/Get", `"x"`), http.StatusOK)
	if v := s.service("order.rpc"); v.State != "serving" || v.Upstream != "fleet:order.rpc" || v.Methods != 1 || v.Instances != 1 || v.GRPCServices[0] != "order.v1.Orders" {
		t.Errorf("service: %+v", v)
	}
	var one module.UpstreamView
	s.ask("/grpc_gateway/upstreams/fleet:order.rpc", &one)
	if len(one.Endpoints) != 1 || !one.Registry.Synced || one.Registry.Revision == 0 {
		t.Errorf("upstream: %+v", one)
	}

	f.remove("order.rpc")
	eventually(t, "it leaves", func() bool { return s.service("order.rpc").State == "leaving" })
	eventually(t, "its instance is not used", func() bool { return s.status("/v1/orders/7") == http.StatusServiceUnavailable })
	eventually(t, "it has gone", func() bool { return s.service("order.rpc").Name == "" })
	eventually(t, "its routes have gone", func() bool { return s.status("/v1/orders/7") == http.StatusNotFound })
	s.want(s.get("/v1/users/7"), http.StatusOK)

	out, _, err := run(t, "", "catalog", "--address", s.admin)
	if err != nil || !strings.Contains(out, "user.rpc") || !strings.Contains(out, "serving") {
		t.Errorf("the command line says %q, %v", out, err)
	}
	s.shutdown()
	if n := f.source.Watchers(); n != 0 {
		t.Errorf("%d watches are left over", n)
	}
}

// TestCatalogOverReloads: a reload that keeps the catalog makes no connection and no watch, and
// fails no call.
func TestCatalogOverReloads(t *testing.T) {
	f := newFleet(t)
	backend := testkit.StartBackend(t)
	f.add("echo", backend.Addr())
	s := newSite(t)
	s.load(f.global(""), siteOfFleet)
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	accepted := backend.Accepted()
	for i := range 3 {
		s.load(f.global(fmt.Sprintf("limit %d", 10+i)), siteOfFleet)
		if got := s.status("/v1/echo/x"); got != http.StatusOK {
			t.Errorf("after reload %d: %d", i, got)
		}
	}
	if n := backend.Accepted(); n != accepted {
		t.Errorf("%d connections after the reloads, %d before", n, accepted)
	}
	if n := f.source.Watchers(); n != 1 {
		t.Errorf("%d watches", n)
	}
	f.add("user", startService(t, "user.v1.Users", "user", "GET /v1/users/{value}"))
	eventually(t, "a service that comes after a reload answers", func() bool { return s.status("/v1/users/7") == http.StatusOK })
}

// TestCatalogTellsWhatIsWrong: what cannot be called is listed with its reason, and is logged once.
func TestCatalogTellsWhatIsWrong(t *testing.T) {
	web, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.NotFoundHandler()}
	go func() { _ = server.Serve(web) }()
	t.Cleanup(func() { server.Close() })
	f := newFleet(t)
	s := newSite(t)
	f.add("user", startService(t, "user.v1.Users", "user", "GET /v1/users/{value}"))
	f.add("web", web.Addr().String())
	f.add("silent", testkit.StartBackend(t, testkit.WithReflection(false, false)).Addr())
	f.add("down", freeAddr(t))
	f.add("admin", s.admin)
	f.add("itself", s.addr)
	f.add("bad\nname", freeAddr(t))
	s.load(f.global(""), siteOfFleet)
	s.want(s.get("/v1/users/7"), http.StatusOK)
	for name, want := range map[string]string{
		"web":    "",
		"silent": "offers no server reflection",
		"down":   "connection refused",
		"admin":  "this gateway",
		"itself": "this gateway",
	} {
		eventually(t, name+" has failed", func() bool { return s.service(name).State == "failed" })
		if v := s.service(name); !strings.Contains(v.Reason, want) || v.Reason == "" {
			t.Errorf("%s: %q, want %q in it", name, v.Reason, want)
		}
	}
	eventually(t, "nothing is pending", func() bool { return s.status("/v1/orders/7") == http.StatusNotFound })
	if v := s.catalog(); v.SkippedEntries != 1 || !strings.Contains(v.Registry.Skipped[0].Reason, "without spaces and control characters") {
		t.Errorf("skipped: %+v", v.Registry.Skipped)
	}
	eventually(t, "it is logged", func() bool { return len(s.linesWith("cannot be called")) > 0 })
	if lines := s.linesWith("cannot be called"); len(lines) != 1 {
		t.Errorf("the log has %d lines about it: %s", len(lines), lines)
	}
	if lines := s.linesWith("fleet:", `"level":"warn"`); len(lines) > 2 {
		t.Errorf("the log has %d warnings about services: %s", len(lines), lines)
	}
}

// TestCatalogOldestKeeps: of two services with the same method or route the older one keeps it,
// after a rolling restart and after a restart of the gateway, too.
func TestCatalogOldestKeeps(t *testing.T) {
	f := newFleet(t)
	f.add("old", startService(t, "user.v1.Users", "old", "GET /v1/users/{value}"))
	s := newSite(t)
	s.load(f.global(""), siteOfFleet)
	s.want(s.get("/v1/users/me"), http.StatusOK)
	f.add("a-thief", startService(t, "user.v1.Users", "thief", "GET /v1/users/{value}"))
	f.add("b-thief", startService(t, "b.v1.B", "thief", "GET /v1/users/me"))
	kept := func(when string) {
		t.Helper()
		eventually(t, "conflicts are shown "+when, func() bool {
			return len(s.service("a-thief").Problems) > 0 && len(s.service("b-thief").Problems) > 0
		})
		for range 5 {
			for path, body := range map[string]string{"/v1/users/me": "", "/user.v1.Users/Get": `"x"`} {
				method := "GET"
				if body != "" {
					method = "POST"
				}
				if got := s.do(method, path, body); got.body != `"old"` {
					t.Fatalf("%s: %s is answered with %s", when, path, got)
				}
			}
		}
	}
	kept("at first")
	s.want(s.do("POST", "/b.v1.B/Get", `"x"`), http.StatusOK)
	if p := s.service("b-thief").Problems[0]; !strings.Contains(p, `it would take requests from GET /v1/users/{value} of upstream "fleet:old"`) {
		t.Errorf("problem: %s", p)
	}

	// All instances of the old service register again, and are the youngest by their keys.
	f.list = append(f.list, discovery.Endpoint{ID: "old/2", Service: "old", Addr: startService(t, "user.v1.Users", "old", "GET /v1/users/{value}"), Created: 100})
	f.source.Set(f.list...)
	eventually(t, "there are two", func() bool { return s.service("old").Instances == 2 })
	f.list = f.list[1:]
	f.source.Set(f.list...)
	eventually(t, "there is one", func() bool { return s.service("old").Instances == 1 })
	kept("after a rolling restart")

	time.Sleep(2 * time.Second) // until the list is on disk
	s.shutdown()
	again := newSite(t)
	again.load(f.global(""), siteOfFleet)
	s = again
	s.want(s.get("/v1/users/me"), http.StatusOK)
	kept("after a restart")
}

// TestCatalogFilters: what include, exclude, require and limit leave out is not opened.
func TestCatalogFilters(t *testing.T) {
	f := newFleet(t)
	backend := testkit.StartBackend(t)
	add := func(service string, metadata map[string]string) {
		f.addWith(discovery.Endpoint{ID: service, Service: service, Addr: backend.Addr(), Created: int64(len(f.list) + 1), Metadata: metadata})
	}
	yes := map[string]string{"gateway": "true", "zone": "eu-1"}
	add("user.rpc", yes)
	add("user-internal", yes)
	add("order", yes)
	add("user.no", map[string]string{"gateway": "false"})
	add("user.without", nil)
	add("user.second", yes)
	add("user.third", yes)
	s := newSite(t)
	s.load(f.global("include user*\n exclude *-internal\n require gateway=true zone=eu-*\n limit 2"), siteOfFleet)
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	states := func() string {
		var out []string
		for _, v := range s.catalog().Services {
			out = append(out, v.Name+" "+v.State)
		}
		return strings.Join(out, ", ")
	}
	eventually(t, "two are open", func() bool {
		return states() == "user.rpc serving, user.second serving, user.third waiting"
	})
	if v := s.catalog(); v.LeftOut != 4 {
		t.Errorf("%d services are left out", v.LeftOut)
	}
	f.remove("user.rpc")
	eventually(t, "the third one is opened", func() bool { return states() == "user.second serving, user.third serving" })
}

// TestCatalogRests: a service without calls keeps one connection to one instance.
func TestCatalogRests(t *testing.T) {
	f := newFleet(t)
	a, b, c := testkit.StartBackend(t), testkit.StartBackend(t), testkit.StartBackend(t)
	for _, backend := range []*testkit.Backend{a, b, c} {
		f.add("echo", backend.Addr())
	}
	open := func() int { return a.Open() + b.Open() + c.Open() }
	s := newSite(t)
	s.load(f.global("idle 1s"), siteOfFleet)
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	eventually(t, "all are connected", func() bool { return open() == 3 })
	eventually(t, "one is connected", func() bool { return open() == 1 && s.service("echo").Resting })
	if got := s.status("/v1/echo/x"); got != http.StatusOK {
		t.Errorf("the first call after the rest: %d", got)
	}
	eventually(t, "all are connected again", func() bool { return open() == 3 && !s.service("echo").Resting })
	eventually(t, "one is connected again", func() bool { return open() == 1 })
	s.load(f.global(""), siteOfFleet)
	eventually(t, "a config without idle connects all", func() bool { return open() == 3 })
}

// TestCatalogCannotTakeGRPCsOwn: no service of a registry becomes gRPC's own.
func TestCatalogCannotTakeGRPCsOwn(t *testing.T) {
	f := newFleet(t)
	f.add("own", startService(t, "grpc.health.v1.Health", "stolen", "GET /v1/health"))
	f.add("user", startService(t, "user.v1.Users", "user", "GET /v1/users/{value}"))
	s := newSite(t)
	s.load(f.global(""), siteOfFleet)
	s.want(s.get("/v1/users/7"), http.StatusOK)
	for _, path := range []string{"/grpc.health.v1.Health/Get", "/grpc.health.v1.Health/Check"} {
		if got := s.do("POST", path, `"x"`); got.status == http.StatusOK || got.body == `"stolen"` {
			t.Errorf("%s: %s", path, got)
		}
	}
	if got := s.get("/v1/health"); got.status == http.StatusOK {
		t.Errorf("a route of it: %s", got)
	}
}

// TestCatalogChurn: a registration 50 times a second, each under another name, disturbs nobody.
func TestCatalogChurn(t *testing.T) {
	f := newFleet(t)
	f.add("user", startService(t, "user.v1.Users", "user", "GET /v1/users/{value}"))
	s := newSite(t)
	s.load(f.global("limit 20"), siteOfFleet)
	s.want(s.get("/v1/users/7"), http.StatusOK)
	junk := freeAddr(t)
	for i := range 150 {
		f.list = f.list[:1]
		f.add(fmt.Sprintf("junk-%d", i), junk)
		if got := s.status("/v1/users/7"); got != http.StatusOK {
			t.Fatalf("after %d registrations: %d", i, got)
		}
		if i%10 == 0 {
			if got := s.status("/v1/unknown"); got != http.StatusNotFound {
				t.Fatalf("a path that nobody has, after %d registrations: %d", i, got)
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	f.remove("junk-149")
	eventually(t, "all of them have gone", func() bool { return len(s.catalog().Services) == 1 })
	if lines := s.linesWith(`"level":"warn"`); len(lines) > 5 {
		t.Errorf("the log has %d warnings: %s", len(lines), lines)
	}
}

// TestCatalogWaitsForItsRegistry: until the registry has answered, unknown paths are 503.
func TestCatalogWaitsForItsRegistry(t *testing.T) {
	f := newFleet(t)
	f.source.SetState(discovery.State{Err: fmt.Errorf("no leader")})
	s := newSite(t)
	s.load(f.global("upstream {\n snapshot off\n }"), siteOfFleet)
	got := s.do("GET", "/v1/users/7", "")
	if got.status != http.StatusServiceUnavailable || strings.Contains(got.body, "no leader") {
		t.Errorf("got %s", got)
	}
	var handlers []module.HandlerView
	s.ask("/grpc_gateway/routes", &handlers)
	if p := handlers[0].PendingUpstreams; len(p) != 1 || p[0].Upstream != "catalog:fleet" || p[0].Reason != "no leader" {
		t.Errorf("pending: %+v", p)
	}
	f.add("user", startService(t, "user.v1.Users", "user", "GET /v1/users/{value}"))
	eventually(t, "it answers", func() bool { return s.status("/v1/users/7") == http.StatusOK })
}

// TestCatalogConfigs refuses configs that cannot be meant.
func TestCatalogConfigs(t *testing.T) {
	newSite(t)
	const registry = `"registry": {"source": "manual", "name": "x"}`
	for name, tt := range map[string]struct{ catalog, handler, want string }{
		"no expose":      {registry, `"catalogs": ["a"]`, "expose is required with a catalog"},
		"unknown":        {registry, `"catalogs": ["b"], "expose": ["*"]`, `there is no catalog named "b"`},
		"twice":          {registry, `"catalogs": ["a", "a"], "expose": ["*"]`, `"a" comes twice`},
		"no registry":    {`"limit": 5`, `"catalogs": ["a"], "expose": ["*"]`, `"registry" is required`},
		"limit":          {registry + `, "limit": 10001`, `"catalogs": ["a"], "expose": ["*"]`, "from 1 to 10000"},
		"idle":           {registry + `, "idle": "1ms"`, `"catalogs": ["a"], "expose": ["*"]`, "at least 1s"},
		"pattern":        {registry + `, "include": [""]`, `"catalogs": ["a"], "expose": ["*"]`, "expected the name of a service"},
		"require":        {registry + `, "require": {"": "x"}`, `"catalogs": ["a"], "expose": ["*"]`, "expected <name>=<value>"},
		"discover":       {registry + `, "upstream": {"discover": {"source": "static"}}`, `"catalogs": ["a"], "expose": ["*"]`, "the catalog finds the instances"},
		"require_ready":  {registry + `, "upstream": {"require_ready": "1s"}`, `"catalogs": ["a"], "expose": ["*"]`, "no service of a catalog is required"},
		"descriptors":    {registry + `, "upstream": {"descriptors": {"source": "proto", "files": ["a.proto"]}}`, `"catalogs": ["a"], "expose": ["*"]`, "would describe every service"},
		"bad settings":   {registry + `, "upstream": {"connections": -1}`, `"catalogs": ["a"], "expose": ["*"]`, "expected a number above 0"},
		"another module": {`"registry": {"source": "static"}`, `"catalogs": ["a"], "expose": ["*"]`, "unknown module: http.grpc_gateway.catalogs.static"},
	} {
		t.Run(name, func(t *testing.T) {
			config := `{"admin": {"disabled": true, "config": {"persist": false}}, "apps": {"grpc_gateway": {"catalogs": {"a": {` + tt.catalog + `}}},
				"http": {"servers": {"a": {"routes": [{"handle": [{"handler": "grpc_gateway", ` + tt.handler + `}]}]}}}}}`
			if err := caddy.Load([]byte(config), true); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q in it", err, tt.want)
			}
		})
	}
}
