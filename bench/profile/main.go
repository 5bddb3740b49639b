// Command profile says where the gateway's processor time goes, by kind of work: it takes a CPU
// profile of our process under load, and sorts its samples by who caused them (the kernel's work,
// too, is somebody's) and by what they did. Run it in the directory bench; `make bench-profile`
// does. The profiles stay in out/profiles, for go tool pprof.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/pprof/profile"

	"github.com/caddy-grpc/gateway/bench/internal/fleet"
	"github.com/caddy-grpc/gateway/bench/internal/page"
	"github.com/caddy-grpc/gateway/bench/internal/plot"
	"github.com/caddy-grpc/gateway/bench/internal/traffic"
)

var (
	works   = flag.String("work", "get,post,list,upload,stream,grpc,connect,connect-json", "kinds of `work`")
	conns   = flag.Int("conns", 64, "connections")
	seconds = flag.Int("seconds", 5, "how long each profile is taken")
	peer    = flag.String("peer", fleet.Ours, "whose profile; a floor's shows what is Caddy's anyway")
	docs    = flag.String("docs", "", "the `page` to write the figures into")
)

func main() {
	flag.Parse()
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	const binaries, profiles = "out/bin", "out/profiles"
	if err := fleet.Build(binaries); err != nil {
		return err
	}
	if err := os.MkdirAll(profiles, 0o755); err != nil {
		return err
	}
	f := &fleet.Fleet{Bin: binaries, GatewayCore: "0", LoadCore: "1", Env: []string{"GOGC=off", "GOMEMLIMIT=256MiB"}}
	defer f.Stop()
	if err := f.Start(); err != nil {
		return err
	}
	p, err := fleet.Find(*peer)
	if err != nil {
		return err
	}
	g, err := f.Launch(p)
	if err != nil {
		return err
	}
	var shares []*share
	for _, work := range strings.Split(*works, ",") {
		raw, perRequest, err := take(f, g, work)
		if err != nil {
			return fmt.Errorf("%s: %w", work, err)
		}
		if err := os.WriteFile(filepath.Join(profiles, strings.ReplaceAll(p.Name, " ", "-")+"-"+work+".pb.gz"), raw, 0o600); err != nil {
			return err
		}
		parsed, err := profile.Parse(bytes.NewReader(raw))
		if err != nil {
			return err
		}
		shares = append(shares, sortOut(work, perRequest, parsed))
	}
	text := tables(shares)
	fmt.Println(text)
	if *docs == "" {
		return nil
	}
	if err := page.Fill(*docs, "profile", text); err != nil {
		return err
	}
	return figure(shares).Write(filepath.Join(strings.TrimSuffix(*docs, ".md"), "where.svg"))
}

// take profiles a gateway under load. perRequest is the processor time of a request, in µs.
func take(f *fleet.Fleet, g *fleet.Gateway, work string) (raw []byte, perRequest float64, err error) {
	type answer struct {
		raw []byte
		err error
	}
	profiled := make(chan answer, 1)
	go func() {
		time.Sleep(500 * time.Millisecond) // The connections are made then.
		raw, err := get(fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", g.Debug, *seconds))
		profiled <- answer{raw, err}
	}()
	res, err := f.Measure(traffic.Cell{Work: work, Addr: g.Addr, PID: g.PID, Debug: g.Debug, Connections: *conns, Duration: time.Duration(*seconds+1) * time.Second})
	a := <-profiled
	if err == nil {
		err = a.err
	}
	return a.raw, float64(res.CPU.Nanoseconds()) / 1e3 / float64(max(1, res.Requests)), err
}

func get(url string) ([]byte, error) {
	resp, err := http.Get(url)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", url, resp.Status)
	}
	return io.ReadAll(resp.Body)
}

func tables(shares []*share) string {
	var b strings.Builder
	t := page.NewTable(append([]string{"µs per request", "all"}, owners...)...)
	for _, s := range shares {
		row := []string{s.work, fmt.Sprintf("%.1f", s.perRequest)}
		for _, o := range owners {
			row = append(row, fmt.Sprintf("%.1f", s.perRequest*s.of(func(k kind) bool { return k.owner == o })))
		}
		t.Row(row...)
	}
	b.WriteString(t.String() + "\n")
	t = page.NewTable(append([]string{"share"}, doings...)...)
	for _, s := range shares {
		row := []string{s.work}
		for _, d := range doings {
			row = append(row, fmt.Sprintf("%.0f %%", 100*s.of(func(k kind) bool { return k.doing == d })))
		}
		t.Row(row...)
	}
	b.WriteString(t.String() + "\n")
	t = page.NewTable("µs per request of ours, by package", "transcode", "frontend", "module", "pool", "httprule and schema")
	for _, s := range shares {
		row := []string{s.work}
		for _, of := range [][]string{{"internal/transcode"}, {"internal/frontend"}, {"module"}, {"internal/pool"}, {"internal/httprule", "internal/schema"}} {
			sum := 0.0
			for _, name := range of {
				sum += s.packages[name]
			}
			row = append(row, fmt.Sprintf("%.1f", s.perRequest*sum))
		}
		t.Row(row...)
	}
	b.WriteString(t.String())
	return b.String()
}

func figure(shares []*share) plot.Figure {
	p := plot.Panel{Title: "share of the processor time"}
	for _, s := range shares {
		bar := plot.Bar{Label: s.work, Text: fmt.Sprintf("%.0f µs", s.perRequest)}
		for _, o := range owners {
			bar.Parts = append(bar.Parts, s.of(func(k kind) bool { return k.owner == o }))
		}
		p.Bars = append(p.Bars, bar)
	}
	return plot.Figure{Title: "Where the time of a request goes", Legend: owners, Panels: []plot.Panel{p}}
}
