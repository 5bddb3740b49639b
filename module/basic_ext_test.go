package module_test

import (
	"net/http"
	"testing"

	"github.com/caddy-grpc/gateway/internal/testkit"
)

func TestCallsByReflection(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	s.load("", "grpc_gateway "+backend.Addr())

	got := s.want(s.get("/v1/echo/hello"), http.StatusOK)
	if got.field("text") != "hello" {
		t.Errorf("GET by annotation: %s", got)
	}
	got = s.want(s.do("POST", "/gateway.test.v1.Echo/Unary", `{"text":"by path"}`), http.StatusOK)
	if got.field("text") != "by path" {
		t.Errorf("POST by path: %s", got)
	}
	got = s.want(s.get("/v1/nowhere"), http.StatusNotFound)
	if got.field("code") != 5. {
		t.Errorf("unknown route: %s", got)
	}
	s.want(s.do("POST", "/grpc.health.v1.Health/Check", `{}`), http.StatusNotFound)
}

// TestOnlyIdempotentCallsAreRetried counts the executions of calls that the instances answer with
// UNAVAILABLE.
func TestOnlyIdempotentCallsAreRetried(t *testing.T) {
	a, b := testkit.StartBackend(t), testkit.StartBackend(t)
	s := newSite(t)
	s.load("", "grpc_gateway {\n upstream echo {\n discover static "+a.Addr()+" "+b.Addr()+"\n }\n"+
		"route POST /safe gateway.test.v1.Echo/Unary {\n body *\n idempotent\n }\n }")
	eventually(t, "both are connected", func() bool { s.get("/v1/echo/x"); return a.Open() > 0 && b.Open() > 0 })
	for name, tt := range map[string]struct {
		method, path, body string
		retried            bool
	}{
		"GET":             {"GET", "/v1/echo/x?script.fail_code=14&script.id=GET", "", true},
		"idempotent POST": {"POST", "/safe", `{"script":{"failCode":14,"id":"idempotent POST"}}`, true},
		"POST":            {"POST", "/v1/echo", `{"script":{"failCode":14,"id":"POST"}}`, false},
		"by path":         {"POST", "/gateway.test.v1.Echo/Unary", `{"script":{"failCode":14,"id":"by path"}}`, false},
	} {
		s.want(s.do(tt.method, tt.path, tt.body), http.StatusServiceUnavailable)
		if n := a.Executions(name) + b.Executions(name); n > 1 != tt.retried {
			t.Errorf("%s: %d executions", name, n)
		}
	}
}
