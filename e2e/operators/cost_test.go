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

// startFleet runs a gateway with 300 services, and calls one of them ten times a second, so that
// every answer to a page is a new one.
func startFleet(b *testing.B) *kit.Caddy {
	b.Helper()
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
	load := kit.StartLoad(kit.H1(), 10, func(ctx context.Context, _ string) (*http.Request, error) {
		return http.NewRequestWithContext(ctx, http.MethodPost, caddy.URL("/s001.v1.Thing/Get"), strings.NewReader("{}"))
	}, nil)
	b.Cleanup(func() { load.Stop() })
	return caddy
}

// BenchmarkOverview measures the processor time of one answer to an open page, which asks once a
// second. Ten milliseconds are a hundredth of a core.
func BenchmarkOverview(b *testing.B) {
	caddy := startFleet(b)
	before := caddy.CPU(b)
	answers := 0
	for b.Loop() {
		answers++
		if _, _, err := kit.GetJSON(http.DefaultClient, caddy.URL("/status/overview")); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(1000*(caddy.CPU(b)-before).Seconds()/float64(answers), "cpu-ms/op")
}

// BenchmarkOpenPage measures what a page that is open in Chromium costs, in percent of a core: the
// difference of a minute with it and a minute without. docs/operations.md has the command and a
// result.
func BenchmarkOpenPage(b *testing.B) {
	caddy := startFleet(b)
	spent := func() float64 {
		before := caddy.CPU(b)
		time.Sleep(time.Minute)
		return 100 * (caddy.CPU(b) - before).Seconds() / time.Minute.Seconds()
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
