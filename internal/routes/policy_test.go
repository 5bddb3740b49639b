package routes

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-grpc/gateway/internal/frontend"
)

// named is a policy that says for which method it was made.
type named string

func (named) Around(http.ResponseWriter, *http.Request, *frontend.Policed, func(http.ResponseWriter, *http.Request) error) error {
	return nil
}

// policed is a config with policies for methods with a capital D.
func policed() *Config {
	policy := func(prefix string) func(string) frontend.Policy {
		return func(method string) frontend.Policy {
			if !strings.Contains(method, "D") {
				return nil
			}
			return named(prefix + method)
		}
	}
	return &Config{
		RPC: true, Annotations: true, Policy: policy(""), PolicySpelling: policy("any case of "),
		Routes: []Route{{Method: "GET", Template: "/d", RPC: "a.S/D", Timeout: -time.Second}},
		Local:  []*frontend.Method{{Name: "grpc.x.v1.X/D", Path: "/grpc.x.v1.X/D"}, {Name: "grpc.x.v1.X/E", Path: "/grpc.x.v1.X/E"}},
	}
}

func TestPolicyOfEachMethod(t *testing.T) {
	cfg := policed()
	for i := range cfg.Local {
		cfg.Local[i].Desc = mustCompile(t, &Config{RPC: true}, newMember(t, "x", "grpcx.X/D")).Methods["/grpcx.X/D"].Desc
	}
	table := mustCompile(t, cfg, newMember(t, "a", "a.S/D GET /v1/d", "a.S/E GET /v1/e"))
	route := func(path string) *frontend.Method {
		b, _, ok, err := table.Router.Match("GET", path, nil)
		if !ok || err != nil {
			t.Fatalf("no route for %s: %v", path, err)
		}
		return b.Method
	}
	for name, tt := range map[string]struct {
		method *frontend.Method
		want   frontend.Policy
	}{
		"by name":                      {table.Methods["/a.S/D"], named("a.S/D")},
		"without one":                  {table.Methods["/a.S/E"], nil},
		"annotation":                   {route("/v1/d"), named("a.S/D")},
		"annotation without one":       {route("/v1/e"), nil},
		"route with a timeout":         {route("/d"), named("a.S/D")},
		"of the gateway":               {table.Methods["/grpc.x.v1.X/D"], named("grpc.x.v1.X/D")},
		"of the gateway, without":      {table.Methods["/grpc.x.v1.X/E"], nil},
		"in no schema":                 {table.Fallback("/a.S/Dnew"), named("any case of a.S/Dnew")},
		"in no schema, without":        {table.Fallback("/a.S/New"), nil},
		"of no schema, other service":  {table.Fallback("/b.S/D"), named("any case of b.S/D")},
		"of no schema, no such policy": {table.Fallback("/b.S/M"), nil},
	} {
		if tt.method.Policy != tt.want {
			t.Errorf("%s: %v, want %v", name, tt.method.Policy, tt.want)
		}
	}
	if cfg.Local[0].Policy != nil {
		t.Error("compiling has changed the config")
	}
}

func TestPatternsOfPoliciesThatMatchNothing(t *testing.T) {
	for pattern, used := range map[string]bool{
		"a.S": true, "*": true, "a.S/D": true, "a.S/d": false, "b.S": false, "*/New": false,
		"grpc.x.v1.X": true, "grpc.x.v1.X/E": true, "grpc.health.v1.Health": false,
	} {
		cfg := policed()
		cfg.PolicyPatterns = []string{pattern}
		cfg.Local[0].Desc = mustCompile(t, &Config{RPC: true}, newMember(t, "x", "grpcx.X/D")).Methods["/grpcx.X/D"].Desc
		cfg.Local[1].Desc = cfg.Local[0].Desc
		table := mustCompile(t, cfg, newMember(t, "a", "a.S/D"))
		reported := slices.ContainsFunc(table.Problems, func(p Problem) bool { return strings.HasPrefix(p.Reason, "with: pattern") })
		if reported == used {
			t.Errorf("%s: problems %v", pattern, table.Problems)
		}
		if err := table.Check(); (err != nil) == used {
			t.Errorf("%s: %v", pattern, err)
		}
		if table := mustCompile(t, cfg, newMember(t, "a", "a.S/D"), pendingMember("b")); len(table.Problems) > 0 {
			t.Errorf("%s, while a schema is missing: %v", pattern, table.Problems)
		}
	}
}
