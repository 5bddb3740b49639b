package module

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/caddy-grpc/gateway/internal/frontend/health"
)

// ValidateHealth says what is wrong with the options about health.
func (h *Handler) ValidateHealth() error {
	switch {
	case h.HealthPath == "":
		return nil
	case !cleanPath(h.HealthPath):
		return fmt.Errorf("path %q: expected a path, such as /healthz", h.HealthPath)
	case h.Health != nil && !*h.Health:
		return errors.New("path: expected health to be on")
	default:
		return nil
	}
}

// healthConfig says what health checks report on.
func (h *Handler) healthConfig() health.Config {
	return health.Config{Table: h.routing.last, Ready: h.routing.ready, Drain: exitDrain}
}

// serveHealth answers a load balancer that asks over plain HTTP. It returns false if the request is
// not for it.
func (h *Handler) serveHealth(w http.ResponseWriter, r *http.Request) bool {
	if h.HealthPath == "" || r.URL.Path != h.HealthPath {
		return false
	}
	health.Get(w, r, h.healthConfig())
	return true
}
