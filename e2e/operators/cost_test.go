package operators

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-grpc/gateway/e2e/kit"
	"github.com/caddy-grpc/gateway/e2e/kit/browser"
)

// BenchmarkOpenPage measures what an open page costs a gateway with 300 services, in percent of a
// core. Calls go on all the while, so that every answer to the page is a new one. Each of the two
// times takes a minute. docs/operations.md has the command and a result.
func BenchmarkOpenPage(b *testing.B) {
	const minute = time.Minute
	etcd := kit.EmbeddedEtcd(b)
	keys, _ := startMany(b)
	etcd.PutAll(b, keys)
	caddy := kit.StartCaddy(b, kit.Options{
		Site: strings.Replace(site, "shop user", "catalog:fleet {\n expose *\n }", 1), Global: catalogOf(etcd),
	})
	kit.Eventually(b, 5*time.Minute, "all services are served", func() error {
		_, body, err := kit.GetJSON(http.DefaultClient, caddy.URL("/status/overview"))
		if n := strings.Count(body, `"state":"serving"`); err == nil && n != manyServices {
			err = fmt.Errorf("%d services", n)
		}
		return err
	})
	load := kit.StartLoad(kit.H1(), 10, func(ctx context.Context, id string) (*http.Request, error) {
		return http.NewRequestWithContext(ctx, http.MethodPost, caddy.URL("/s001.v1.Thing/Get"), strings.NewReader("{}"))
	}, nil)
	defer load.Stop()
	spent := func() float64 {
		before := caddy.CPU(b)
		time.Sleep(minute)
		return 100 * (caddy.CPU(b) - before).Seconds() / minute.Seconds()
	}
	for b.Loop() {
		without := spent()
		page := browser.Start(b, browser.Options{Pictures: "operators"}).Open(b, caddy.URL(""), "/status/", browser.Look{})
		page.Wait("#verdict", "all well")
		with := spent()
		asked := 0
		for address, n := range page.Asked() {
			if strings.HasSuffix(address, "/overview") {
				asked += n
			}
		}
		b.ReportMetric(without, "%core-without")
		b.ReportMetric(with, "%core-with")
		b.ReportMetric(with-without, "%core-page")
		b.ReportMetric(float64(asked), "answers")
	}
}
