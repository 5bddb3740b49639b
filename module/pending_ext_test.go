package module_test

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/caddy-grpc/gateway/internal/testkit"
	"github.com/caddy-grpc/gateway/module"
)

// TestOneServiceIsDown shows what is 503 and what is 404 while one service of two has never been
// seen, and how operators learn which one it is.
func TestOneServiceIsDown(t *testing.T) {
	backend, down := testkit.StartBackend(t), testkit.StartBackend(t)
	down.Stop()
	s := newSite(t)
	s.load("", "grpc_gateway {\n route GET /mine users.v1.Users/Get\n upstream echo {\n discover static "+backend.Addr()+
		"\n }\n upstream users {\n discover static "+down.Addr()+"\n }\n }")
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	for path, want := range map[string]int{
		"POST /users.v1.Users/Get":           http.StatusServiceUnavailable,
		"GET /v1/users/1":                    http.StatusServiceUnavailable,
		"GET /mine":                          http.StatusServiceUnavailable,
		"POST /gateway.test.v1.Echo/Nope":    http.StatusNotFound,
		"POST /grpc.health.v1.Health/Check":  http.StatusNotFound,
		"DELETE /v1/echo/x":                  http.StatusMethodNotAllowed,
		"POST /gateway.test.v1.Echo/Unary/x": http.StatusServiceUnavailable, // It may be a route.
	} {
		method, path, _ := strings.Cut(path, " ")
		got := s.want(s.do(method, path, ""), want)
		if want != http.StatusServiceUnavailable {
			continue
		}
		if !strings.Contains(got.body, "users: ") || strings.Contains(got.body, down.Addr()) || got.header.Get("Retry-After") == "" {
			t.Errorf("%s %s: %s", method, path, got)
		}
	}

	var views []module.HandlerView
	s.ask("/grpc_gateway/routes", &views)
	if p := views[0].PendingUpstreams; len(p) != 1 || p[0].Upstream != "users" || p[0].Since.IsZero() || !strings.Contains(p[0].Reason, "no instance") {
		t.Errorf("pending: %+v", p)
	}
	stdout, _, err := run(t, "", "routes", "--address", s.admin)
	if err != nil || !strings.Contains(stdout, "! not complete: the methods of users are not known since ") {
		t.Errorf("%v\n%s", err, stdout)
	}
	eventually(t, "one line in the log", func() bool {
		lines := s.logged("the methods of some upstreams are not known")
		return len(lines) == 1 && strings.Contains(lines[0], `"upstreams":["users"]`) && strings.Contains(lines[0], `"since":`)
	})
}

// TestOneServiceOffersNoReflection has nothing to wait for, so a path that is not a method gets
// 404.
func TestOneServiceOffersNoReflection(t *testing.T) {
	backend, silent := testkit.StartBackend(t), testkit.StartBackend(t, testkit.WithReflection(false, false))
	s := newSite(t)
	s.load("", "grpc_gateway {\n upstream echo {\n discover static "+backend.Addr()+"\n }\n upstream silent {\n discover static "+silent.Addr()+"\n }\n }")
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	eventually(t, "it has said that it describes nothing", func() bool { return s.get("/nowhere").status == http.StatusNotFound })
	got := s.want(s.do("POST", "/users.v1.Users/Get", "{}"), http.StatusServiceUnavailable)
	if !strings.Contains(got.body, "silent: ") || !strings.Contains(got.body, "no server reflection") {
		t.Errorf("%s", got)
	}
}

// TestPatternThatMatchesNothing expects an error if the schema is a file, and otherwise a problem
// in the view.
func TestPatternThatMatchesNothing(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	set := s.dir + "/echo.binpb"
	protoset(t, set, nil)
	upstream := "upstream echo {\n discover static " + backend.Addr() + "\n %\n }\n hide gateway.test.v1.Echo/Unari"
	err := s.tryLoad("", "grpc_gateway {\n"+strings.Replace(upstream, "%", "descriptors protoset "+set, 1)+"\n }")
	const want = `hide: pattern "gateway.test.v1.Echo/Unari" matches no method of any upstream`
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want an error with %q", err, want)
	}

	s.load("", "grpc_gateway {\n"+strings.Replace(upstream, "%", "", 1)+"\n }")
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	var views []module.HandlerView
	s.ask("/grpc_gateway/routes", &views)
	if p := views[0].Problems; len(p) != 1 || p[0].Reason != want {
		t.Errorf("problems: %v", p)
	}
}

// logged returns the lines of the log with the message.
func (s *site) logged(message string) []string {
	raw, _ := os.ReadFile(s.logFile())
	var lines []string
	for line := range strings.Lines(string(raw)) {
		var entry struct {
			Msg string `json:"msg"`
		}
		if json.Unmarshal([]byte(line), &entry) == nil && strings.Contains(entry.Msg, message) {
			lines = append(lines, line)
		}
	}
	return lines
}
