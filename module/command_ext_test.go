package module_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-grpc/gateway/internal/testkit"
	"github.com/caddy-grpc/gateway/module"
)

// TestCommandSite says where `call --config` finds the gateway.
func TestCommandSite(t *testing.T) {
	for name, tt := range map[string]struct {
		caddyfile string
		url, dial string
		fail      string
	}{
		"port":               {":8080\ngrpc_gateway user:1", "http://localhost:8080", "localhost:8080", ""},
		"port of http":       {"http://:80\ngrpc_gateway user:1", "http://localhost", "localhost:80", ""},
		"host without TLS":   {"http://api.example.com:8080\ngrpc_gateway user:1", "http://api.example.com:8080", "localhost:8080", ""},
		"automatic HTTPS":    {"api.example.com\ngrpc_gateway user:1", "https://api.example.com", "localhost:443", ""},
		"other port":         {"api.example.com:8443\ngrpc_gateway user:1", "https://api.example.com:8443", "localhost:8443", ""},
		"own certificate":    {":8443\ntls internal {\non_demand\n}\ngrpc_gateway user:1", "https://localhost:8443", "localhost:8443", ""},
		"HTTPS is off":       {"{\nauto_https off\n}\nhttp://api.example.com:8443\ngrpc_gateway user:1", "http://api.example.com:8443", "localhost:8443", ""},
		"other HTTP port":    {"{\nhttp_port 8000\n}\nhttp://api.example.com\ngrpc_gateway user:1", "http://api.example.com:8000", "localhost:8000", ""},
		"bind":               {":8080\nbind 127.0.0.2\ngrpc_gateway user:1", "http://127.0.0.2:8080", "127.0.0.2:8080", ""},
		"every address":      {":8080\nbind 0.0.0.0\ngrpc_gateway user:1", "http://localhost:8080", "localhost:8080", ""},
		"IPv6":               {":80\nbind ::1\ngrpc_gateway user:1", "http://[::1]", "[::1]:80", ""},
		"Unix socket":        {"http://api.example.com\nbind unix//run/gateway.sock\ngrpc_gateway user:1", "http://api.example.com", "unix//run/gateway.sock", ""},
		"prefix":             {":8080\nhandle_path /api/* {\nhandle_path /v1/* {\ngrpc_gateway user:1\n}\n}", "http://localhost:8080/api/v1", "localhost:8080", ""},
		"beside a prefix":    {":8080\nhandle_path /files/* {\nfile_server\n}\nhandle {\ngrpc_gateway user:1\n}", "http://localhost:8080", "localhost:8080", ""},
		"two at one address": {":8080\nhandle /a/* {\ngrpc_gateway user:1\n}\nhandle /b/* {\ngrpc_gateway order:1\n}", "http://localhost:8080", "localhost:8080", ""},
		"two names":          {"http://*.example.com:8080, http://api.example.com:8080\ngrpc_gateway user:1", "http://api.example.com:8080", "localhost:8080", ""},
		"named route":        {"&(gateway) {\ngrpc_gateway user:1\n}\nhttp://api.example.com:8080\ninvoke gateway", "http://api.example.com:8080", "localhost:8080", ""},
		"another site":       {":8080\ngrpc_gateway user:1\n", "http://localhost:8080", "localhost:8080", ""},
		"two sites":          {":8080 {\ngrpc_gateway user:1\n}\n:8081 {\ngrpc_gateway user:1\n}", "", "", "choose one with --address: http://localhost:8080, http://localhost:8081"},
		"no gateway":         {":8080\nrespond hello", "", "", "has no site with grpc_gateway: expected --address"},
		"no name":            {"http://*.example.com:8080\ngrpc_gateway user:1", "", "", "has no site with grpc_gateway"},
	} {
		t.Run(name, func(t *testing.T) {
			url, dial, err := module.SiteOf(adapt(t, tt.caddyfile))
			if url != tt.url || dial != tt.dial {
				t.Errorf("%s at %s, want %s at %s", url, dial, tt.url, tt.dial)
			}
			if (err == nil) != (tt.fail == "") || err != nil && !strings.Contains(err.Error(), tt.fail) {
				t.Errorf("error: %v, want %q", err, tt.fail)
			}
		})
	}
}

// TestCommandConfig gives a config file to every command that asks a running server.
func TestCommandConfig(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	file := filepath.Join(t.TempDir(), "Caddyfile")
	write(t, file, s.caddyfile("grpc_gateway {\n upstream user {\n discover static "+backend.Addr()+"\n }\n }", "handle_path /grpc_gateway/* {\n grpc_gateway_status\n }\n grpc_gateway user"))
	if err := caddy.Load(adapt(t, read(t, file)), true); err != nil {
		t.Fatal(err)
	}
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	off := filepath.Join(t.TempDir(), "Caddyfile")
	write(t, off, "{\nadmin off\n}\n")
	for name, tt := range map[string]struct {
		args []string
		out  string
		fail string
	}{
		"upstreams":          {[]string{"upstreams", "--config", file}, "READY", ""},
		"catalog":            {[]string{"catalog", "--config", file}, "There is no catalog", ""},
		"routes":             {[]string{"routes", "--config", file}, "/v1/echo/{text}", ""},
		"call":               {[]string{"call", "--config", file, "gateway.test.v1.Echo/Unary", `{"text":"found"}`}, `"text":"found"`, ""},
		"admin address wins": {[]string{"upstreams", "--config", file, "--address", "127.0.0.1:1"}, "", "127.0.0.1:1"},
		"site address wins":  {[]string{"call", "--config", file, "--address", "127.0.0.1:1", "a.B/C"}, "", "127.0.0.1:1"},
		"a status site":      {[]string{"upstreams", "--address", "http://" + s.addr}, "READY", ""},
		"admin off":          {[]string{"upstreams", "--config", off}, "", "switches the admin endpoint off"},
		"no file":            {[]string{"catalog", "--config", file + ".gone"}, "", "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			out, _, err := run(t, "", tt.args...)
			if (err == nil) != (tt.fail == "") || err != nil && !strings.Contains(err.Error(), tt.fail) {
				t.Errorf("error: %v, want %q", err, tt.fail)
			}
			if !strings.Contains(out, tt.out) {
				t.Errorf("no %q in %s", tt.out, out)
			}
		})
	}
}

// TestCommandTLS asks for views and makes a call at an address whose certificate nobody trusts.
func TestCommandTLS(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if user, password, _ := r.BasicAuth(); strings.HasPrefix(r.URL.Path, "/ops/") && (user != "ops" || password != "secret") {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, "[]")
	}))
	t.Cleanup(server.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	write(t, ca, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	withPassword := strings.Replace(server.URL, "://", "://ops:secret@", 1) + "/ops/"
	for _, args := range [][]string{{"upstreams", "--address", server.URL}, {"upstreams", "--address", withPassword}, {"call", "--address", server.URL, "a.B/C"}} {
		t.Run(strings.Join(args[:1], " "), func(t *testing.T) {
			for _, flags := range [][]string{{"--insecure"}, {"--cacert", ca}} {
				if _, _, err := run(t, "", append(args, flags...)...); err != nil {
					t.Errorf("%v: %v", flags, err)
				}
			}
			_, _, err := run(t, "", args...)
			if err == nil || !strings.Contains(err.Error(), "certificate") || module.ExitCode(err) != 4 || strings.Contains(err.Error(), "secret") {
				t.Errorf("without a flag: %v", err)
			}
			if _, _, err := run(t, "", append(args, "--cacert", ca+".gone")...); module.ExitCode(err) != 1 {
				t.Errorf("without the file: %v", err)
			}
			if _, _, err := run(t, "", append(args, "--cacert", ca, "--insecure")...); module.ExitCode(err) != 1 {
				t.Errorf("with both flags: %v", err)
			}
		})
	}
}

// TestCommandExitCodes checks the codes for which e2e/operators has no gateway.
func TestCommandExitCodes(t *testing.T) {
	answer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/a.B/Problem":
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"title":"NOT_FOUND","status":404}`)
		case "/a.B/Text":
			http.Error(w, "no", http.StatusNotFound)
		case "/a.B/Slow":
			_, _ = io.Copy(io.Discard, r.Body) // so that the server sees the client leave
			<-r.Context().Done()
		case "/a.B/Torn":
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, `{"text":`)
		case "/grpc_gateway/upstreams":
			_, _ = io.WriteString(w, "not JSON")
		default:
			http.NotFound(w, r)
		}
	})
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	for name, tt := range map[string]struct {
		args []string
		code int
	}{
		"problem details":  {[]string{"call", "a.B/Problem"}, 69},
		"no status":        {[]string{"call", "a.B/Text"}, 1},
		"no answer":        {[]string{"call", "a.B/Slow", "--timeout", "50ms"}, 68},
		"half an answer":   {[]string{"call", "a.B/Torn"}, 4},
		"not JSON":         {[]string{"upstreams"}, 1},
		"not a gateway":    {[]string{"routes"}, 1},
		"no method":        {[]string{"call", "nonsense"}, 1},
		"a short interval": {[]string{"upstreams", "--watch=1ms"}, 1},
		"check and watch":  {[]string{"upstreams", "--check", "--watch"}, 1},
		"a bad address":    {[]string{"upstreams", "--address", "localhost:1-2"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			args := tt.args
			if name != "a bad address" {
				args = append(args, "--address", server.URL)
			}
			if _, _, err := run(t, "", args...); module.ExitCode(err) != tt.code {
				t.Errorf("exit code %d, want %d: %v", module.ExitCode(err), tt.code, err)
			}
		})
	}
}

// TestCommandUnixSocket asks an admin API at a Unix socket.
func TestCommandUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin.sock")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `[{"name":"user","target":%q}]`, r.Header.Get("Origin"))
	}))
	server.Listener.Close()
	server.Listener = listener
	server.Start()
	t.Cleanup(server.Close)
	for _, address := range []string{"unix/" + path, "unix/" + path + "|0222"} {
		if out, _, err := run(t, "", "upstreams", "--address", address); err != nil || !strings.HasPrefix(out, "user  ()\n") {
			t.Errorf("%s: %v\n%s", address, err, out)
		}
	}
}

// syncBuffer is a buffer for two goroutines.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// TestCommandWatch watches upstreams while the server is away and comes back.
func TestCommandWatch(t *testing.T) {
	var mu sync.Mutex
	away := false
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if away {
			http.NotFound(w, r)
			return
		}
		_, _ = io.WriteString(w, `[{"name":"user"},{"name":"order"}]`)
	}))
	t.Cleanup(server.Close)
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	var out, errs syncBuffer
	cmd := module.Command()
	cmd.SetOut(&out)
	cmd.SetErr(&errs)
	cmd.SetArgs([]string{"upstreams", "--address", server.URL, "--watch=100ms", "--json", "user"})
	ended := make(chan error, 1)
	go func() { ended <- cmd.ExecuteContext(ctx) }()
	lines := func() int { return strings.Count(out.String(), "\n") }
	eventually(t, "two documents", func() bool { return lines() >= 2 })
	mu.Lock()
	away = true
	mu.Unlock()
	eventually(t, "an error", func() bool { return strings.Contains(errs.String(), "Error: there is no /grpc_gateway/upstreams") })
	mu.Lock()
	away = false
	mu.Unlock()
	n := lines()
	eventually(t, "another document", func() bool { return lines() > n })
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("it ended with %v", err)
	}
	for line := range strings.Lines(out.String()) {
		var views []module.UpstreamView
		if json.Unmarshal([]byte(line), &views) != nil || len(views) != 1 || views[0].Name != "user" {
			t.Errorf("not one document: %q", line)
		}
	}
}
