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

	"github.com/chromedp/chromedp"

	"github.com/caddy-grpc/gateway/e2e/kit"
	"github.com/caddy-grpc/gateway/e2e/kit/browser"
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

// tab is a page of the gateway in Chromium.
type tab struct{ *browser.Tab }

// startBrowser runs a Chromium as long as the test.
func startBrowser(t *testing.T) *chromium {
	t.Helper()
	return &chromium{browser.Start(t, browser.Options{Pictures: "apidocs"})}
}

type chromium struct{ *browser.Browser }

// open opens a page of a site in a new tab.
func (c *chromium) open(t *testing.T, site, path string, l browser.Look) tab {
	t.Helper()
	return tab{c.Open(t, site, path, l)}
}

// operation unfolds a call in the list of Swagger UI, and returns the selector of its block.
func (tb tab) operation(method, path string) string {
	tb.T.Helper()
	block := fmt.Sprintf(`.opblock-%s:has(> .opblock-summary [data-path=%q])`, strings.ToLower(method), path)
	tb.Click(block + " .opblock-summary-control")
	tb.Do("unfold "+path, chromedp.WaitVisible(chromedp.CSS(block+" .execute")))
	return block
}

// location is where the tab is.
func (tb tab) location() string {
	tb.T.Helper()
	return browser.JS[string](tb.Tab, "location.href")
}

// patience is how long something may take before the test gives up.
const patience = 2 * time.Minute

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
