package module_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-grpc/gateway/internal/testkit"
	"github.com/caddy-grpc/gateway/module"
)

// load is steady traffic on a site.
type load struct {
	stop            chan struct{}
	wg              sync.WaitGroup
	calls, failures atomic.Int64
	mu              sync.Mutex
	first           []string // of the failures
}

// startLoad calls the site from several goroutines until end is called.
func startLoad(s *site, path string) *load {
	l := &load{stop: make(chan struct{})}
	for range 4 {
		l.wg.Go(func() {
			for {
				select {
				case <-l.stop:
					return
				default:
				}
				time.Sleep(time.Millisecond)
				l.calls.Add(1)
				// When Caddy closes a listener, connections that wait to be accepted are reset.
				// This does not depend on the handler: a site with only `respond` loses some, too.
				a := s.get(path)
				for tries := 0; a.status == 0 && tries < 5; tries++ {
					a = s.get(path)
				}
				if a.status != http.StatusOK {
					l.failures.Add(1)
					l.mu.Lock()
					if len(l.first) < 5 {
						l.first = append(l.first, a.String())
					}
					l.mu.Unlock()
				}
			}
		})
	}
	return l
}

// enough reports whether there was enough traffic for the test to mean something.
func (l *load) enough() bool { return l.calls.Load() >= 50 }

// end stops the traffic and fails the test if a call has failed.
func (l *load) end(t *testing.T) {
	t.Helper()
	close(l.stop)
	l.wg.Wait()
	if n := l.failures.Load(); n > 0 {
		t.Errorf("%d of %d calls failed: %s", n, l.calls.Load(), strings.Join(l.first, "; "))
	}
}

func TestReloadOfRoutesKeepsConnections(t *testing.T) {
	a, b := testkit.StartBackend(t), testkit.StartBackend(t)
	s := newSite(t)
	global := fmt.Sprintf("grpc_gateway {\n upstream echo {\n discover static %s %s\n }\n }", a.Addr(), b.Addr())
	config := func(i int) string {
		return fmt.Sprintf("grpc_gateway echo {\n route GET /r%d/{text} gateway.test.v1.Echo/Unary\n }", i)
	}
	s.load(global, config(0))
	s.want(s.get("/r0/x"), http.StatusOK)
	eventually(t, "both connected", func() bool { return a.Open() > 0 && b.Open() > 0 })
	acceptedA, acceptedB := a.Accepted(), b.Accepted()

	traffic := startLoad(s, "/v1/echo/x")
	for i := 1; i <= 20 || !traffic.enough(); i++ {
		s.load(global, config(i))
		// Requests that are under way as the config changes may still meet the old one.
		eventually(t, "the new route", func() bool { return s.afresh(fmt.Sprintf("/r%d/x", i)).status == http.StatusOK })
		eventually(t, "no old route", func() bool { return s.afresh(fmt.Sprintf("/r%d/x", i-1)).status == http.StatusNotFound })
	}
	traffic.end(t)

	if a.Accepted() != acceptedA || b.Accepted() != acceptedB {
		t.Errorf("accepted connections: %d and %d before, %d and %d after", acceptedA, acceptedB, a.Accepted(), b.Accepted())
	}
}

func TestChangedUpstreamIsHandedOver(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	config := func(i int) string {
		return fmt.Sprintf("grpc_gateway {\n upstream echo {\n discover static %s\n connect_timeout %ds\n }\n }", backend.Addr(), i)
	}
	s.load("", config(1))
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	accepted := backend.Accepted()

	traffic := startLoad(s, "/v1/echo/x")
	reloads := 0
	for ; reloads < 4 || !traffic.enough(); reloads++ {
		s.load("", config(reloads+2))
		time.Sleep(50 * time.Millisecond)
	}
	traffic.end(t)
	if got := backend.Accepted(); got < accepted+reloads {
		t.Errorf("%d connections were accepted, expected a new one for each of %d changes after %d", got, reloads, accepted)
	}
	if t.Failed() {
		return
	}
	// The old channels go after they have lingered for late calls.
	eventually(t, "old connections closed", func() bool { return backend.Open() == 1 })
}

// TestMovedUpstreamIsHandedOver changes the instances, so that even the schema must be read again.
func TestMovedUpstreamIsHandedOver(t *testing.T) {
	a, b := testkit.StartBackend(t), testkit.StartBackend(t)
	s := newSite(t)
	config := func(addr string) string {
		return "grpc_gateway {\n upstream echo {\n discover static " + addr + "\n }\n }"
	}
	s.load("", config(a.Addr()))
	s.want(s.get("/v1/echo/x"), http.StatusOK)

	traffic := startLoad(s, "/v1/echo/x")
	for i := 0; i < 2 || !traffic.enough(); i++ {
		s.load("", config(b.Addr()))
		time.Sleep(50 * time.Millisecond)
		s.load("", config(a.Addr()))
		time.Sleep(50 * time.Millisecond)
	}
	traffic.end(t)
}

func TestBadConfigLeavesEverythingAsItWas(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	good := "grpc_gateway " + backend.Addr()
	s.load("", good)
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	accepted, shared := backend.Accepted(), module.SharedCount()

	for name, tt := range map[string]struct{ global, body, want string }{
		"no such file": {
			body: "grpc_gateway {\n upstream a {\n discover static h:1\n descriptors protoset missing.binpb\n }\n }",
			want: "missing.binpb",
		},
		"no such certificate": {
			body: "grpc_gateway {\n upstream a {\n discover static h:1\n tls {\n trust_pool file missing.pem\n }\n }\n }",
			want: "missing.pem",
		},
		"the second of two": {
			body: "grpc_gateway {\n upstream a {\n discover static h:1\n }\n upstream b {\n discover static h:2\n descriptors proto missing.proto\n }\n }",
			want: "missing.proto",
		},
		"hidden method": {
			body: "grpc_gateway h:1 {\n route GET /x a.B/C\n hide a.B\n }",
			want: "a.B/C is not exposed",
		},
		"no such cluster": {
			body: "grpc_gateway {\n upstream a {\n discover etcd user\n }\n }",
			want: `no etcd cluster named "default"`,
		},
		"not ready": {
			global: "grpc_gateway {\n upstream a {\n discover static 127.0.0.1:1\n require_ready 100ms\n }\n }",
			body:   good,
			want:   `upstream "a": no instance was ready within require_ready 100ms`,
		},
		"same instances twice": {
			body: "grpc_gateway {\n upstream a {\n discover static h:1\n }\n upstream b {\n discover static h:1\n }\n }",
			want: "has the same instances as",
		},
	} {
		err := s.tryLoad(tt.global, tt.body)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want an error with %q", name, err, tt.want)
		}
		s.want(s.get("/v1/echo/x"), http.StatusOK)
	}
	if got := backend.Accepted(); got != accepted {
		t.Errorf("%d connections were accepted, %d before", got, accepted)
	}
	eventually(t, "nothing left over of the refused configs", func() bool {
		module.HurryDraining()
		return module.SharedCount() == shared
	})
}

func TestReplacedHandlerSendsItsClientsAway(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	config := "grpc_gateway static:///" + backend.Addr()
	s.load("", config)
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	old := activeHandler(t)
	ask := func() *http.Response {
		w := httptest.NewRecorder()
		if err := old.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v1/echo/x", nil), nil); err != nil {
			t.Fatal(err)
		}
		return w.Result()
	}
	if got := ask(); got.StatusCode != http.StatusOK || got.Header.Get("Connection") != "" {
		t.Errorf("in force: %s, Connection %q", got.Status, got.Header.Get("Connection"))
	}
	s.load("", config)
	if got := ask(); got.StatusCode != http.StatusOK || got.Header.Get("Connection") != "close" {
		t.Errorf("replaced: %s, Connection %q; want it to serve, and to close the connection", got.Status, got.Header.Get("Connection"))
	}
}

// activeHandler is the one handler of the site that is being served.
func activeHandler(t testing.TB) *module.Handler {
	t.Helper()
	return handlerOf(t, caddy.ActiveContext())
}

// handlerOf is the one handler of a site.
func handlerOf(t testing.TB, config caddy.Context) *module.Handler {
	t.Helper()
	app, err := config.App("http")
	if err != nil {
		t.Fatal(err)
	}
	site, ok := app.(*caddyhttp.App).Servers["srv0"].Routes[0].Handlers[0].(*caddyhttp.Subroute)
	if !ok {
		t.Fatal("the site is no subroute")
	}
	h, ok := site.Routes[0].Handlers[0].(*module.Handler)
	if !ok {
		t.Fatal("the site's handler is not the gateway")
	}
	return h
}
