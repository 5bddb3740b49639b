package routes

import (
	"strings"
	"testing"
)

// TestPathsWhileASchemaIsMissing tells 503 from 404: a client should try again only if the service
// may have the path.
func TestPathsWhileASchemaIsMissing(t *testing.T) {
	known := newMember(t, "known", "k.Known/Get GET /v1/known/{text=**}", "k.Known/Hidden")
	silent := pendingMember("silent")
	silent.Undescribed = true
	full := Config{RPC: true, Annotations: true, Exposure: newExposure(t, "", "*/Hidden secret.*"), Routes: []Route{
		{Method: "GET", Template: "/mine/{text}", RPC: "p.Pending/Get"},
	}}
	noAnnotations, noRPC := full, full
	noAnnotations.Annotations, noRPC.RPC = false, false
	for name, tt := range map[string]struct {
		cfg          *Config
		missing      Member
		method, path string
		want         bool // 503 over REST
		wantRPC      bool // UNAVAILABLE over the RPC protocols
	}{
		"method of another service":             {&full, pendingMember("p"), "POST", "/p.Pending/Get", true, true},
		"method of a known service":             {&full, pendingMember("p"), "POST", "/k.Known/Nope", false, false},
		"hidden method of a known service":      {&full, pendingMember("p"), "POST", "/k.Known/Hidden", false, false},
		"hidden method of another service":      {&full, pendingMember("p"), "POST", "/p.Pending/Hidden", false, false},
		"hidden service":                        {&full, pendingMember("p"), "POST", "/secret.S/M", false, false},
		"hidden service in another case":        {&full, pendingMember("p"), "POST", "/Secret.S/M", false, false},
		"grpc's own":                            {&full, pendingMember("p"), "POST", "/grpc.health.v1.Health/Check", false, false},
		"path that no method can have":          {&full, pendingMember("p"), "GET", "/v1/books/1", true, false},
		"path like a method without a package":  {&full, pendingMember("p"), "GET", "/v1/books", true, true},
		"bad percent-encoding":                  {&full, pendingMember("p"), "GET", "/p.Pending/Ge%74", true, false},
		"route of the config":                   {&full, pendingMember("p"), "GET", "/mine/x", true, true},
		"no annotations, method":                {&noAnnotations, pendingMember("p"), "GET", "/p.Pending/Get", true, true},
		"no annotations, path":                  {&noAnnotations, pendingMember("p"), "GET", "/v1/books/1", false, false},
		"no annotations, POST like a method":    {&noAnnotations, pendingMember("p"), "POST", "/v1/books", true, true},
		"no annotations, GET like a method":     {&noAnnotations, pendingMember("p"), "GET", "/v1/books", false, true},
		"no annotations, route of the config":   {&noAnnotations, pendingMember("p"), "GET", "/mine/x", true, true},
		"no RPC, method":                        {&noRPC, pendingMember("p"), "POST", "/p.Pending/Get", false, false},
		"no RPC, path":                          {&noRPC, pendingMember("p"), "GET", "/v1/books", true, false},
		"no reflection, method":                 {&full, silent, "POST", "/p.Pending/Get", true, true},
		"no reflection, path":                   {&full, silent, "GET", "/v1/books/1", false, false},
		"no reflection, root":                   {&full, silent, "GET", "/", false, false},
		"no reflection, method of a known one":  {&full, silent, "POST", "/k.Known/Nope", false, false},
		"no reflection, route of the config":    {&full, silent, "GET", "/mine/x", true, true},
		"no reflection, GET like a method":      {&full, silent, "GET", "/v1/books", false, true},
		"no reflection, POST of another method": {&full, silent, "POST", "/books/List", true, true},
	} {
		t.Run(name, func(t *testing.T) {
			table := mustCompile(t, tt.cfg, known, tt.missing)
			if table.Pending == "" {
				t.Fatal("nothing is pending")
			}
			if got := table.PendingRoute(tt.method, tt.path); got != tt.want {
				t.Errorf("over REST: pending is %v", got)
			}
			if got := table.PendingName(tt.path); got != tt.wantRPC {
				t.Errorf("over RPC: pending is %v", got)
			}
		})
	}
}

// TestPathsWithoutAnySchema tells every client that the only service describes itself to nobody.
func TestPathsWithoutAnySchema(t *testing.T) {
	silent := pendingMember("silent")
	silent.Undescribed = true
	if !mustCompile(t, &Config{RPC: true, Annotations: true}, silent).PendingRoute("GET", "/v1/books/1") {
		t.Error("the first request of somebody who forgot reflection is 404")
	}
	if mustCompile(t, &Config{RPC: true}, silent).PendingRoute("GET", "/v1/books/1") {
		t.Error("without annotations there is no such route")
	}
}

func TestPendingNamesTheUpstreams(t *testing.T) {
	const why = "the methods of the service are not known yet"
	known := newMember(t, "known", "k.Known/Get")
	for name, tt := range map[string]struct {
		labels string
		want   string
	}{
		"none":                   {"", ""},
		"one":                    {"users", "users: " + why},
		"address is not shown":   {"10.0.0.1:9001", why},
		"path is not shown":      {"unix//run/x.sock", why},
		"several":                {"users user.rpc", "users: " + why + "; user.rpc: " + why},
		"more than can be named": {"a b c d e", "a: " + why + "; b: " + why + "; c: " + why + "; and 2 more"},
	} {
		t.Run(name, func(t *testing.T) {
			members := []Member{known}
			for _, label := range strings.Fields(tt.labels) {
				members = append(members, pendingMember(label))
			}
			if got := mustCompile(t, &Config{RPC: true}, members...).Pending; got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}
