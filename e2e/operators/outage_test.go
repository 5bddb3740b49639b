package operators

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/caddy-grpc/gateway/e2e/kit"
	"github.com/caddy-grpc/gateway/internal/testkit"
)

// TestEtcdOutageIsAFewLines stops a real etcd that fifty services are registered in, and starts it
// again. Operators get a few lines that count the services, and not some for each of them.
func TestEtcdOutageIsAFewLines(t *testing.T) {
	const services = 50
	backend := testkit.StartBackend(t)
	etcd := kit.EmbeddedEtcd(t)
	keys := make(map[string]string, services)
	var upstreams strings.Builder
	for i := range services {
		keys[fmt.Sprintf("s%d.rpc/1", i)] = backend.Addr()
		fmt.Fprintf(&upstreams, "upstream s%d {\ndiscover etcd s%d.rpc\n}\n", i, i)
	}
	etcd.PutAll(t, keys)
	caddy := kit.StartCaddy(t, kit.Options{
		Global: fmt.Sprintf("grpc_gateway {\netcd {\nendpoints %s\n}\n%s}", etcd.Addr, upstreams.String()),
		Site:   "grpc_gateway s0",
	})
	stale := func(want int) func() error {
		return func() error {
			views, err := caddy.Upstreams()
			n := 0
			for _, u := range views {
				if u.Registry.Stale {
					n++
				}
				if u.Registry.Instances != 1 {
					return fmt.Errorf("%s has %d instances", u.Name, u.Registry.Instances)
				}
			}
			if err == nil && (len(views) != services || n != want) {
				err = fmt.Errorf("%d of %d services are stale", n, len(views))
			}
			return err
		}
	}
	kit.Eventually(t, patience, "all services are known", stale(0))
	etcd.Stop()
	kit.Eventually(t, patience, "no service has a registry", stale(services))
	kit.Eventually(t, patience, "the log tells of it", func() error { return logHas(caddy, `"services":50`) })
	etcd.Start(t)
	kit.Eventually(t, patience, "all services have their registry again", stale(0))
	kit.Eventually(t, patience, "the log tells of that, too", func() error { return logHas(caddy, "etcd is back") })

	var loud []string
	for line := range strings.Lines(caddy.Log()) {
		var entry struct{ Level, Logger string }
		if json.Unmarshal([]byte(line), &entry) != nil {
			t.Errorf("not a line of the log: %s", line)
		}
		if strings.Contains(entry.Logger, "grpc_gateway") && entry.Level != "info" && entry.Level != "debug" {
			loud = append(loud, line)
		}
	}
	if len(loud) == 0 || len(loud) > 4 {
		t.Errorf("%d lines at WARN or above:\n%s", len(loud), strings.Join(loud, ""))
	}
}

func logHas(caddy *kit.Caddy, text string) error {
	if log := caddy.Log(); !strings.Contains(log, text) {
		return fmt.Errorf("it has no %q:\n%s", text, log)
	}
	return nil
}
