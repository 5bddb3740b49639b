// Command compare measures the gateway beside its peers and beside floors, prints tables, and
// writes the figures of docs/performance.md. Run it in the directory bench; `make bench` does.
package main

import (
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-grpc/gateway/bench/internal/canned"
	"github.com/caddy-grpc/gateway/bench/internal/fleet"
)

type options struct {
	works, peers []string
	conns        []int
	rounds       int
	duration     time.Duration
	gateway      string
	load         string
	gc           string
	others       []fleet.Peer
	docs         string
	memory       bool
}

func main() {
	o, err := parse()
	if err == nil {
		err = run(o)
	}
	if err != nil {
		log.Fatal(err)
	}
}

func parse() (*options, error) {
	o := new(options)
	var names []string
	for _, w := range canned.Works() {
		names = append(names, w.Name)
	}
	works := flag.String("work", strings.Join(names, ","), "kinds of `work`")
	peers := flag.String("peers", "", "only these, by `name`; all by default")
	conns := flag.String("conns", "1,64,512", "`numbers` of connections")
	flag.IntVar(&o.rounds, "rounds", 5, "how often each cell is measured; the figure is the median")
	flag.DurationVar(&o.duration, "duration", 700*time.Millisecond, "how long a cell is measured")
	flag.StringVar(&o.gateway, "gateway-core", "0", "the `core` of the gateway; empty is any")
	flag.StringVar(&o.load, "load-core", "1", "the `core` of backend and load generator; empty is any")
	flag.StringVar(&o.gc, "gc", "GOGC=off,GOMEMLIMIT=256MiB", "`environment` of every process")
	flag.BoolVar(&o.memory, "memory", false, "measure the memory under load as well")
	flag.StringVar(&o.docs, "docs", "", "the `page` to write the figures into; its plots go into the directory of the same name")
	flag.Func("caddy", "also measure the gateway in this Caddy: `name=path`; a name like \"old over wire\" says its transport; may be repeated", func(s string) error {
		name, path, ok := strings.Cut(s, "=")
		if !ok {
			return fmt.Errorf("%q is no name=path", s)
		}
		path, err := filepath.Abs(path)
		o.others = append(o.others, fleet.OursOf(name, path))
		return err
	})
	flag.Func("transport", "also measure the gateway with this `transport` of its upstream; may be repeated", func(s string) error {
		o.others = append(o.others, fleet.OursOver(s))
		return nil
	})
	flag.Parse()
	o.memory = o.memory || o.docs != ""
	o.works = strings.Split(*works, ",")
	if *peers != "" {
		o.peers = strings.Split(*peers, ",")
	}
	for _, w := range o.works {
		if !slices.Contains(names, w) {
			return nil, fmt.Errorf("no work %q, but %s", w, strings.Join(names, ", "))
		}
	}
	for _, s := range strings.Split(*conns, ",") {
		n, err := strconv.Atoi(s)
		if err != nil {
			return nil, err
		}
		o.conns = append(o.conns, n)
	}
	return o, nil
}

func run(o *options) error {
	bin, err := filepath.Abs(binaries)
	if err != nil {
		return err
	}
	if err := fleet.Build(bin); err != nil {
		return err
	}
	m, err := compare(o)
	if err != nil {
		return err
	}
	m.print(os.Stdout)
	fmt.Println(m.goalTable())
	if len(m.wrong) > 0 || !o.memory {
		return errors.Join(m.wrong...)
	}
	memory, err := memoryTable(o)
	if err != nil {
		return err
	}
	fmt.Println(memory)
	if o.docs == "" {
		return nil
	}
	return m.write(memory)
}

// binaries is where the programs are built.
const binaries = "out/bin"

// compare starts the processes, and measures.
func compare(o *options) (*matrix, error) {
	f := &fleet.Fleet{Bin: binaries, GatewayCore: o.gateway, LoadCore: o.load, Env: strings.Split(o.gc, ",")}
	defer f.Stop()
	if err := f.Start(); err != nil {
		return nil, err
	}
	m := &matrix{options: o, fleet: f}
	if err := m.launch(); err != nil {
		return nil, err
	}
	return m, m.measure()
}
