package module_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-grpc/gateway/internal/testkit"
	"github.com/caddy-grpc/gateway/module"
)

// TestOverview: the page learns what there is in one answer, and that nothing has changed in one
// without a body.
func TestOverview(t *testing.T) {
	backend := testkit.StartBackend(t)
	f := newFleet(t)
	f.add("b.rpc", startService(t, "b.v1.B", "b"))
	s := newSite(t)
	global := strings.TrimSuffix(f.global("limit 1"), "}") + "upstream user {\n discover static " + backend.Addr() + " 127.0.0.1:1\n }\n }"
	s.load(global, "handle /b.v1.B/* {\n"+siteOfFleet+"\n}\nhandle {\n grpc_gateway user {\n route GET /mine gateway.test.v1.Echo/Nothing\n }\n}")
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	f.add("c.rpc", "127.0.0.1:1")

	var o module.Overview
	eventually(t, "the overview is complete", func() bool {
		s.ask("/grpc_gateway/overview?upstream=user&find=127.0.0.1:1+fail", &o)
		return len(o.Services) == 2 && o.Services[0].Worst != nil && len(o.Catalogs[0].Services) == 2 && o.Catalogs[0].Services[0].State == "serving" &&
			o.Detail.Matching == 1
	})
	if u := o.Services[0]; u.Name != "user" || u.States["READY"] != 1 || u.Worst.Address != "127.0.0.1:1" || u.Worst.Error == "" || u.Picks != 1 ||
		!u.Registry.Synced || u.Schema.Methods != 12 {
		t.Errorf("upstream: %+v", u)
	}
	if c := o.Catalogs[0]; c.Name != "fleet" || c.Services[0].Upstream != "fleet:b.rpc" || c.Services[1].State != "waiting" ||
		!strings.Contains(c.Services[1].Reason, "limit of 1") {
		t.Errorf("catalog: %+v", c)
	}
	if d := o.Detail; d.Name != "user" || len(d.Endpoints) != 1 || d.Endpoints[0].Address != "127.0.0.1:1" {
		t.Errorf("detail: %+v", d)
	}
	if r := o.Routes; r.ProblemCount != 1 || len(r.Problems) != 1 || !strings.Contains(r.Problems[0].String(), "Nothing") {
		t.Errorf("routes: %+v", r)
	}
}

// TestViewsHaveTags: who has an answer already gets 304, until something changes.
func TestViewsHaveTags(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	s.load("grpc_gateway {\n upstream user {\n discover static "+backend.Addr()+"\n }\n }", "handle_path /gateway/* {\n grpc_gateway_status\n}\ngrpc_gateway user")
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	ask := func(address, tag string) answer {
		req, err := http.NewRequest(http.MethodGet, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("If-None-Match", tag)
		return send(http.DefaultClient, req)
	}
	for _, path := range []string{"/overview", "/overview?upstream=user", "/routes", "/catalog"} {
		address := "http://" + s.admin + "/grpc_gateway" + path
		eventually(t, "nothing is under way", func() bool {
			var o module.Overview
			s.ask("/grpc_gateway/overview", &o)
			return len(o.Draining) == 0 && !slices.ContainsFunc(o.Services, func(v module.OverviewService) bool { return v.Leases > 0 })
		})
		first := ask(address, `"other"`)
		tag := first.header.Get("ETag")
		if first.status != http.StatusOK || len(tag) < 8 || !strings.Contains(first.header.Get("Server-Timing"), "dur=") {
			t.Fatalf("GET %s: %s %v", path, first, first.header)
		}
		for _, match := range []string{tag, "W/" + tag, `"a", ` + tag} {
			if again := ask(address, match); again.status != http.StatusNotModified || again.body != "" || again.header.Get("ETag") != tag {
				t.Errorf("GET %s with %s: %s %v", path, match, again, again.header)
			}
		}
		s.want(s.get("/v1/echo/x"), http.StatusOK)
		if changed := ask(address, tag); strings.HasPrefix(path, "/overview") && changed.status != http.StatusOK {
			t.Errorf("GET %s after a call: %s", path, changed)
		}
	}
	if got := s.get("/gateway/overview"); got.status != http.StatusOK || got.header.Get("ETag") == "" {
		t.Errorf("at the site: %s", got)
	}
}

// TestRevisionOfRoutes: the page reads the routes again when, and only when, there are others.
func TestRevisionOfRoutes(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	s.load("", "grpc_gateway "+backend.Addr())
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	var before, same, after module.Overview
	s.ask("/grpc_gateway/overview", &before)
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	s.ask("/grpc_gateway/overview", &same)
	s.load("", "grpc_gateway "+backend.Addr()+" {\n route GET /mine/{text} gateway.test.v1.Echo/Unary\n }")
	s.ask("/grpc_gateway/overview", &after)
	if before.Routes.Revision == "" || before.Routes.Revision != same.Routes.Revision || same.Routes.Revision == after.Routes.Revision {
		t.Errorf("the revisions are %q, %q after a call, and %q after a reload", before.Routes.Revision, same.Routes.Revision, after.Routes.Revision)
	}
}
