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
