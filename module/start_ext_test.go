package module_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-grpc/gateway/internal/testkit"
	"github.com/caddy-grpc/gateway/module"
)

// TestValidateDialsNothing points everything that could be dialled at listeners that count.
func TestValidateDialsNothing(t *testing.T) {
	s := newSite(t)
	etcd, backend := newCounter(t), newCounter(t)
	config := adapt(t, s.caddyfile(
		"grpc_gateway {\n etcd {\n endpoints "+etcd.addr+"\n }\n upstream a {\n discover etcd user.rpc\n require_ready 1s\n }\n }",
		"grpc_gateway a {\n upstream b {\n discover static "+backend.addr+"\n }\n to dns:///"+backend.addr+" etcd://"+etcd.addr+"/other\n }"))
	var parsed *caddy.Config
	if err := caddy.StrictUnmarshalJSON(config, &parsed); err != nil {
		t.Fatal(err)
	}
	if err := caddy.Validate(parsed); err != nil {
		t.Fatal(err)
	}
	module.WaitForShared(t)
	if n := etcd.close() + backend.close(); n != 0 {
		t.Errorf("%d connections were opened", n)
	}
}

// counter accepts connections and counts them.
type counter struct {
	addr string
	l    net.Listener
	n    chan int
}

func newCounter(t *testing.T) *counter {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &counter{addr: l.Addr().String(), l: l, n: make(chan int)}
	go func() {
		n := 0
		for {
			conn, err := l.Accept()
			if err != nil {
				c.n <- n
				return
			}
			n++
			conn.Close()
		}
	}()
	return c
}

// close returns how many connections there were.
func (c *counter) close() int {
	c.l.Close()
	return <-c.n
}

func TestStartsWithBackendsDown(t *testing.T) {
	backend := testkit.NewBackend(testkit.WithAddress(freeAddr(t)))
	t.Cleanup(backend.Stop)
	if err := backend.Start(); err != nil {
		t.Fatal(err)
	}
	backend.Stop()
	s := newSite(t)
	s.load("", "grpc_gateway "+backend.Addr())

	got := s.want(s.get("/v1/echo/x"), http.StatusServiceUnavailable)
	if got.field("code") != 14. || !strings.Contains(got.body, "not known yet") {
		t.Errorf("without a backend: %s", got)
	}
	if strings.Contains(got.body, backend.Addr()) {
		t.Errorf("an address is told to clients: %s", got)
	}
	if err := backend.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "healed", func() bool { return s.get("/v1/echo/x").status == http.StatusOK })
	s.want(s.get("/nowhere"), http.StatusNotFound)
}

func TestServiceWithoutReflection(t *testing.T) {
	backend := testkit.StartBackend(t, testkit.WithReflection(false, false))
	s := newSite(t)
	s.load("", "grpc_gateway "+backend.Addr())
	got := s.want(s.get("/v1/echo/x"), http.StatusServiceUnavailable)
	if !strings.Contains(got.body, "no server reflection") {
		t.Errorf("got %s", got)
	}
}

func TestRequireReady(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	s.load("", "grpc_gateway {\n upstream a {\n discover static "+backend.Addr()+"\n require_ready 5s\n }\n }")
	if backend.Open() == 0 {
		t.Error("loaded before the instance was connected")
	}
	if got := s.get("/v1/echo/x"); got.status != http.StatusOK {
		t.Errorf("the first request after the load: %s", got)
	}
}

// provisioned returns a config whose apps have not started. Caddy starts them in any order, so the
// HTTP servers may come first.
func provisioned(t *testing.T, config []byte) (caddy.App, *module.Handler) {
	t.Helper()
	var parsed *caddy.Config
	if err := caddy.StrictUnmarshalJSON(config, &parsed); err != nil {
		t.Fatal(err)
	}
	ctx, err := caddy.ProvisionContext(parsed)
	if err != nil {
		t.Fatal(err)
	}
	app, err := ctx.App("grpc_gateway")
	if err != nil {
		t.Fatal(err)
	}
	h := handlerOf(t, ctx)
	t.Cleanup(func() {
		if err := h.Cleanup(); err != nil {
			t.Error(err)
		}
		if err := app.(*module.App).Cleanup(); err != nil {
			t.Error(err)
		}
		module.WaitForShared(t)
		checkGoroutines(t)
	})
	return app.(caddy.App), h
}

// TestRequestsBeforeReadiness sends requests to the servers of a config that waits for its
// instances.
func TestRequestsBeforeReadiness(t *testing.T) {
	set := filepath.Join(t.TempDir(), "echo.binpb")
	protoset(t, set, nil)
	for name, options := range map[string]string{
		"by reflection":   "",
		"schema of files": "descriptors protoset " + set,
		"by hash":         "descriptors protoset " + set + "\n balance hash {http.request.uri}",
	} {
		for _, comes := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, ready %v", name, comes), func(t *testing.T) {
				addr := freeAddr(t)
				backend := testkit.NewBackend(testkit.WithAddress(addr))
				patience := "20s"
				if !comes {
					patience = "1s"
				}
				s := newSite(t)
				app, h := provisioned(t, adapt(t, s.caddyfile("", "grpc_gateway {\n timeout 15s\n upstream a {\n discover static "+addr+
					"\n require_ready "+patience+"\n "+options+"\n }\n }")))
				answers := make(chan int)
				go func() {
					w := httptest.NewRecorder()
					if err := h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v1/echo/x", nil), nil); err != nil {
						t.Error(err)
					}
					answers <- w.Code
				}()
				started := make(chan error, 1)
				go func() { started <- app.Start() }()
				select {
				case code := <-answers:
					t.Fatalf("answered with %d before the instance could be ready", code)
				case err := <-started:
					t.Fatalf("started: %v", err)
				case <-time.After(700 * time.Millisecond):
				}
				if !comes {
					if err := <-started; err == nil {
						t.Error("started without an instance")
					}
					if code := <-answers; code != http.StatusServiceUnavailable {
						t.Errorf("answered with %d when the config was refused", code)
					}
					return
				}
				if err := backend.Start(); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(backend.Stop)
				if code := <-answers; code != http.StatusOK {
					t.Errorf("answered with %d", code)
				}
				if err := <-started; err != nil {
					t.Error(err)
				}
			})
		}
	}
}
