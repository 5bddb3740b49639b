package routes

import (
	"strings"
	"testing"
)

// listedMember is an upstream that a registry has named.
func listedMember(t *testing.T, label string, methods ...string) Member {
	t.Helper()
	m := newMember(t, label, methods...)
	m.Listed, m.FromFiles = true, false
	return m
}

// TestListedMembersTakeNothingOver compiles tables of members, oldest first. Each case says who
// answers a request, and which problem the newcomer has.
func TestListedMembersTakeNothingOver(t *testing.T) {
	for name, tt := range map[string]struct {
		members []Member
		routes  []Route
		path    string // of a GET; of a call by name if it begins with POST
		want    string // the upstream that gets it; "": nobody
		problem string // part of it; "": there is none
	}{
		"a more specific route": {
			members: []Member{listedMember(t, "old", "a.A/Get GET /v1/users/*"), listedMember(t, "new", "b.B/Get GET /v1/users/me")},
			path:    "/v1/users/me", want: "old", problem: `it would take requests from GET /v1/users/* of upstream "old"`,
		},
		"a more specific route of an older member": {
			members: []Member{listedMember(t, "old", "b.B/Get GET /v1/users/me"), listedMember(t, "new", "a.A/Get GET /v1/users/*")},
			path:    "/v1/users/me", want: "old",
		},
		"a more specific route among members of the config": {
			members: []Member{newMember(t, "old", "a.A/Get GET /v1/users/*"), newMember(t, "new", "b.B/Get GET /v1/users/me")},
			path:    "/v1/users/me", want: "new",
		},
		"a more specific route of a member of the config": {
			members: []Member{newMember(t, "config", "b.B/Get GET /v1/users/me"), listedMember(t, "new", "a.A/Get GET /v1/users/*")},
			path:    "/v1/users/me", want: "config",
		},
		"the own routes of one member": {
			members: []Member{listedMember(t, "one", "a.A/Get GET /v1/users/*", "a.A/Me GET /v1/users/me")},
			path:    "/v1/users/me", want: "one",
		},
		"the same route": {
			members: []Member{listedMember(t, "old", "a.A/Get GET /v1/users"), listedMember(t, "new", "b.B/Get GET /v1/users")},
			path:    "/v1/users", want: "old", problem: "ambiguous",
		},
		"the same method": {
			members: []Member{listedMember(t, "old", "a.A/Get"), listedMember(t, "new", "a.A/Get")},
			path:    "POST /a.A/Get", want: "old", problem: `upstream "new" has this method, too; calls go to "old"`,
		},
		"a route of the config": {
			members: []Member{newMember(t, "config", "a.A/Get"), listedMember(t, "new", "b.B/Get GET /v1/users/me")},
			routes:  []Route{{Method: "GET", Template: "/v1/users/**", RPC: "a.A/Get"}},
			path:    "/v1/users/me", want: "config", problem: "it would take requests from GET /v1/users/**",
		},
		"a method whose path is a route": {
			members: []Member{listedMember(t, "old", "a.A/Get GET /v1/users"), listedMember(t, "new", "v1/users")},
			path:    "POST /v1/users", want: "", problem: "the method cannot be called",
		},
		"a method whose path a catch-all has": {
			members: []Member{listedMember(t, "old", "a.A/Get GET /**"), listedMember(t, "new", "b.B/Get")},
			path:    "POST /b.B/Get", want: "new",
		},
		"another path": {
			members: []Member{listedMember(t, "old", "a.A/Get GET /v1/users/*"), listedMember(t, "new", "b.B/Get GET /v1/orders/*")},
			path:    "/v1/orders/7", want: "new",
		},
	} {
		t.Run(name, func(t *testing.T) {
			table := mustCompile(t, &Config{RPC: true, Annotations: true, Routes: tt.routes, Open: true}, tt.members...)
			got := ""
			if path, ok := strings.CutPrefix(tt.path, "POST "); ok {
				if m := table.Methods[path]; m != nil {
					got = m.Upstream
				}
			} else if b, _, ok, _ := table.Router.Match("GET", tt.path, nil); ok {
				got = b.Method.Upstream
			}
			if got != tt.want {
				t.Errorf("%s goes to %q, want %q", tt.path, got, tt.want)
			}
			var reasons []string
			for _, p := range table.Problems {
				reasons = append(reasons, p.Reason)
			}
			all := strings.Join(reasons, "\n")
			if (tt.problem == "") != (all == "") || !strings.Contains(all, tt.problem) {
				t.Errorf("problems: %q, want %q", all, tt.problem)
			}
		})
	}
}

// TestListedMembersGetNoUnknownCalls: a call whose service nobody knows never goes to a member that
// a registry has named.
func TestListedMembersGetNoUnknownCalls(t *testing.T) {
	listedPending := pendingMember("fleet:x")
	listedPending.Listed = true
	for name, members := range map[string][]Member{
		"the only one":           {listedMember(t, "one", "a.A/Get")},
		"the only one, pending":  {listedPending},
		"beside one of a config": {newMember(t, "config", "b.B/Get"), listedPending},
		"one of a config alone":  {newMember(t, "config", "b.B/Get")}, // Others may come.
	} {
		table := mustCompile(t, &Config{RPC: true, Open: true}, members...)
		if m := table.Fallback("/unknown.v1.Unknown/Get"); m != nil {
			t.Errorf("%s: it goes to %s", name, m.Upstream)
		}
	}
	table := mustCompile(t, &Config{RPC: true, Open: true}, pendingMember("config"))
	if m := table.Fallback("/unknown.v1.Unknown/Get"); m == nil || m.Upstream != "config" {
		t.Errorf("an upstream of the config whose methods are not known: %v", m)
	}
}

// TestOpenTablesKeepQuiet: while members come and go, what nobody has now is not a mistake.
func TestOpenTablesKeepQuiet(t *testing.T) {
	cfg := &Config{
		RPC: true, Exposure: newExposure(t, "a.* later.v1.*", "later.v1.Admin"), HideFields: []string{"later.v1.M.secret"}, Open: true,
		Routes: []Route{{Method: "GET", Template: "/v1/later", RPC: "later.v1.Later/Get"}}, PolicyPatterns: []string{"later.v1.*"},
	}
	table := mustCompile(t, cfg, newMember(t, "config", "a.A/Get"))
	if err := table.Check(); err != nil {
		t.Errorf("the config is refused: %v", err)
	}
	if len(table.Problems) != 1 || table.Problems[0].Reason != "no upstream has this method" {
		t.Errorf("problems: %v", table.Problems)
	}
}
