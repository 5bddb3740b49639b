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

// write replaces a file as a whole, as tools that make descriptor sets do.
func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}
