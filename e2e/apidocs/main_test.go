// Package apidocs judges what the option openapi is for, from the outside: its page in a headless
// Chromium, and clients that are generated from its document and from its descriptors. Whether the
// document agrees with the gateway's answers is judged elsewhere.
package apidocs

import (
	"fmt"
	"os"
	"strings"
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

// startGateway runs a backend, and Caddy with a gateway in front of it that describes itself. The
// site has %s where the directive belongs. The options are further ones of the directive.
func startGateway(t *testing.T, site string, options ...string) (*kit.Caddy, *testkit.Backend) {
	t.Helper()
	backend := testkit.StartBackend(t)
	directive := fmt.Sprintf("grpc_gateway %s {\n\topenapi {\n\t\tinfo {\n\t\t\ttitle \"Books and echoes\"\n\t\t}\n\t}\n%s\n}",
		backend.Addr(), strings.Join(options, "\n"))
	caddy := kit.StartCaddy(t, kit.Options{Site: fmt.Sprintf(site, directive)})
	caddy.WaitReady(t, 30*time.Second, backend.Addr())
	return caddy, backend
}

// idle waits until no call runs at the backend.
func idle(t *testing.T, backend *testkit.Backend) {
	t.Helper()
	kit.Eventually(t, patience, "the calls have ended at the backend", func() error {
		if n := backend.InFlight(); n != 0 {
			return fmt.Errorf("%d calls in flight", n)
		}
		return nil
	})
}
