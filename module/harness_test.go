package module_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-grpc/gateway"
	"github.com/caddy-grpc/gateway/internal/freeport"
	"github.com/caddy-grpc/gateway/internal/testkit"
	"github.com/caddy-grpc/gateway/module"
)

// runAsCaddy in the environment makes the test binary a Caddy. Tests use it for the end of a
// process.
const runAsCaddy = "GATEWAY_TEST_RUN_AS_CADDY"

func TestMain(m *testing.M) {
	if os.Getenv(runAsCaddy) != "" {
		caddycmd.Main()
		return
	}
	data, err := os.MkdirTemp("", "gateway-data-")
	if err != nil {
		panic(err)
	}
	os.Setenv("XDG_DATA_HOME", data) // A test must not find the snapshots of another run.
	code := m.Run()
	os.RemoveAll(data)
	os.Exit(code)
}

// site is a Caddy in this process. There can be only one at a time.
type site struct {
	t        testing.TB
	addr     string
	admin    string
	dir      string
	client   *http.Client // h2c: over HTTP/1.1 Caddy itself resets requests when it reloads
	shutdown func()
}

// newSite makes a site without a config. The site stops with the test, which fails if something of
// the gateway is left over then.
func newSite(t testing.TB) *site {
	t.Helper()
	warmUp(t)
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: &protocols}
	s := &site{t: t, addr: freeAddr(t), admin: freeAddr(t), dir: t.TempDir(), client: &http.Client{Transport: transport, Timeout: 20 * time.Second}}
	stopped := false
	s.shutdown = func() {
		if stopped {
			return
		}
		stopped = true
		transport.CloseIdleConnections()
		if err := caddy.Stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
		module.WaitForShared(t)
		checkGoroutines(t)
	}
	t.Cleanup(func() {
		s.shutdown()
		if t.Failed() {
			raw, _ := os.ReadFile(s.logFile())
			t.Logf("the log:\n%s", raw)
		}
	})
	return s
}

func (s *site) logFile() string { return filepath.Join(s.dir, "log.json") }

// checkGoroutines fails the test if a goroutine of the gateway or of a gRPC client is left over.
// Caddy leaves some of its own, which goleak would find.
func checkGoroutines(t testing.TB) {
	t.Helper()
	var found string
	for range 100 {
		buf := make([]byte, 4<<20)
		found = ""
		for _, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if ours.MatchString(g) && !tests.MatchString(g) {
				found = g
			}
		}
		if found == "" {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("a goroutine is left over:\n%s", found)
}

var (
	ours  = regexp.MustCompile(`caddy-grpc/gateway/(module|discovery|internal/(pool|schema|frontend))|grpc\.\(\*(ClientConn|addrConn)|http2Client`)
	tests = regexp.MustCompile(`module_test\.|testkit`)
)

// warmUp makes Caddy start what it never stops.
func warmUp(t testing.TB) {
	t.Helper()
	const nothing = `{"admin": {"disabled": true, "config": {"persist": false}}, "logging": {"logs": {"default": {"level": "ERROR"}}}, "apps": {"http": {}}}`
	if err := caddy.Load([]byte(nothing), true); err != nil {
		t.Fatal(err)
	}
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
}

func freeAddr(t testing.TB) string {
	t.Helper()
	addr, err := freeport.Addr()
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// caddyfile returns a whole Caddyfile with these global options of the gateway and this site.
func (s *site) caddyfile(global, body string) string {
	return fmt.Sprintf(`{
	admin %s
	persist_config off
	storage file_system %s
	log {
		output file %s
		level DEBUG
	}
	servers {
		protocols h1 h2c
	}
	%s
}
http://%s {
	%s
}
`, s.admin, s.dir, s.logFile(), global, s.addr, body)
}

// adapt makes the JSON of a Caddyfile.
func adapt(t testing.TB, caddyfile string) []byte {
	t.Helper()
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		t.Fatalf("%v\n%s", err, caddyfile)
	}
	if config, err = testkit.WithTransport(config); err != nil {
		t.Fatal(err)
	}
	return config
}

// load loads a config with these parts of a Caddyfile.
func (s *site) load(global, body string) {
	s.t.Helper()
	if err := s.tryLoad(global, body); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) tryLoad(global, body string) error {
	s.t.Helper()
	return caddy.Load(adapt(s.t, s.caddyfile(global, body)), true)
}

// answer is an HTTP response that was read.
type answer struct {
	status int
	header http.Header
	body   string
	again  func() answer // asks again; nil where that would change something
}

func (a answer) String() string { return fmt.Sprintf("%d %s", a.status, a.body) }

// field is a field of the JSON body, by its path.
func (a answer) field(path ...string) any {
	var v any
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		return err
	}
	for _, name := range path {
		object, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = object[name]
	}
	return v
}

// do makes a request to the site. If it fails, the answer has the status 0.
func (s *site) do(method, path, body string) answer {
	return s.doContext(context.Background(), method, path, body)
}

func (s *site) doContext(ctx context.Context, method, path, body string) answer {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+s.addr+path, strings.NewReader(body))
	if err != nil {
		return answer{body: err.Error()}
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	return send(s.client, req)
}

// afresh is get over a new connection. A connection that is accepted while the config changes may
// keep the old config for as long as requests keep coming on it: the server that shuts down has not
// told it to go away. That is a race between Go's HTTP/2 server and Shutdown.
func (s *site) afresh(path string) answer {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, "http://"+s.addr+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	return send(&http.Client{Transport: transport, Timeout: s.client.Timeout}, req)
}

func send(client *http.Client, req *http.Request) answer {
	resp, err := client.Do(req)
	if err != nil {
		return answer{body: err.Error()}
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{status: -resp.StatusCode, body: err.Error()}
	}
	return answer{status: resp.StatusCode, header: resp.Header, body: string(bytes.TrimSpace(raw))}
}

func (s *site) get(path string) answer {
	a := s.do(http.MethodGet, path, "")
	a.again = func() answer { return s.get(path) }
	return a
}

// unsettled reports whether the answer only shows that a config has just been loaded. On a loaded
// machine connecting may take longer than calls wait for it, and Caddy resets connections that are
// made while it reloads.
func (a answer) unsettled() bool {
	return a.status == 0 && strings.Contains(a.body, "connection reset") || a.status == http.StatusServiceUnavailable && strings.Contains(a.body, "not known yet")
}

// want fails the test unless the answer has the status.
func (s *site) want(a answer, status int) answer {
	s.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); a.status != status && a.again != nil && a.unsettled() && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
		a = a.again()
	}
	if a.status != status {
		s.t.Fatalf("got %s, want status %d", a, status)
	}
	return a
}

// ask gets JSON from the admin API.
func (s *site) ask(path string, into any) {
	s.t.Helper()
	resp, err := http.Get("http://" + s.admin + path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		raw, _ := io.ReadAll(resp.Body)
		s.t.Fatalf("GET %s: %s %s", path, resp.Status, raw)
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		s.t.Fatal(err)
	}
}

// eventually waits until the condition holds.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if condition() {
			return
		}
	}
	t.Fatalf("not in time: %s", what)
}
