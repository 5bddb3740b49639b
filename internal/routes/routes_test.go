package routes

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/caddy-grpc/gateway/internal/frontend"
)

func TestCompile(t *testing.T) {
	cfg := &Config{
		RPC: true, Annotations: true, Exposure: newExposure(t, "", "a.A/Hidden"), Timeout: 5,
		Routes: []Route{
			{Method: "PUT", Template: "/mine", RPC: "a.A/Get", Body: "*"},
			{Method: "GET", Template: "/v1/b", RPC: "a.A/Get"},
		},
		Owner: func(upstream, method string) any { return upstream + " " + method },
	}
	b := newMember(t, "b", "b.B/Get GET /v1/b")
	b.Timeout = -1
	table := mustCompile(t, cfg, newMember(t, "a", "a.A/Get GET /v1/a", "a.A/Hidden GET /v1/hidden"), b)

	var got []string
	for _, v := range table.Views {
		line := fmt.Sprintf("%s %s %s %s %s", v.Method, v.Template, v.RPC, v.Upstream, v.Source)
		if v.ShadowedBy != "" {
			line += " < " + v.ShadowedBy
		}
		got = append(got, line)
	}
	want := []string{
		"PUT /mine a.A/Get a config",
		"GET /v1/b a.A/Get a config",
		"GET /v1/a a.A/Get a annotation",
		"GET /v1/b b.B/Get b annotation < GET /v1/b -> a.A/Get",
		"POST /a.A/Get a.A/Get a rpc",
		"POST /b.B/Get b.B/Get b rpc",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("views:\n%s", strings.Join(got, "\n"))
	}
	if len(table.Problems) > 0 || table.Pending != "" {
		t.Errorf("problems %v, pending %q", table.Problems, table.Pending)
	}
	m := table.Methods["/a.A/Get"]
	if m.Conn != (conn{"a"}) || m.Timeout != 5 || m.Owner != "a a.A/Get" || m.Path != "/a.A/Get" {
		t.Errorf("method: %+v", m)
	}
	if m := table.Methods["/b.B/Get"]; m.Timeout != 0 {
		t.Errorf("the upstream has no deadline, and the method has %v", m.Timeout)
	}
	if m := table.Fallback("/a.A/New"); m.Owner != "a " {
		t.Errorf("owner of what no schema describes: %q", m.Owner)
	}
}

// TestPublicJSON compares the JSON of the admin API.
func TestPublicJSON(t *testing.T) {
	got, err := json.Marshal([]any{
		View{Method: "GET", Template: "/v1/a", RPC: "a.A/Get", Upstream: "a", Source: SourceRPC},
		View{Method: "GET", Template: "/v1/a", RPC: "a.A/Get", Upstream: "a", Source: SourceConfig, Body: "*", ResponseBody: "x", Streams: "both", ShadowedBy: "y"},
		Problem{Reason: "r", Fatal: true},
		Problem{Route: "GET /v1/a", RPC: "a.A/Get", Upstream: "a", Reason: "r"},
	})
	const want = `[{"method":"GET","template":"/v1/a","rpc":"a.A/Get","upstream":"a","source":"rpc"},` +
		`{"method":"GET","template":"/v1/a","rpc":"a.A/Get","upstream":"a","source":"config","body":"*","response_body":"x","streams":"both","shadowed_by":"y"},` +
		`{"reason":"r"},{"route":"GET /v1/a","rpc":"a.A/Get","upstream":"a","reason":"r"}]`
	if err != nil || string(got) != want {
		t.Errorf("got  %s (%v)\nwant %s", got, err, want)
	}
}

// TestMethodsInTwoUpstreams expects one problem for each pair of upstreams.
func TestMethodsInTwoUpstreams(t *testing.T) {
	many := make([]string, 0, 12)
	for i := range 12 {
		many = append(many, fmt.Sprintf("a.A/M%02d", i))
	}
	a, b := newMember(t, "a", append(many, "c.C/Get")...), newMember(t, "b", many...)
	learned := b
	learned.FromFiles = false
	for name, tt := range map[string]struct {
		hide    string
		members []Member
		want    []string
		refused bool
	}{
		"many methods": {"", []Member{a, b}, []string{
			`upstream "b" has 12 methods that "a" has, too: a.A/M00, a.A/M01, a.A/M02 and 9 more; calls go to "a"`,
		}, true},
		"one method": {"", []Member{a, newMember(t, "c", "c.C/Get")}, []string{
			`c.C/Get: upstream "c" has this method, too; calls go to "a"`,
		}, true},
		"three upstreams": {"", []Member{a, newMember(t, "c", "c.C/Get", "d.D/Get"), newMember(t, "d", "c.C/Get", "d.D/Get", "e.E/Get")}, []string{
			`c.C/Get: upstream "c" has this method, too; calls go to "a"`,
			`c.C/Get: upstream "d" has this method, too; calls go to "a"`,
			`d.D/Get: upstream "d" has this method, too; calls go to "c"`,
		}, true},
		"hidden":                        {"a.A", []Member{a, b}, nil, false},
		"schema from a running service": {"", []Member{a, learned}, []string{`upstream "b" has 12 methods that "a" has, too: a.A/M00, a.A/M01, a.A/M02 and 9 more; calls go to "a"`}, false},
		"two files beside a running service": {"", []Member{a, pendingMember("p"), b}, []string{
			`upstream "b" has 12 methods that "a" has, too: a.A/M00, a.A/M01, a.A/M02 and 9 more; calls go to "a"`,
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			table := mustCompile(t, &Config{RPC: true, Exposure: newExposure(t, "", tt.hide)}, tt.members...)
			got := make([]string, 0, len(table.Problems))
			for _, p := range table.Problems {
				got = append(got, p.String())
			}
			if strings.Join(got, "\n") != strings.Join(tt.want, "\n") {
				t.Errorf("problems:\n%s", strings.Join(got, "\n"))
			}
			if err := table.Check(); (err != nil) != tt.refused {
				t.Errorf("Check: %v", err)
			}
		})
	}
}

func TestRoutesThatAreRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		route Route
		want  string
	}{
		"fine":                    {Route{Method: "GET", Template: "/x", RPC: "a.A/Get"}, ""},
		"any method":              {Route{Method: "*", Template: "/x", RPC: "a.A/Get"}, ""},
		"no method":               {Route{Template: "/x", RPC: "a.A/Get"}, "expected an HTTP method"},
		"lower case":              {Route{Method: "get", Template: "/x", RPC: "a.A/Get"}, "expected an HTTP method"},
		"no template":             {Route{Method: "GET", RPC: "a.A/Get"}, "template"},
		"no service":              {Route{Method: "GET", Template: "/x", RPC: "/Get"}, "expected package.Service/Method"},
		"not a name":              {Route{Method: "GET", Template: "/x", RPC: "a.A/Get%74"}, "expected package.Service/Method"},
		"response_body is a star": {Route{Method: "GET", Template: "/x", RPC: "a.A/Get", ResponseBody: "*"}, "response_body"},
		"created":                 {Route{Method: "POST", Template: "/x", RPC: "a.A/Get", Status: 201}, ""},
		"no success":              {Route{Method: "POST", Template: "/x", RPC: "a.A/Get", Status: 302}, "status 302: expected a number from 200 to 299, and neither 205 nor 206"},
		"interim":                 {Route{Method: "POST", Template: "/x", RPC: "a.A/Get", Status: 103}, "status 103"},
		"negative":                {Route{Method: "POST", Template: "/x", RPC: "a.A/Get", Status: -1}, "status -1"},
		"reset content":           {Route{Method: "POST", Template: "/x", RPC: "a.A/Get", Status: 205}, "status 205"},
		"partial content":         {Route{Method: "POST", Template: "/x", RPC: "a.A/Get", Status: 206}, "status 206"},
	} {
		err := tt.route.Validate()
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestPanicsOfTheSchemaAreErrors compiles a member that panics. The handler still has a table,
// which answers 503.
func TestPanicsOfTheSchemaAreErrors(t *testing.T) {
	m := newMember(t, "a", "a.A/Get")
	m.Codecs = nil
	table, err := Compile(&Config{RPC: true}, []Member{m})
	if err == nil || !strings.Contains(err.Error(), "panic") || table == nil || table.Pending == "" {
		t.Fatalf("table %v, error %v", table, err)
	}
	_, err = table.Lookup("/a.A/Get", false)
	var e *frontend.Error
	if !errors.As(err, &e) || e.HTTP() != 503 {
		t.Errorf("lookup: %v", err)
	}
}
