package clients

import (
	"testing"

	"github.com/caddy-grpc/gateway/e2e/kit"
)

// npmPackages installs what testdata/web/package.json names, and returns the directory, which has
// the files of testdata/web, too.
func npmPackages(t *testing.T) string {
	t.Helper()
	return kit.NPMPackages(t, "clients", "testdata/web")
}
