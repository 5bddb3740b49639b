package e2e

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-grpc/gateway/e2e/kit"
	"github.com/caddy-grpc/gateway/internal/testkit"
)

// fleet starts backends and registers them in a new etcd.
func fleet(t *testing.T, n int) (*kit.Etcd, []*testkit.Backend, []string) {
	t.Helper()
	etcd := kit.EmbeddedEtcd(t)
	var backends []*testkit.Backend
	var addrs []string
	for i := range n {
		backend := testkit.StartBackend(t)
		etcd.Put(t, fmt.Sprintf("user.rpc/%d", i), backend.Addr())
		backends, addrs = append(backends, backend), append(addrs, backend.Addr())
	}
	return etcd, backends, addrs
}

// withRoute is the gateway with one explicit route whose template has a number, so that each load
// is a new config.
func withRoute(etcd *kit.Etcd, n int, block string) kit.Options {
	opts := options(etcd, "user.rpc", block)
	opts.Site = strings.TrimSuffix(opts.Site, "}") + fmt.Sprintf("\troute GET /reloaded/%d/{text} gateway.test.v1.Echo/Unary\n}", n)
	return opts
}

// serving waits until the gateway answers calls over all its instances.
func serving(t *testing.T, caddy *kit.Caddy, addrs []string) {
	t.Helper()
	caddy.WaitReady(t, 20*time.Second, addrs...)
	kit.Eventually(t, 20*time.Second, "the gateway answers", func() error {
		_, err := whoAnswers(http.DefaultClient, caddy)
		return err
	})
}

// TestReloadsOfRoutes: 100 loads of a config with another route, under load over h2c, lose no
// request and dial nothing.
func TestReloadsOfRoutes(t *testing.T) {
	const reloads = 100
	etcd, backends, addrs := fleet(t, 3)
	caddy := kit.StartCaddy(t, withRoute(etcd, 0, ""))
	serving(t, caddy, addrs)
	var before []int64
	for _, backend := range backends {
		before = append(before, int64(backend.Accepted()))
	}
	load := kit.StartLoad(kit.H2C(), 200, echoGet(caddy), echoed)
	time.Sleep(300 * time.Millisecond)
	for n := range reloads {
		if err := caddy.Reload(withRoute(etcd, n+1, "")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	code, body, err := kit.GetJSON(http.DefaultClient, caddy.URL(fmt.Sprintf("/reloaded/%d/last", reloads)))
	if err != nil || code != http.StatusOK {
		t.Errorf("the route of the last reload: %d %s %v", code, body, err)
	}
	time.Sleep(300 * time.Millisecond)
	kit.NoFailures(t, load.Stop(), 500)
	for i, backend := range backends {
		if got := int64(backend.Accepted()); got != before[i] {
			t.Errorf("backend %s has accepted %d connections, %d before the reloads", backend.Addr(), got, before[i])
		}
	}
}

// TestReloadsOverHTTP1 sets the gateway beside a bare `respond` site in the same process: Caddy
// itself resets a few HTTP/1.1 connections when it reloads, and the gateway must be no worse.
func TestReloadsOverHTTP1(t *testing.T) {
	const reloads = 40
	etcd, _, addrs := fleet(t, 2)
	with := func(n int) kit.Options {
		opts := withRoute(etcd, n, "")
		opts.Site = "handle /control* {\n\trespond 200\n}\nhandle {\n" + opts.Site + "\n}"
		return opts
	}
	caddy := kit.StartCaddy(t, with(0))
	serving(t, caddy, addrs)
	control := kit.StartLoad(kit.H1(), 100, func(ctx context.Context, id string) (*http.Request, error) {
		return http.NewRequestWithContext(ctx, http.MethodPost, caddy.URL("/control/"+id), strings.NewReader(`{"text":"`+id+`"}`))
	}, nil)
	ours := kit.StartLoad(kit.H1(), 100, func(ctx context.Context, id string) (*http.Request, error) {
		return http.NewRequestWithContext(ctx, http.MethodPost, caddy.URL("/v1/echo"), strings.NewReader(`{"text":"`+id+`"}`))
	}, echoed)
	for n := range reloads {
		if err := caddy.Reload(with(n + 1)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	theirs, mine := control.Stop(), ours.Stop()
	lost, controlLost := len(kit.Failures(mine)), len(kit.Failures(theirs))
	t.Logf("over HTTP/1.1: the gateway lost %d of %d, a bare respond site %d of %d", lost, len(mine), controlLost, len(theirs))
	for _, failure := range kit.Failures(mine) {
		if failure.Status != 0 {
			t.Errorf("the gateway itself answered with a failure: %v", failure)
		}
	}
	// Both draw from the same small number of connections that Caddy resets; what is more than the
	// control's by far is ours.
	if lost > 3*controlLost+10 {
		t.Errorf("the gateway lost %d requests, a bare respond site %d", lost, controlLost)
	}
}

// TestChangedUpstreamIsHandedOver: a change that needs new connections loses no request either.
func TestChangedUpstreamIsHandedOver(t *testing.T) {
	etcd, backends, addrs := fleet(t, 2)
	caddy := kit.StartCaddy(t, withRoute(etcd, 0, ""))
	serving(t, caddy, addrs)
	load := kit.StartLoad(kit.H2C(), 200, echoGet(caddy), echoed)
	for n := range 5 {
		time.Sleep(500 * time.Millisecond)
		if err := caddy.Reload(withRoute(etcd, n+1, fmt.Sprintf("connect_timeout %ds", n+6))); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(500 * time.Millisecond)
	kit.NoFailures(t, load.Stop(), 400)
	for _, backend := range backends {
		if backend.Accepted() < 6 {
			t.Errorf("backend %s has accepted %d connections; each of 5 changes makes one", backend.Addr(), backend.Accepted())
		}
	}
}

// TestBadConfigIsRefused: the admin API says what is wrong, and everything stays as it was.
func TestBadConfigIsRefused(t *testing.T) {
	etcd, backends, addrs := fleet(t, 2)
	caddy := kit.StartCaddy(t, withRoute(etcd, 0, ""))
	serving(t, caddy, addrs)
	before, accepted := caddy.Config(t), backends[0].Accepted()
	bad := map[string]struct{ site, want string }{
		"unknown option":    {"grpc_gateway etcd://127.0.0.1:1/x {\n\tbogus\n}", "bogus"},
		"bad template":      {"grpc_gateway 127.0.0.1:1 {\n\troute GET /a/{b a.B/C\n}", "/a/{b"},
		"unknown cluster":   {"grpc_gateway {\n\tupstream x {\n\t\tdiscover etcd k {\n\t\t\tcluster nowhere\n\t\t}\n\t}\n}", "nowhere"},
		"missing protoset":  {"grpc_gateway {\n\tupstream x {\n\t\tdiscover static 127.0.0.1:1\n\t\tdescriptors protoset /nowhere.binpb\n\t}\n}", "/nowhere.binpb"},
		"unknown upstream":  {"grpc_gateway nobody", "nobody"},
		"negative duration": {"grpc_gateway 127.0.0.1:1 {\n\ttimeout -5s\n}", "-5s"},
	}
	load := kit.StartLoad(kit.H2C(), 100, echoGet(caddy), echoed)
	time.Sleep(500 * time.Millisecond)
	for name, c := range bad {
		t.Run(name, func(t *testing.T) {
			err := caddy.Reload(kit.Options{Global: cluster(etcd), Site: c.site})
			if err == nil {
				t.Fatal("the config was taken")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("the error does not say %q: %v", c.want, err)
			}
			if after := caddy.Config(t); after != before {
				t.Errorf("the config has changed to %s", after)
			}
		})
	}
	time.Sleep(500 * time.Millisecond)
	kit.NoFailures(t, load.Stop(), 10)
	if got := backends[0].Accepted(); got != accepted {
		t.Errorf("connections: %d, before %d", got, accepted)
	}
}
