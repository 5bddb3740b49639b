// Command scale measures start-up and size: the time to the first answer with few and many routes,
// what a reload costs, the memory of a route, a connection and a stream, and the time until a
// thousand and ten thousand instances are connected. Run it in the directory bench; `make
// bench-scale` does.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"slices"
	"time"

	"github.com/caddy-grpc/gateway/bench/internal/fleet"
	"github.com/caddy-grpc/gateway/bench/internal/page"
	"github.com/caddy-grpc/gateway/bench/internal/traffic"
)

var (
	rounds = flag.Int("rounds", 3, "how often each figure is measured; it is the median")
	docs   = flag.String("docs", "", "the `page` to write the figures into")
	few    = flag.Bool("short", false, "measure a hundredth of the size, to see whether it works")
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
	for _, part := range []struct {
		name    string
		measure func() (string, error)
	}{{"routes", routes}, {"size", sizes}, {"instances", instances}} {
		table, err := part.measure()
		if err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
		fmt.Println(table)
		if *docs == "" {
			continue
		}
		if err := page.Fill(*docs, part.name, table); err != nil {
			return err
		}
	}
	return nil
}

// scaled is a number, or a hundredth of it.
func scaled(n int) int {
	if *few {
		return max(10, n/100)
	}
	return n
}

// memory of a process in which the garbage was just collected.
type memory struct {
	RSS  int64
	Live int64 // heap and stacks in use, in bytes
}

func measureMemory(g *fleet.Gateway) (m memory, err error) {
	for range 2 { // The second takes what had finalizers, and what pools kept.
		if _, err := fetch("http://" + g.Debug + "/debug/pprof/heap?gc=1"); err != nil {
			return m, err
		}
	}
	raw, err := fetch("http://" + g.Debug + "/debug/vars")
	if err != nil {
		return m, err
	}
	var vars struct {
		Memstats struct{ HeapAlloc, StackInuse int64 } `json:"memstats"`
	}
	if err := json.Unmarshal(raw, &vars); err != nil {
		return m, err
	}
	m.Live = vars.Memstats.HeapAlloc + vars.Memstats.StackInuse
	m.RSS, err = traffic.RSS(g.PID)
	return m, err
}

func fetch(url string) ([]byte, error) {
	client := http.Client{Timeout: 30 * time.Second}
	resp, err := client.Get(url)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %.200s", url, resp.Status, body)
	}
	return body, err
}

func median[T int64 | float64 | time.Duration](v []T) T {
	v = slices.Clone(v)
	slices.Sort(v)
	return v[len(v)/2]
}

func ms(d time.Duration) string { return fmt.Sprintf("%.0f", float64(d.Microseconds())/1000) }
