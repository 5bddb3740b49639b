package module_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-grpc/gateway/internal/testkit"
	"github.com/caddy-grpc/gateway/module"
)

func TestAdminUpstreams(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	global := "grpc_gateway {\n upstream user {\n discover static " + backend.Addr() + " 127.0.0.1:1\n }\n }"
	s.load(global, "grpc_gateway user")
	for range 3 {
		s.want(s.get("/v1/echo/x"), http.StatusOK)
	}
	var v module.UpstreamView
	s.ask("/grpc_gateway/upstreams/user", &v)
	if v.Name != "user" || !strings.HasPrefix(v.Target, "static:///") || len(v.Key) != 16 || v.Generations < 1 {
		t.Errorf("upstream: %+v", v)
	}
	if r := v.Registry; !r.Synced || r.Stale || r.Instances != 2 || r.Error != "" {
		t.Errorf("registry: %+v", r)
	}
	if sc := v.Schema; sc.Source != "reflection" || !sc.Loaded || sc.Methods != 12 || len(sc.Services) != 2 {
		t.Errorf("schema: %+v", sc)
	}
	if len(v.Endpoints) != 2 {
		t.Fatalf("endpoints: %+v", v.Endpoints)
	}
	for _, e := range v.Endpoints {
		if e.Address == backend.Addr() {
			if e.State != "READY" || e.Connections != 1 || e.Picks < 3 {
				t.Errorf("endpoint: %+v", e)
			}
		} else if e.State == "READY" || e.LastError == "" {
			t.Errorf("endpoint that is down: %+v", e)
		}
	}
	key := v.Key

	s.load(global, "grpc_gateway user {\n timeout 1s\n }")
	s.ask("/grpc_gateway/upstreams/user", &v)
	if v.Key != key {
		t.Error("the key has changed with a timeout")
	}
	for path, status := range map[string]int{"/grpc_gateway/upstreams/nobody": 404, "/grpc_gateway/nothing": 404, "/grpc_gateway/": 200} {
		if got := s.admin0("GET", path); got.status != status {
			t.Errorf("GET %s: %s", path, got)
		}
	}
	if got := s.admin0("POST", "/grpc_gateway/upstreams"); got.status != 405 || got.header.Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: %s", got)
	}
}

// admin0 makes a request to the admin API.
func (s *site) admin0(method, path string) answer {
	req, err := http.NewRequest(method, "http://"+s.admin+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return send(http.DefaultClient, req)
}

func TestAdminWithoutGateway(t *testing.T) {
	s := newSite(t)
	s.load("", "respond hello")
	if got := s.admin0("GET", "/grpc_gateway/upstreams"); got.body != "[]" {
		t.Errorf("upstreams: %s", got)
	}
	if got := s.admin0("GET", "/grpc_gateway/routes"); got.body != "[]" {
		t.Errorf("routes: %s", got)
	}
}

func TestAdminRoutes(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	s.load("", "grpc_gateway "+backend.Addr()+" {\n route GET /mine/{text} gateway.test.v1.Echo/Unary\n }")
	s.want(s.get("/mine/x"), http.StatusOK)
	var views []module.HandlerView
	s.ask("/grpc_gateway/routes", &views)
	if len(views) != 1 {
		t.Fatalf("handlers: %+v", views)
	}
	want := []module.RouteView{
		{Method: "GET", Template: "/mine/{text}", RPC: "gateway.test.v1.Echo/Unary", Upstream: backend.Addr(), Source: "config"},
		{Method: "REPORT", Template: "/v1/echo", RPC: "gateway.test.v1.Echo/Unary", Upstream: backend.Addr(), Source: "annotation", Body: "*"},
		{Method: "POST", Template: "/gateway.test.v1.Echo/Bidi", RPC: "gateway.test.v1.Echo/Bidi", Upstream: backend.Addr(), Source: "rpc", Body: "*", Streams: "both"},
	}
	for _, w := range want {
		found := false
		for _, r := range views[0].Routes {
			found = found || r == w
		}
		if !found {
			t.Errorf("not among the routes: %+v", w)
		}
	}
}

func TestAccessLogAndPlaceholders(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	path := filepath.Join(s.dir, "access.json")
	s.load("", fmt.Sprintf(`log {
		output file %s
	}
	header >X-Code "{http.grpc_gateway.code} {http.grpc_gateway.method} {http.grpc_gateway.route} {http.grpc_gateway.protocol}"
	grpc_gateway %s`, path, backend.Addr()))
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	s.want(s.get("/v1/echo/y?script.fail_code=5"), http.StatusNotFound)

	var entries []map[string]any
	eventually(t, "two log lines", func() bool {
		raw, _ := os.ReadFile(path)
		entries = nil
		for _, line := range bytes.Split(bytes.TrimSpace(raw), []byte("\n")) {
			var e map[string]any
			if json.Unmarshal(line, &e) == nil {
				entries = append(entries, e)
			}
		}
		return len(entries) == 2
	})
	for i, code := range []string{"OK", "NOT_FOUND"} {
		for field, want := range map[string]string{
			"grpc_code": code, "grpc_upstream": backend.Addr(), "grpc_method": "gateway.test.v1.Echo/Unary",
			"grpc_route": "/v1/echo/{text}", "grpc_endpoint": backend.Addr(),
		} {
			if entries[i][field] != want {
				t.Errorf("line %d: %s is %v, want %s", i, field, entries[i][field], want)
			}
		}
	}
}

// TestLogOfWhatOutlivesAConfig loads a config that changes only where the log goes. Pools,
// registries and schemas stay, and what they log goes where the present config says.
func TestLogOfWhatOutlivesAConfig(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	set := filepath.Join(s.dir, "echo.binpb")
	protoset(t, set, nil)
	body := "grpc_gateway {\n upstream a {\n discover static " + backend.Addr() + "\n descriptors protoset " + set + "\n }\n }"
	s.load("", body)
	s.want(s.get("/v1/echo/x"), http.StatusOK)

	elsewhere := filepath.Join(s.dir, "elsewhere.json")
	moved := strings.Replace(s.caddyfile("", body), s.logFile(), elsewhere, 1)
	if err := caddy.Load(adapt(t, moved), true); err != nil {
		t.Fatal(err)
	}
	write(t, set, "not a descriptor set")
	eventually(t, "the broken file in the log of the present config", func() bool {
		raw, _ := os.ReadFile(elsewhere)
		return bytes.Contains(raw, []byte("reading the schema failed"))
	})
}

// run runs `caddy grpc-gateway` in this process.
func run(t *testing.T, stdin string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	cmd := module.Command()
	var out, errs bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&errs)
	cmd.SetIn(strings.NewReader(stdin))
	cmd.SetArgs(args)
	cmd.SilenceErrors = true
	err = cmd.ExecuteContext(t.Context())
	return out.String(), errs.String(), err
}

func TestCommandRoutes(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	dir := t.TempDir()
	set := filepath.Join(dir, "echo.binpb")
	protoset(t, set, nil)

	t.Run("from files", func(t *testing.T) {
		file := filepath.Join(dir, "Caddyfile")
		write(t, file, s.caddyfile("", "grpc_gateway {\n upstream echo {\n discover static "+backend.Addr()+"\n descriptors protoset "+set+"\n }\n"+
			"route GET /v1/echo/{text} gateway.test.v1.Library/GetBook\n }"))
		_, _, err := run(t, "", "routes", "--config", file)
		if err == nil || !strings.Contains(err.Error(), `path variable "text"`) {
			t.Errorf("a bad route: %v", err)
		}
		write(t, file, strings.Replace(read(t, file), "gateway.test.v1.Library/GetBook", "gateway.test.v1.Echo/Unary", 1))
		out, stderr, err := run(t, "", "routes", "--config", file)
		if err != nil || stderr != "" {
			t.Fatalf("%v %s", err, stderr)
		}
		for _, want := range []string{
			"Handler for echo\n",
			"METHOD  TEMPLATE  ",
			"shadowed by GET /v1/echo/{text} -> gateway.test.v1.Echo/Unary",
			"/v1/{name=shelves/*/books/*}",
		} {
			if !strings.Contains(out, want) {
				t.Errorf("no %q in:\n%s", want, out)
			}
		}
		if backend.Accepted() != 0 {
			t.Error("a connection was opened")
		}
	})

	t.Run("by reflection", func(t *testing.T) {
		file := filepath.Join(dir, "Caddyfile")
		// These are not the instances of the server below. It is in this process, so the schema of
		// its instances would be known.
		write(t, file, s.caddyfile("", "grpc_gateway 127.0.0.1:1"))
		out, stderr, err := run(t, "", "routes", "--config", file)
		if err != nil || !strings.Contains(stderr, "only the routes from files are known") || !strings.Contains(out, "! not complete") {
			t.Errorf("without a server: %v\n%s%s", err, stderr, out)
		}
		s.load("", "grpc_gateway "+backend.Addr())
		s.want(s.get("/v1/echo/x"), http.StatusOK)
		out, stderr, err = run(t, "", "routes", "--config", file)
		if err != nil || !strings.Contains(stderr, "these are the routes of the server at "+s.admin) || !strings.Contains(out, "/v1/echo/{text}") {
			t.Errorf("with a server: %v\n%s%s", err, stderr, out)
		}
		out, _, err = run(t, "", "routes", "--address", s.admin, "--json")
		var views []module.HandlerView
		if err != nil || json.Unmarshal([]byte(out), &views) != nil || len(views) != 1 || len(views[0].Routes) == 0 {
			t.Errorf("as JSON: %v\n%s", err, out)
		}
	})
}

func TestCommandUpstreams(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	if _, _, err := run(t, "", "upstreams", "--address", s.admin); err == nil || !strings.Contains(err.Error(), s.admin) {
		t.Errorf("without a server: %v", err)
	}
	s.load("", "grpc_gateway "+backend.Addr())
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	out, _, err := run(t, "", "upstreams", "--address", s.admin)
	for _, want := range []string{"registry: in sync, instances: 1", "schema: reflection, services: gateway.test.v1.Echo", "READY"} {
		if err != nil || !strings.Contains(out, want) {
			t.Errorf("%v: no %q in:\n%s", err, want, out)
		}
	}
	out, _, err = run(t, "", "upstreams", "--address", s.admin, "--json")
	var views []module.UpstreamView
	if err != nil || json.Unmarshal([]byte(out), &views) != nil || len(views) != 1 {
		t.Errorf("as JSON: %v\n%s", err, out)
	}
}

func TestCommandCall(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	s.load("", "grpc_gateway "+backend.Addr())
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	for name, tt := range map[string]struct {
		stdin     string
		args      []string
		out, fail string
	}{
		"argument":      {"", []string{"gateway.test.v1.Echo/Unary", `{"text":"hello"}`}, `"text":"hello"`, ""},
		"standard in":   {`{"text":"piped"}`, []string{"gateway.test.v1.Echo/Unary", "-"}, `"text":"piped"`, ""},
		"empty message": {"", []string{"/gateway.test.v1.Echo/Unary"}, `"backend"`, ""},
		"header":        {"", []string{"-H", "x-tenant: acme", "gateway.test.v1.Echo/Unary"}, `"x-tenant":"acme"`, ""},
		"as JSON":       {"", []string{"--json", "gateway.test.v1.Echo/Unary", `{"text":"t"}`}, `"status": 200`, ""},
		"failure":       {"", []string{"gateway.test.v1.Echo/Unary", `{"script":{"failCode":5}}`}, `"code":5`, "404"},
		"stream":        {"", []string{"gateway.test.v1.Echo/ServerStream", `{"text":"one","count":2}`}, `"text":"one"`, ""},
		"failed stream": {
			"", []string{"gateway.test.v1.Echo/ServerStream", `{"text":"one","count":3,"script":{"failCode":5,"failAfter":1,"failMessage":"bad\nnews"}}`},
			`"text":"one"`, `the stream failed: code 5: bad\nnews`,
		},
		"failed stream as JSON": {
			"", []string{"--json", "gateway.test.v1.Echo/ServerStream", `{"count":3,"script":{"failCode":5,"failAfter":1}}`}, `"status": 200`, "the stream failed: code 5",
		},
		"no method": {"", []string{"Unary"}, "", "expected package.Service/Method"},
	} {
		t.Run(name, func(t *testing.T) {
			out, _, err := run(t, tt.stdin, append([]string{"call", "--address", s.addr}, tt.args...)...)
			if tt.fail == "" && err != nil || tt.fail != "" && (err == nil || !strings.Contains(err.Error(), tt.fail)) {
				t.Errorf("error: %v", err)
			}
			if !strings.Contains(out, tt.out) {
				t.Errorf("no %s in %s", tt.out, out)
			}
		})
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	raw, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestStatus(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	s.load("grpc_gateway {\n upstream user {\n discover static "+backend.Addr()+"\n }\n }",
		"handle_path /gateway/* {\n grpc_gateway_status\n respond nothing 418\n}\ngrpc_gateway user")
	for path, want := range map[string]struct {
		status int
		body   string
	}{
		"/gateway/":                 {200, "<!doctype html>"},
		"/gateway/upstreams":        {200, `"name":"user"`},
		"/gateway/upstreams/user":   {200, `"name":"user"`},
		"/gateway/upstreams/nobody": {404, ""},
		"/gateway/routes":           {200, `"upstreams":["user"]`},
		"/gateway/anything":         {418, "nothing"},
	} {
		if got := s.get(path); got.status != want.status || !strings.Contains(got.body, want.body) {
			t.Errorf("GET %s: %s", path, got)
		}
	}
	if got := s.do("POST", "/gateway/upstreams", "{}"); got.status != 405 || got.header.Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: %s", got)
	}
}
