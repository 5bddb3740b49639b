// Command connection measures what a kept connection to the backend is worth: the first call and
// the hundredth over the gateway's pool, beside a gateway that connects for each call, with and
// without TLS, over some round-trip times; and how many connections many calls at a time need. Run
// it in the directory bench, as root (it makes a network device, see package distance); `make
// bench-connection` does.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/caddy-grpc/gateway/bench/internal/distance"
	"github.com/caddy-grpc/gateway/bench/internal/fleet"
	"github.com/caddy-grpc/gateway/bench/internal/page"
	"github.com/caddy-grpc/gateway/bench/internal/plot"
)

var (
	rounds = flag.Int("rounds", 3, "how often a gateway is started for each figure, which is the median")
	docs   = flag.String("docs", "", "the `page` to write the figures into")
)

const binaries = "out/bin"

func main() {
	flag.Parse()
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	if err := fleet.Build(binaries); err != nil {
		return err
	}
	latency, figure, err := latencies()
	if err != nil {
		return err
	}
	fmt.Println(latency)
	concurrency, err := concurrency()
	if err != nil {
		return err
	}
	fmt.Println(concurrency)
	if *docs == "" {
		return nil
	}
	if err := page.Fill(*docs, "connection", latency); err != nil {
		return err
	}
	if err := page.Fill(*docs, "concurrency", concurrency); err != nil {
		return err
	}
	return figure.Write(filepath.Join(strings.TrimSuffix(*docs, ".md"), "connection.svg"))
}

// way is how calls get to the backend.
type way struct {
	name string
	site func(b fleet.Backends, ca string) string
	// How many round trips the first call and a later one take, without and with TLS.
	first, later [2]int
}

// A connection costs one round trip for TCP, one for TLS 1.3, and one until the client has seen the
// server's SETTINGS, which grpc-go waits for; the call itself is one more.
var ways = []way{
	{name: "the gateway's pool", site: pool, first: [2]int{3, 4}, later: [2]int{1, 1}},
	{name: "connecting for each call", site: func(b fleet.Backends, ca string) string { return "bench_floor " + b.GRPC + " dial " + ca },
		first: [2]int{3, 4}, later: [2]int{3, 4}},
}

func pool(b fleet.Backends, ca string) string {
	secure := ""
	if ca != "" {
		secure = "tls {\nserver_name bench.local\ntrust_pool file " + ca + "\n}\n"
	}
	return fmt.Sprintf("grpc_gateway {\nupstream bench {\ndiscover static %s\ndescriptors protoset %s\n%s}\n}", b.GRPC, b.Protoset, secure)
}

// latencies measures calls one after the other.
func latencies() (table string, f plot.Figure, err error) {
	line, err := distance.Open()
	if err != nil {
		return "", f, err
	}
	defer line.Close()
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return "", f, err
	}
	defer os.RemoveAll(dir)
	ca, key, err := certificate(dir)
	if err != nil {
		return "", f, err
	}
	t := page.NewTable("round trip", "", "first call, ms", "round trips", "100th call, ms", "round trips")
	f.Title = "Latency of a call, ms"
	for i, secured := range []string{"", ca} {
		fl := &fleet.Fleet{Bin: binaries, Near: distance.Near, Far: distance.Far}
		if secured != "" {
			fl.BackendArgs = []string{"-cert", ca, "-key", key}
		}
		err := fl.Start()
		if err == nil {
			err = overDistances(fl, line, secured, i, t, &f)
		}
		fl.Stop()
		if err != nil {
			return "", f, err
		}
	}
	return t.String(), f, nil
}

func overDistances(fl *fleet.Fleet, line *distance.Line, ca string, secured int, t *page.Table, f *plot.Figure) error {
	name := []string{"plain", "TLS"}[secured]
	for _, rtt := range []time.Duration{0, 10 * time.Millisecond, 50 * time.Millisecond} {
		line.SetRTT(rtt)
		panel := plot.Panel{Title: fmt.Sprintf("%s, round trip of %v", name, rtt)}
		for _, w := range ways {
			first, later, err := series(fl, w, ca)
			if err != nil {
				return fmt.Errorf("%s, %s, %v: %w", w.name, name, rtt, err)
			}
			t.Row(fmt.Sprintf("%v, %s", rtt, name), w.name, ms(first), arithmetic(w.first[secured], rtt), ms(later), arithmetic(w.later[secured], rtt))
			panel.Bars = append(panel.Bars, plot.Bar{Label: w.name, Parts: []float64{float64(later.Microseconds())}, Text: ms(later), Ours: w.name == ways[0].name})
		}
		f.Panels = append(f.Panels, panel)
	}
	return nil
}

func arithmetic(n int, rtt time.Duration) string {
	if rtt == 0 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%d = %v", n, time.Duration(n)*rtt)
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d.Microseconds())/1000) }

// series starts gateways and makes a hundred calls through each. The later figure is that of the
// calls around the hundredth.
func series(fl *fleet.Fleet, w way, ca string) (first, later time.Duration, err error) {
	var firsts, laters []time.Duration
	for range *rounds {
		g, err := fl.Launch(fleet.Peer{Name: "measured", Program: "caddy", Site: func(b fleet.Backends) string { return w.site(b, ca) }})
		if err != nil {
			return 0, 0, err
		}
		latencies, err := calls(g.Addr, 100)
		g.Stop()
		if err != nil {
			return 0, 0, err
		}
		firsts = append(firsts, latencies[0])
		laters = append(laters, median(latencies[90:]))
	}
	return median(firsts), median(laters), nil
}

func median(v []time.Duration) time.Duration {
	v = slices.Clone(v)
	slices.Sort(v)
	return v[len(v)/2]
}
