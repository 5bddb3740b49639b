// Package consul runs the gateway with its plugin against a real Consul agent, with access control.
// It is a module of its own, because Consul has many dependencies. `make test-consul` runs it.
package consul

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/caddy-grpc/gateway/e2e/kit"
	"github.com/caddy-grpc/gateway/internal/testkit"
)

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "e2e-consul-")
	if err == nil {
		err = build(dir)
	}
	code := 1
	if err != nil {
		fmt.Println(err)
	} else {
		code = m.Run()
	}
	kit.RemoveBinary()
	os.RemoveAll(dir)
	os.Exit(code)
}

// kinds are the ways in which the gateway finds services in Consul.
func kinds() map[string]func(a *agent, token string) kit.Options {
	return map[string]func(*agent, string) kit.Options{
		"source": func(a *agent, token string) kit.Options {
			return kit.Options{Site: fmt.Sprintf("grpc_gateway {\n upstream user {\n discover consul user {\n address %s\n token %s\n }\n }\n }", a.addr, token)}
		},
		"catalog": func(a *agent, token string) kit.Options {
			return kit.Options{
				Global: fmt.Sprintf("grpc_gateway {\n catalog fleet consul %s {\n tag grpc\n token %s\n }\n }", a.addr, token),
				Site:   "grpc_gateway catalog:fleet {\n expose *\n }",
			}
		},
	}
}

func startUser(t *testing.T) string {
	t.Helper()
	return testkit.StartNamed(t, "user.v1.Users", "user", "GET /v1/users/{value}").Addr()
}

func answers(caddy *kit.Caddy, path string) error {
	code, body, err := kit.GetJSON(http.DefaultClient, caddy.URL(path))
	if err != nil || code != http.StatusOK {
		return fmt.Errorf("status %d, %s, %w", code, body, err)
	}
	return nil
}

// startLoad calls the service all the time.
func startLoad(caddy *kit.Caddy) *kit.Load {
	return kit.StartLoad(kit.H2C(), 20, func(ctx context.Context, id string) (*http.Request, error) {
		return http.NewRequestWithContext(ctx, http.MethodGet, caddy.URL("/v1/users/"+id), nil)
	}, func(_ string, body []byte) error {
		if string(body) != `"user"` {
			return fmt.Errorf("answer %q", body)
		}
		return nil
	})
}

// TestConsul lets instances come and go, fail their checks, and lose their registry. No call fails.
func TestConsul(t *testing.T) {
	for name, options := range kinds() {
		t.Run(name, func(t *testing.T) {
			a := startAgent(t)
			oldID, oldToken := a.token(t, "old")
			one, two := startUser(t), startUser(t)
			a.register(t, "user", "user-1", one)
			opts := options(a, oldToken)
			opts.Binary = kit.BinaryOf(t, "e2e/consul/caddy")
			caddy := kit.StartCaddy(t, opts)
			kit.Eventually(t, 30*time.Second, "the first instance answers", func() error { return answers(caddy, "/v1/users/me") })
			load := startLoad(caddy)

			a.register(t, "user", "user-2", two)
			t.Logf("in use %v after it registered", caddy.WaitReady(t, 30*time.Second, one, two))
			a.check(t, "user-2", "fail")
			t.Logf("out of use %v after its check failed", caddy.WaitReady(t, 30*time.Second, one))
			a.check(t, "user-2", "pass")
			t.Logf("in use %v after its check passed", caddy.WaitReady(t, 30*time.Second, one, two))
			a.deregister(t, "user-1")
			t.Logf("out of use %v after it deregistered", caddy.WaitReady(t, 30*time.Second, two))

			a.stop()
			trouble(t, caddy, true)
			caddy.WaitReady(t, 10*time.Second, two)
			a.start(t)
			restarted := time.Now()
			trouble(t, caddy, false)
			t.Logf("no trouble any more %v after Consul's restart", time.Since(restarted))
			a.register(t, "user", "user-1", one)
			t.Logf("in use %v after it registered again", caddy.WaitReady(t, 30*time.Second, one, two))

			_, newToken := a.token(t, "new")
			a.must(t, http.MethodDelete, "/v1/acl/token/"+oldID, nil)
			a.deregister(t, "user-1") // It wakes the query, which is then refused.
			trouble(t, caddy, true)
			changed := options(a, newToken)
			if err := caddy.Reload(changed); err != nil {
				t.Fatal(err)
			}
			t.Logf("out of use %v after the change of the token", caddy.WaitReady(t, 30*time.Second, two))
			kit.NoFailures(t, load.Stop(), 50)
		})
	}
}

// trouble waits until the admin API shows trouble with Consul, or none.
func trouble(t *testing.T, caddy *kit.Caddy, want bool) {
	t.Helper()
	kit.Eventually(t, 90*time.Second, fmt.Sprintf("trouble with Consul: %v", want), func() error {
		upstreams, err := caddy.Upstreams()
		if err != nil {
			return err
		}
		if len(upstreams) == 0 {
			return fmt.Errorf("no upstreams")
		}
		for _, u := range upstreams {
			if (u.Registry.Error != "") != want {
				return fmt.Errorf("%s: %q", u.Name, u.Registry.Error)
			}
		}
		return nil
	})
}

// TestCatalogOfConsul lets a service come that no config names, and lets it go again.
func TestCatalogOfConsul(t *testing.T) {
	a := startAgent(t)
	_, token := a.token(t, "gateway")
	a.register(t, "user", "user-1", startUser(t))
	opts := kinds()["catalog"](a, token)
	opts.Binary = kit.BinaryOf(t, "e2e/consul/caddy")
	caddy := kit.StartCaddy(t, opts)
	kit.Eventually(t, 30*time.Second, "the first service answers", func() error { return answers(caddy, "/v1/users/me") })
	load := startLoad(caddy)
	order := testkit.StartNamed(t, "order.v1.Orders", "order", "GET /v1/orders/{value}")
	a.register(t, "order", "order-1", order.Addr())
	t.Logf("a new service answers %v after it registered", kit.Eventually(t, 30*time.Second, "it answers", func() error {
		return answers(caddy, "/v1/orders/7")
	}))
	a.deregister(t, "order-1")
	order.Stop()
	t.Logf("it has gone %v after it ended", kit.Eventually(t, 30*time.Second, "404", func() error {
		code, body, err := kit.GetJSON(http.DefaultClient, caddy.URL("/v1/orders/7"))
		if err != nil || code != http.StatusNotFound {
			return fmt.Errorf("status %d, %s, %w", code, body, err)
		}
		return nil
	}))
	kit.NoFailures(t, load.Stop(), 20)
}
