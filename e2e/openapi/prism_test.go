package openapie2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-grpc/gateway/e2e/kit"
)

// startPrism starts Prism as a proxy that refuses requests and answers which are not as the
// document says.
func startPrism(t testing.TB, document []byte, upstream string) (base string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "openapi.json")
	if err := os.WriteFile(path, document, 0o600); err != nil {
		t.Fatal(err)
	}
	host, port, _ := strings.Cut(kit.FreeAddr(t), ":")
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, filepath.Join(tools(t), "node_modules", ".bin", "prism"), "proxy", path, upstream, "--errors", "--host", host, "--port", port)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("Prism said:\n%.4000s", log.String())
		}
	})
	base = "http://" + host + ":" + port
	kit.Eventually(t, time.Minute, "Prism answers", func() error {
		resp, err := http.Get(base + "/nothing")
		if err == nil {
			resp.Body.Close()
		}
		return err
	})
	return base
}

// TestPrism makes calls through Prism, which must let pass what is right, and nothing else.
func TestPrism(t *testing.T) {
	caddy := startGateway(t, map[string]string{"plain": described()})
	w := &world{t: t, base: "http://" + caddy.Listen, name: "plain"}
	base := startPrism(t, w.fetch(kit.DocumentPath), w.base)
	const refused = "https://stoplight.io/prism/errors#"
	for name, tc := range map[string]struct {
		request, body string
		status        int
		wrong         string // what Prism refuses
	}{
		"scalars":                    {"POST /kinds/scalars", `{"aString":"x","aInt32":1,"aInt64":"2","aBool":true,"aColor":"COLOR_RED","aBytes":"AP8="}`, 200, ""},
		"numbers in quotes":          {"POST /kinds/scalars", `{"aInt32":"1","aInt64":2,"aDouble":"NaN"}`, 200, ""},
		"parameters":                 {"GET /kinds/scalars?aString=x&aInt32=1", "", 200, ""},
		"lists":                      {"POST /kinds/lists", `{"aString":["x","y"],"aInt64":["1"]}`, 200, ""},
		"maps":                       {"POST /kinds/maps", `{"byInt32":{"1":"x"},"ofInt64":{"a":"1"}}`, 200, ""},
		"well-known types":           {"POST /kinds/well-known", `{"aTimestamp":"2024-01-02T03:04:05Z","aDuration":"1.5s","aStruct":{"a":[1]},"aInt64Value":"7"}`, 200, ""},
		"a tree":                     {"POST /kinds/tree", `{"name":"a","left":{"name":"b"},"children":[{"name":"c"}]}`, 200, ""},
		"a path of several segments": {"GET /paths/parts/things/a/parts/b", "", 200, ""},
		"an error":                   {"GET /paths/typed/1/99999999999999999999/3/true/COLOR_RED/1.5", "", 400, ""},
		"a wrong type in the path":   {"GET /paths/typed/1/2/3/true/COLOR_RED/abc", "", 422, "the request"},
		"a wrong type":               {"POST /kinds/scalars", `{"aString":1}`, 422, "the request"},
		"an unknown member":          {"POST /kinds/scalars", `{"none":1}`, 422, "the request"},
		"no route":                   {"GET /nowhere", "", 404, "the path"},
	} {
		t.Run(name, func(t *testing.T) {
			status, body := w.through(base, tc.request, tc.body)
			if status != tc.status || strings.Contains(body, refused) != (tc.wrong != "") {
				t.Errorf("got %d %.800s, want %d", status, body, tc.status)
			}
		})
	}
}

// through makes a call at another base URL.
func (w *world) through(base, request, body string) (status int, answer string) {
	w.t.Helper()
	method, path, _ := strings.Cut(request, " ")
	req, err := http.NewRequest(method, base+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("X-Site", w.name)
	if body != "" {
		if !json.Valid([]byte(body)) {
			w.t.Fatalf("%s is no JSON", body)
		}
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, fmt.Sprint(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.StatusCode, string(raw)
}
