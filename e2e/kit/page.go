package kit

import (
	_ "embed"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

//go:embed page.html
var pageHTML []byte

// Page is a web page of an origin of its own. Its script makes calls as a web application would,
// and reports what came of them, each under a name. It reads /config and /schema of its own server
// first, and posts to /results in the end.
type Page struct {
	*httptest.Server

	mu      sync.Mutex
	config  any
	results chan map[string]json.RawMessage
	trouble chan string
}

// StartPage serves the page of a script, which may import the npm packages of
// testdata/clients.
func StartPage(t testing.TB, script string) *Page {
	t.Helper()
	bundled := bundle(t, script)
	schema := Descriptors(t)
	p := &Page{results: make(chan map[string]json.RawMessage, 1), trouble: make(chan string, 16)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(pageHTML)
	})
	mux.HandleFunc("GET /page.js", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, bundled) })
	mux.HandleFunc("GET /schema", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(schema) })
	mux.HandleFunc("GET /config", func(w http.ResponseWriter, _ *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		_ = json.NewEncoder(w).Encode(p.config)
	})
	mux.HandleFunc("POST /trouble", func(_ http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		p.trouble <- string(text)
	})
	mux.HandleFunc("POST /results", func(_ http.ResponseWriter, r *http.Request) {
		var results map[string]json.RawMessage
		if err := json.NewDecoder(r.Body).Decode(&results); err != nil {
			p.trouble <- "results: " + err.Error()
			return
		}
		p.results <- results
	})
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	return p
}

// Visit opens the page in a new Chromium, and returns what it saw as compact JSON.
func (p *Page) Visit(t testing.TB, config any) map[string]string {
	t.Helper()
	p.mu.Lock()
	p.config = config
	p.mu.Unlock()
	startChromium(t, p.URL)
	select {
	case raw := <-p.results:
		results := make(map[string]string)
		for name, value := range raw {
			results[name] = CompactJSON(t, string(value))
		}
		return results
	case trouble := <-p.trouble:
		t.Fatalf("the page is in trouble: %s", trouble)
	case <-time.After(2 * time.Minute):
		t.Fatal("the page has not come to its end within two minutes")
	}
	return nil
}

// bundle makes one script of a module and the npm packages that it imports.
func bundle(t testing.TB, script string) string {
	t.Helper()
	modules := clientPackages(t)
	out := filepath.Join(t.TempDir(), "page.js")
	cmd := exec.Command(filepath.Join(modules, ".bin", "esbuild"), script, "--bundle", "--format=esm", "--target=esnext", "--outfile="+out)
	cmd.Env = append(os.Environ(), "NODE_PATH="+modules)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("bundle %s: %v\n%s", script, err, text)
	}
	return out
}

// startChromium opens a page in a Chromium of its own, which lives as long as the test.
func startChromium(t testing.TB, url string) {
	t.Helper()
	profile, err := os.MkdirTemp("", "e2e-chromium-")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage",
		"--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--ignore-certificate-errors", "--user-data-dir="+profile, "--remote-debugging-port=0", url)
	// What chromium starts ends with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var log strings.Builder
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v (scripts/need chromium installs it)", err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		os.RemoveAll(profile)
		if t.Failed() {
			t.Logf("Chromium said:\n%s", log.String())
		}
	})
}

// CompactJSON returns JSON without spaces and with the keys of objects in order.
func CompactJSON(t testing.TB, text string) string {
	t.Helper()
	var value any
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	out, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
