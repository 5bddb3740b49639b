// Package consul runs the gateway with its plugin against a real Consul agent, with access control.
// It is a module of its own, because Consul has many dependencies. `make test-consul` runs it.
package consul

import (
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

func startUser(t *testing.T) *testkit.Backend {
	t.Helper()
	return testkit.StartNamed(t, "user.v1.Users", "user", "GET /v1/users/{value}")
}

// trouble waits until the admin API shows trouble with Consul with that text, or none if it is "",
// and logs how long that took.
func trouble(t *testing.T, caddy *kit.Caddy, want string) {
	t.Helper()
	t.Logf("trouble %q is shown after %v", want, caddy.Trouble(t, want).Round(time.Millisecond))
}

// used waits until an instance gets calls, and logs how long that took.
func used(t *testing.T, b *testkit.Backend, since string) {
	t.Helper()
	before := b.Calls()
	took := kit.Eventually(t, 30*time.Second, "it gets calls", func() error {
		if got := b.Calls() - before; got < 3 { // One may be for the schema.
			return fmt.Errorf("%d calls", got)
		}
		return nil
	})
	t.Logf("in use %v after %s", took.Round(time.Millisecond), since)
}

// ready waits until the gateway is connected to these instances and to no others, and logs how long
// that took.
func ready(t *testing.T, caddy *kit.Caddy, since string, all ...*testkit.Backend) {
	t.Helper()
	var addrs []string
	for _, b := range all {
		addrs = append(addrs, b.Addr())
	}
	t.Logf("%d instances %v after %s", len(all), caddy.WaitReady(t, 30*time.Second, addrs...).Round(time.Millisecond), since)
}

// TestConsul lets instances come and go, fail their checks, and lose their registry. No call fails.
func TestConsul(t *testing.T) {
	for name, options := range kinds() {
		t.Run(name, func(t *testing.T) {
			a := startAgent(t)
			oldID, oldToken := a.token(t, "old")
			one, two, three := startUser(t), startUser(t), startUser(t)
			a.register(t, "user", "user-1", one.Addr())
			opts := options(a, oldToken)
			opts.Binary = kit.BinaryOf(t, "e2e/consul/caddy")
			caddy := kit.StartCaddy(t, opts)
			kit.Eventually(t, 30*time.Second, "the first instance answers", func() error { return caddy.Answers("/v1/users/me") })
			load := caddy.LoadUsers()

			a.register(t, "user", "user-2", two.Addr())
			used(t, two, "it registered")
			a.check(t, "user-2", "fail")
			ready(t, caddy, "a check failed", one)
			a.check(t, "user-2", "pass")
			used(t, two, "its check passed")
			ready(t, caddy, "that", one, two)
			a.deregister(t, "user-1")
			ready(t, caddy, "one deregistered", two)

			a.stop()
			trouble(t, caddy, "connection refused")
			ready(t, caddy, "Consul's end", two)
			a.start(t)
			trouble(t, caddy, "")
			a.register(t, "user", "user-1", one.Addr())
			used(t, one, "it registered again after Consul's restart")
			ready(t, caddy, "that", one, two)

			_, newToken := a.token(t, "new")
			a.must(t, http.MethodDelete, "/v1/acl/token/"+oldID, nil)
			a.deregister(t, "user-1") // It wakes the query, which is then refused.
			trouble(t, caddy, "ACL not found")
			ready(t, caddy, "the end of the token", one, two)
			if err := caddy.Reload(options(a, newToken)); err != nil {
				t.Fatal(err)
			}
			a.register(t, "user", "user-3", three.Addr())
			used(t, three, "it registered after the change of the token")
			ready(t, caddy, "that, without the pool of the old token", two, three)
			kit.NoFailures(t, load.Stop(), 50)
		})
	}
}

// TestCatalogOfConsul lets a service come that no config names, and lets it go again.
func TestCatalogOfConsul(t *testing.T) {
	a := startAgent(t)
	_, token := a.token(t, "gateway")
	a.register(t, "user", "user-1", startUser(t).Addr())
	opts := kinds()["catalog"](a, token)
	opts.Binary = kit.BinaryOf(t, "e2e/consul/caddy")
	caddy := kit.StartCaddy(t, opts)
	kit.Eventually(t, 30*time.Second, "the first service answers", func() error { return caddy.Answers("/v1/users/me") })
	load := caddy.LoadUsers()
	order := testkit.StartNamed(t, "order.v1.Orders", "order", "GET /v1/orders/{value}")
	a.register(t, "order", "order-1", order.Addr())
	t.Logf("a new service answers %v after it registered", kit.Eventually(t, 30*time.Second, "it answers", func() error {
		return caddy.Answers("/v1/orders/7")
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
