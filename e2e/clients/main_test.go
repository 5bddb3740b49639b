// Package clients has the gateway called by clients that nobody here wrote: grpcurl, buf curl, and
// in a headless Chromium, from a page of another origin, connect-web and grpc-web. What the
// protocols say in detail is judged by e2e/conformance; here it is shown that the programs people
// have work against a real Caddy.
package clients

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/caddy-grpc/gateway/e2e/kit"
	"github.com/caddy-grpc/gateway/internal/testkit"
)

func TestMain(m *testing.M) {
	code := m.Run()
	kit.RemoveBinary()
	os.Exit(code)
}

// startGateway runs a backend, and Caddy with the gateway in front of it, whose options are given
// as in a Caddyfile.
func startGateway(t *testing.T, options string) (*kit.Caddy, *testkit.Backend) {
	t.Helper()
	backend := testkit.StartBackend(t)
	caddy := kit.StartCaddy(t, kit.Options{Site: handler(backend, options)})
	caddy.WaitReady(t, 30*time.Second, backend.Addr())
	return caddy, backend
}

// handler is the directive for a backend.
func handler(backend *testkit.Backend, options string) string {
	return fmt.Sprintf("grpc_gateway %s {\n%s\n}", backend.Addr(), options)
}
