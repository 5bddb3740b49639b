package httpe2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/caddy-grpc/gateway/e2e/kit"
	"github.com/caddy-grpc/gateway/internal/testkit"
	"github.com/caddy-grpc/gateway/internal/testkit/testpb"
)

// output runs a program that must be on the machine, for at most a minute.
func output(t *testing.T, name string, args ...string) (stdout string, err error) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is needed: %v", name, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	err = cmd.Run()
	if err != nil {
		err = fmt.Errorf("%s %v: %w: %s", name, args, err, problems.String())
	}
	return out.String(), err
}

// sameJSON fails unless the JSON texts have the same value.
func sameJSON(t *testing.T, what, got, want string) {
	t.Helper()
	var g, w any
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(got), &g); err != nil || !reflect.DeepEqual(g, w) {
		t.Errorf("%s: got %s (%v)\nwant %s", what, got, err, want)
	}
}

func TestCurl(t *testing.T) {
	w := newWorld(t, "\tgrpc_gateway echo")
	for _, version := range []string{"--http1.1", "--http2-prior-knowledge"} {
		t.Run(version, func(t *testing.T) {
			curl := func(args ...string) (string, error) {
				return output(t, "curl", append([]string{"-sS", "--max-time", "30", version}, args...)...)
			}
			for name, x := range map[string]struct {
				args []string
				want string
			}{
				"a path with %2F": {[]string{w.URL("/v1/echo/a%2Fb"), "-o", "/dev/null", "-w", "%{http_code} %{content_type}"}, "200 application/json"},
				"a wrong method":  {[]string{"-X", "DELETE", w.URL("/v1/echo"), "-o", "/dev/null", "-w", "%{http_code} %header{allow}"}, "405 GET, HEAD, OPTIONS, POST, REPORT"},
				"curl -d":         {[]string{"-d", "{}", w.URL("/v1/echo"), "-o", "/dev/null", "-w", "%{http_code}"}, "415"},
				"HEAD":            {[]string{"-I", w.URL("/v1/shelves/1/books/1"), "-o", "/dev/null", "-w", "%{http_code}"}, "200"},
				"raw bodies":      {[]string{"--data-binary", "raw", "-H", "Content-Type: text/x-raw", w.URL("/v1/upload/f"), "-w", " %{content_type}"}, "raw text/x-raw"},
			} {
				got, err := curl(x.args...)
				if name == "curl -d" && leavesEarlyAnswers(version, err) {
					continue
				}
				if err != nil || got != x.want {
					t.Errorf("%s: got %q, %v; want %q", name, got, err, x.want)
				}
			}
			for _, accept := range framings {
				got, err := curl("-N", "-H", "Accept: "+accept, w.URL("/v1/stream/1000"))
				messages, failed, ok := take(t, accept, got)
				if err != nil || failed != "" || !ok {
					t.Errorf("%s: %v, failed %q", accept, err, failed)
				}
				numbered(t, messages, 1000)
			}
			if got, err := curl("-H", "Accept: application/json", w.URL("/v1/stream/5?script.fail_code=9&script.fail_after=2")); err == nil {
				t.Errorf("curl takes an array that was cut off for a whole one: %s", got)
			}
			got, err := curl("-H", "Content-Type: application/x-ndjson", "--data-binary", `{"text":"a"}{"text":"b"}`, w.URL("/v1/collect"))
			if err != nil || !strings.HasPrefix(got, `{"text":"a,b"`) {
				t.Errorf("an upload: %s, %v", got, err)
			}
		})
	}
	w.idle(t, "curl has ended")
}

// leavesEarlyAnswers reports whether curl has failed because the answer over HTTP/2 came before its
// body was sent. The server then resets the stream without an error, and a client must keep the
// answer (RFC 9113, section 8.1). Some versions of curl, such as 7.88, sometimes do not.
func leavesEarlyAnswers(version string, err error) bool {
	return version == "--http2-prior-knowledge" && err != nil && strings.Contains(err.Error(), "curl: (92)")
}

func TestNodeFetch(t *testing.T) {
	w := newWorld(t, "\tgrpc_gateway echo")
	got, err := output(t, "node", "testdata/fetch.mjs", w.URL(""))
	if err != nil {
		t.Fatal(err)
	}
	sameJSON(t, "fetch", got, `{
		"unary": {"text": "a/b", "count": 3},
		"missing": {"status": 404, "body": {"code": 5, "message": "no route for GET /v1/nowhere"}},
		"numbers": 500, "error": {"code": 9, "message": "late"},
		"upload": "a,b,c",
		"array": "rejected"
	}`)
	w.idle(t, "fetch was aborted")
}

// reports hands on the text of the request whose script has the id "report".
func reports(to chan<- string) testkit.Option {
	return testkit.WithServerOptions(grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
		if echo, ok := req.(*testpb.EchoRequest); ok && echo.GetScript().GetId() == "report" {
			select {
			case to <- echo.GetText():
			case <-ctx.Done(): // It was reported already.
			}
		}
		return h(ctx, req)
	}))
}

// TestChromium has a page in headless Chromium call methods by fetch, EventSource and WebSocket,
// and report what it saw with one more call.
func TestChromium(t *testing.T) {
	reported := make(chan string, 1)
	dir, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, fmt.Sprintf("\thandle /page.html {\n\t\troot %s\n\t\tfile_server\n\t}\n\thandle {\n\t\tgrpc_gateway echo\n\t}", dir), reports(reported))
	// The page is no call of the gateway, so that no document describes it.
	if a := (&client{t: t, w: w, http: kit.H1()}).do("GET", "/page.html", nil); a.StatusCode != http.StatusOK {
		t.Fatalf("the page: %s", a)
	}
	stop := startChromium(t, w.URL("/page.html"))
	defer stop()
	var got string
	select {
	case got = <-reported:
	case <-time.After(2 * time.Minute):
		t.Fatal("the page did not report within two minutes")
	}
	sameJSON(t, "the page", got, `{
		"fetch": "a/b",
		"events": {"ids": ["1","2","3","4","5"], "numbers": [1,2,3,4,5]},
		"failing events": {"ids": ["1","2"], "numbers": [1,2], "error": {"code": 9, "message": "late"}},
		"bidi": {"seen": ["a","b"], "code": 1000, "reason": ""},
		"unary": {"seen": ["hello"], "code": 1000, "reason": ""},
		"client stream": {"seen": ["a,b"], "code": 1000, "reason": ""},
		"failing socket": {"seen": ["x"], "code": 4009, "reason": "FAILED_PRECONDITION: late"}
	}`)
	stop()
	w.idle(t, "Chromium has ended")
}

// startChromium opens a page, without a window. It needs no driver: the page reports by itself.
func startChromium(t *testing.T, url string) (stop func()) {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatalf("chromium is needed (scripts/need chromium): %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, path, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-port=0",
		"--user-data-dir="+t.TempDir(), url)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = cmd.Wait() }()
	return func() { cancel(); <-done }
}
