// Package operators shows what operators see of a real gateway under load and faults: the page on
// the admin endpoint in Chromium, and dashboard and alerts in Prometheus.
package operators

import (
	"os"
	"testing"

	"github.com/caddy-grpc/gateway/e2e/kit"
)

func TestMain(m *testing.M) {
	code := m.Run()
	kit.RemoveBinary()
	os.Exit(code)
}
