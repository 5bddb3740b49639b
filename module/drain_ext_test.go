package module_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/caddy-grpc/gateway/internal/testkit"
)

// TestRemovedUpstreamDrains removes an upstream from the config with two calls in flight. One of
// them outlives the drain timeout.
func TestRemovedUpstreamDrains(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	s.load("", "grpc_gateway {\n timeout 1m\n upstream a {\n discover static "+backend.Addr()+"\n drain_timeout 6s\n }\n }")
	s.want(s.get("/v1/echo/x"), http.StatusOK)

	short, long := make(chan answer, 1), make(chan answer, 1)
	go func() { short <- s.get("/v1/echo/short?script.delay=1s") }()
	go func() { long <- s.get("/v1/echo/long?script.delay=60s") }()
	eventually(t, "both in flight", func() bool { return backend.InFlight() >= 2 })
	s.load("", "respond gone")

	if got := <-short; got.status != http.StatusOK {
		t.Errorf("the short call: %s", got)
	}
	started := time.Now()
	if got := <-long; got.status != http.StatusServiceUnavailable || got.field("code") != 14. {
		t.Errorf("the long call: %s", got)
	}
	if time.Since(started) > 15*time.Second {
		t.Error("the long call was not cut off at the drain timeout")
	}
	eventually(t, "the connection closed", func() bool { return backend.Open() == 0 })
}
