package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-grpc/gateway/e2e/kit"
	"github.com/caddy-grpc/gateway/internal/testkit"
)

// browse opens the page of e2e/browser in headless Chromium, from an origin of its own, and returns what came of each of its calls.
func browse(t *testing.T, c *kit.Caddy, page *httptest.Server, results <-chan []byte) map[string]string {
	t.Helper()
	cmd := exec.Command("chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--user-data-dir="+t.TempDir(), page.URL+"/?gateway=http://"+c.Listen)
	out, err := os.Create(filepath.Join(t.TempDir(), "chromium.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatalf("run scripts/need chromium: %v", err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	select {
	case raw := <-results:
		var list []struct{ Name, Outcome string }
		if err := json.Unmarshal(raw, &list); err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
		if len(list) != len(inBrowsers) {
			t.Errorf("%d calls are reported, expected %d", len(list), len(inBrowsers))
		}
		outcomes := make(map[string]string)
		for _, r := range list {
			outcomes[r.Name] = r.Outcome
		}
		return outcomes
	case <-time.After(90 * time.Second):
		text, _ := os.ReadFile(out.Name())
		t.Fatalf("the page reports nothing\n%s", text)
		return nil
	}
}

// servePage serves the page and takes its report.
func servePage(t *testing.T) (*httptest.Server, <-chan []byte) {
	t.Helper()
	script := filepath.Join(kit.RootDir(t), ".bin", "clients", "browser.js")
	if _, err := os.Stat(script); err != nil {
		t.Fatal("the page is missing: run scripts/clients")
	}
	results := make(chan []byte, 1)
	image := descriptors(t)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, `<!doctype html><script type="module" src="/page.js"></script>`)
	})
	mux.HandleFunc("GET /page.js", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, script) })
	mux.HandleFunc("GET /descriptors", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, image) })
	mux.HandleFunc("POST /results", func(_ http.ResponseWriter, r *http.Request) {
		raw, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		results <- raw
	})
	page := httptest.NewServer(mux)
	t.Cleanup(page.Close)
	return page, results
}

// inBrowsers is what has to come of the calls that the page makes when it may.
var inBrowsers = map[string]string{
	"connect, JSON: unary":                                 "hi c v w",
	"connect, JSON: stream":                                "s s s",
	"connect, JSON: error":                                 "FailedPrecondition; nicht jetzt: ü; 1; w",
	"connect, JSON: method without side effects":           "Emma",
	"connect, binary: unary":                               "hi c v w",
	"connect, binary: stream":                              "s s s",
	"connect, binary: error":                               "FailedPrecondition; nicht jetzt: ü; 1; w",
	"connect, binary: method without side effects":         "Emma",
	"gRPC-Web by connect-web: unary":                       "hi c v w",
	"gRPC-Web by connect-web: stream":                      "s s s",
	"gRPC-Web by connect-web: error":                       "FailedPrecondition; nicht jetzt: ü; 1; w",
	"gRPC-Web by connect-web: method without side effects": "Emma",
	"grpc-web, binary: unary":                              "hi c v w",
	"grpc-web, binary: error":                              "FailedPrecondition; nicht jetzt: ü",
	"grpc-web, binary: stream":                             "s s s",
	"grpc-web, text: unary":                                "hi c v w",
	"grpc-web, text: error":                                "FailedPrecondition; nicht jetzt: ü",
	"grpc-web, text: stream":                               "s s s",
}

func TestBrowserOfAnotherOrigin(t *testing.T) {
	backend := testkit.StartBackend(t)
	page, results := servePage(t)
	upstream := fmt.Sprintf("\tupstream echo {\n\t\tdiscover static %s\n\t}\n", backend.Addr())
	t.Run("that may call", func(t *testing.T) {
		c := kit.StartCaddy(t, kit.Options{Site: "grpc_gateway {\n" + upstream + "\tcors " + page.URL + "\n}"})
		c.WaitReady(t, 20*time.Second, backend.Addr())
		got := browse(t, c, page, results)
		for name, want := range inBrowsers {
			if got[name] != want {
				t.Errorf("%s: %q, want %q", name, got[name], want)
			}
			delete(got, name)
		}
		for name, outcome := range got {
			t.Errorf("%s: %s", name, outcome)
		}
	})
	t.Run("that may not", func(t *testing.T) {
		c := kit.StartCaddy(t, kit.Options{Site: "grpc_gateway {\n" + upstream + "\tcors https://other.example\n}"})
		c.WaitReady(t, 20*time.Second, backend.Addr())
		for name, outcome := range browse(t, c, page, results) {
			if want, ok := inBrowsers[name]; !ok || outcome == want || strings.Contains(outcome, "FailedPrecondition") {
				t.Errorf("%s: %s", name, outcome)
			}
		}
	})
}
