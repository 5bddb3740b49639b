package clients

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-grpc/gateway/e2e/kit"
	"github.com/caddy-grpc/gateway/internal/testkit"
)

// What the clients of connect-web see of each call, the same by every protocol and codec.
var connectWeb = map[string]string{
	"unary": `{"head":"of the answer","headBin":[0,254],"tail":"after it","text":"grüße","big":"9007199254740993",
		"ask":"of the page","askBin":"AAH6/w=="}`,
	"deadline":       `{"within":true}`,
	"error":          `{"code":"NotFound","message":"no such thing: 100% ☃","details":["text: the script says so"],"tail":"of the error"}`,
	"unknown method": `"Unimplemented"`,
	"stream":         `{"head":"of the answer","texts":["s 1","s 2","s 3"],"tail":"after it"}`,
	"empty stream":   `{"head":"of the answer","texts":[],"tail":"after it"}`,
	"stream that fails": `{"head":null,"texts":["s 1","s 2"],
		"error":{"code":"NotFound","message":"no such thing: 100% ☃","details":["text: the script says so"],"tail":"of the error"}}`,
	"message of a stream before its end": `"first"`,
}

// What the clients of grpc-web see, the same in binary and text.
var grpcWeb = map[string]string{
	"unary":    `{"head":"of the answer","tail":"after it","text":"grüße","big":"9007199254740993","ask":"of the page"}`,
	"deadline": `{"within":true}`,
	"error":    `{"code":"NOT_FOUND","message":"no such thing: 100% ☃","details":true,"tail":"of the error"}`,
	"stream":   `{"head":"of the answer","texts":["s 1","s 2","s 3"],"tail":"after it"}`,
	"stream that fails": `{"texts":["s 1","s 2"],"tail":"of the error",
		"error":{"code":"NOT_FOUND","message":"no such thing: 100% ☃","details":true,"tail":"of the error"}}`,
}

var browserCases = map[string]map[string]string{
	"connect-web, Connect, JSON":    connectWeb,
	"connect-web, Connect, binary":  connectWeb,
	"connect-web, Connect, GET":     {"unary": `{"title":"Emma","pages":"474"}`},
	"connect-web, gRPC-Web, binary": connectWeb,
	"connect-web, gRPC-Web, JSON":   connectWeb,
	"grpc-web, binary":              grpcWeb,
	"grpc-web, text":                grpcWeb,
	"grpc-web, text stream":         {"message before the end": `["first 1"]`},
	"refused": {
		"no cors: connect":                  `"Unknown"`,
		"no cors: connect get":              `"Unknown"`,
		"no cors: grpc-web":                 `"Unknown"`,
		"cors for another origin: connect":  `"Unknown"`,
		"cors for another origin: grpc-web": `"Unknown"`,

		"no cors: a POST without a content type":                 `"opaque"`,
		"cors for another origin: a POST without a content type": `"opaque"`,
		"no cors: a WebSocket":                                   `"failed"`,
		"cors for another origin: a WebSocket":                   `"failed"`,
	},
	"WebSocket": {
		"from a listed origin": `"hi"`,
		"with a subprotocol":   `"failed"`,
		"for gRPC-Web":         `"failed"`,
	},
}

// TestBrowser opens a page in Chromium that calls the gateway, which is of another origin, over
// HTTP/1.1 without TLS and over HTTP/2 with it.
func TestBrowser(t *testing.T) {
	site := startSite(t)
	backend := testkit.StartBackend(t)
	secure := kit.FreeAddr(t)
	caddy := kit.StartCaddy(t, kit.Options{
		Global: "skip_install_trust\nauto_https disable_redirects",
		// A second site after the kit's own.
		Site: site.handlers(backend) + "\n}\n\nhttps://" + secure + " {\ntls internal\n" + site.handlers(backend),
	})
	caddy.WaitReady(t, 30*time.Second, backend.Addr())
	for proto, gateway := range map[string]string{"HTTP/1.1": "http://" + caddy.Listen, "HTTP/2.0": "https://" + secure} {
		t.Run(proto, func(t *testing.T) {
			got := site.visit(t, gateway)
			for group, cases := range browserCases {
				for name, want := range cases {
					name = group + ": " + name
					t.Run(name, func(t *testing.T) {
						if got := got[name]; got == "" || got != compact(t, want) {
							t.Errorf("the page saw\n%s, not\n%s", got, compact(t, want))
						}
					})
					delete(got, name)
				}
			}
			if len(got) > 0 {
				t.Errorf("the page made calls that are not judged here: %v", slices.Sorted(maps.Keys(got)))
			}
			contains(t, "the access log", caddy.Log(), fmt.Sprintf(`"proto":%q,"method":"POST"`, proto))
		})
	}
	for n := 1; n <= 9; n++ {
		if id := fmt.Sprintf("refused-%d", n); backend.Executions(id) != 0 {
			t.Errorf("call %s came to the backend", id)
		}
	}
	kit.Eventually(t, 20*time.Second, "calls that the page gave up have ended at the backend", func() error {
		if n := backend.InFlight(); n != 0 {
			return fmt.Errorf("%d calls in flight", n)
		}
		return nil
	})
}

// site is the web site whose page makes the calls.
type site struct {
	*httptest.Server

	gateway string
	results chan map[string]json.RawMessage
	trouble chan string
}

// startSite bundles the page and serves it.
func startSite(t *testing.T) *site {
	t.Helper()
	bundle := bundlePage(t)
	schema := descriptors(t)
	s := &site{results: make(chan map[string]json.RawMessage, 1), trouble: make(chan string, 16)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, "testdata/web/index.html") })
	mux.HandleFunc("GET /page.js", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, bundle) })
	mux.HandleFunc("GET /schema", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(schema) })
	mux.HandleFunc("GET /config", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]string{
			"gateway": s.gateway, "noCORS": s.gateway + "/no-cors", "otherOrigin": s.gateway + "/other-origin",
		})
	})
	mux.HandleFunc("POST /trouble", func(_ http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		s.trouble <- string(text)
	})
	mux.HandleFunc("POST /results", func(_ http.ResponseWriter, r *http.Request) {
		var results map[string]json.RawMessage
		if err := json.NewDecoder(r.Body).Decode(&results); err != nil {
			s.trouble <- "results: " + err.Error()
			return
		}
		s.results <- results
	})
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

// handlers are the gateway that the page may call, and beside it those that it may not.
func (s *site) handlers(backend *testkit.Backend) string {
	return "log\nhandle_path /no-cors/* {\n" + handler(backend, "") + "\n}\n" +
		"handle_path /other-origin/* {\n" + handler(backend, "cors https://app.example.com") + "\n}\n" +
		"handle {\n" + handler(backend, "cors "+s.URL) + "\n}"
}

// visit opens the page in a new Chromium, and returns what it saw.
func (s *site) visit(t *testing.T, gateway string) map[string]string {
	t.Helper()
	s.gateway = gateway
	startChromium(t, s.URL)
	select {
	case raw := <-s.results:
		results := make(map[string]string)
		for name, value := range raw {
			results[name] = compact(t, string(value))
		}
		return results
	case trouble := <-s.trouble:
		t.Fatalf("the page is in trouble: %s", trouble)
	case <-time.After(2 * time.Minute):
		t.Fatal("the page has not come to its end within two minutes")
	}
	return nil
}

// startChromium opens a page in a Chromium of its own, which lives as long as the test.
func startChromium(t *testing.T, url string) {
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

// bundlePage makes one script of page.js and the packages that it imports.
func bundlePage(t *testing.T) string {
	t.Helper()
	dir := npmPackages(t)
	bundle := filepath.Join(t.TempDir(), "page.js")
	cmd := exec.Command("node_modules/.bin/esbuild", "page.js", "--bundle", "--format=esm", "--target=esnext", "--outfile="+bundle)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("bundle the page: %v\n%s", err, out)
	}
	return bundle
}

// compact returns JSON without spaces and with the keys of objects in order.
func compact(t *testing.T, text string) string {
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
