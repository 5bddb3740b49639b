package scaling

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/caddy-grpc/gateway/e2e/kit"
	"github.com/caddy-grpc/gateway/internal/testkit"
)

var (
	services = flag.Int("services", 300, "services of the catalog, with -measure")
	each     = flag.Int("instances", 3, "instances of each service, with -measure")
)

func TestMain(m *testing.M) {
	code := m.Run()
	kit.RemoveBinary()
	os.Exit(code)
}

// catalogResult is what a catalog costs etcd and gateways that are processes of their own.
type catalogResult struct {
	gateways, services, instances int

	start   counts          // of etcd, until everything is connected
	ready   []time.Duration // until each gateway has connected everything and has read all schemas
	cpu     float64         // seconds of all gateways, until then
	heap    float64         // bytes of all gateways, with stacks, beyond what they have without a catalog
	idle    counts
	idleCPU float64
	changes counts
	latency []time.Duration // of a new instance, until the last gateway is connected to it
	busy    float64         // seconds of all gateways, for the changes
	writes  int
}

// measureCatalog has gateways start a catalog at the same moment, do nothing, and see changes.
func measureCatalog(t *testing.T, c *cluster, n, services, each int) catalogResult {
	t.Helper()
	r := catalogResult{gateways: n, services: services, instances: services * each}
	client := dial(t, c.members)
	entries := make(map[string]string)
	for i := range services {
		for j := range each {
			entries[fmt.Sprintf("catalog/s%d/%d", i, j)] = startService(t, i).Addr()
		}
	}
	putAll(t, client, entries)
	var all []*kit.Caddy
	for range n {
		all = append(all, kit.StartCaddy(t, kit.Options{Site: "respond 204"}))
	}
	empty, before := used(t, all), c.counts(t)
	r.ready = loadAll(t, all, kit.Options{
		Global: fmt.Sprintf("grpc_gateway {\n etcd {\n endpoints %s\n }\n catalog fleet etcd catalog\n }", strings.Join(c.members, " ")),
		Site:   "grpc_gateway catalog:fleet {\n expose *\n }",
	}, services, services*each)
	time.Sleep(time.Second) // watches are confirmed
	after, full := c.counts(t), used(t, all)
	r.start, r.cpu, r.heap = after.since(before), full.cpu-empty.cpu, full.heap-empty.heap

	time.Sleep(*idle)
	later, rested := c.counts(t), used(t, all)
	r.idle, r.idleCPU = later.since(after), rested.cpu-full.cpu

	for i := range *changes {
		// Another service each time: if one lost many instances, the gateways would doubt it.
		key, fresh := fmt.Sprintf("catalog/s%d/late-%d", i%services, i), startService(t, i%services)
		put := time.Now()
		if _, err := client.Put(t.Context(), key, fresh.Addr()); err != nil {
			t.Fatal(err)
		}
		kit.Eventually(t, time.Minute, "every gateway is connected to the new instance", func() error {
			if got := fresh.Accepted(); got < n {
				return fmt.Errorf("%d are", got)
			}
			return nil
		})
		r.latency = append(r.latency, time.Since(put))
		time.Sleep(250 * time.Millisecond)
		if _, err := client.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		time.Sleep(250 * time.Millisecond)
		r.writes += 2
	}
	time.Sleep(time.Second)
	r.changes, r.busy = c.counts(t).since(later), used(t, all).cpu-rested.cpu
	slices.Sort(r.ready)
	slices.Sort(r.latency)
	return r
}

func startService(t *testing.T, i int) *testkit.Backend {
	t.Helper()
	name := fmt.Sprint("s", i)
	return testkit.StartNamed(t, name+".v1.Service", name, "GET /v1/"+name+"/{value}")
}

func putAll(t *testing.T, client *clientv3.Client, entries map[string]string) {
	t.Helper()
	var ops []clientv3.Op
	for key, value := range entries {
		ops = append(ops, clientv3.OpPut(key, value))
	}
	for chunk := range slices.Chunk(ops, 100) {
		if _, err := client.Txn(t.Context()).Then(chunk...).Commit(); err != nil {
			t.Fatal(err)
		}
	}
}

// loadAll gives all gateways a config at the same moment. It returns after how long each serves so many
// services with so many instances.
func loadAll(t *testing.T, all []*kit.Caddy, config kit.Options, services, instances int) []time.Duration {
	t.Helper()
	began := time.Now()
	failed := make([]error, len(all))
	var loads sync.WaitGroup
	for i, caddy := range all {
		loads.Go(func() { failed[i] = caddy.Reload(config) })
	}
	loads.Wait()
	if err := errors.Join(failed...); err != nil {
		t.Fatal(err)
	}
	var ready []time.Duration
	waiting := slices.Clone(all)
	kit.Eventually(t, 10*time.Minute, "every gateway serves everything", func() (last error) {
		time.Sleep(200 * time.Millisecond) // Each look costs the gateway something.
		waiting = slices.DeleteFunc(waiting, func(caddy *kit.Caddy) bool {
			err := complete(caddy, services, instances)
			if err != nil {
				last = err
				return false
			}
			ready = append(ready, time.Since(began))
			return true
		})
		return last
	})
	return ready
}

// complete reports whether a gateway serves so many services with so many instances.
func complete(caddy *kit.Caddy, services, instances int) error {
	resp, err := http.Get("http://" + caddy.Admin + "/grpc_gateway/overview")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var view struct {
		Services []struct {
			Schema struct{ Loaded bool }
			States map[string]int
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&view); err != nil {
		return err
	}
	loaded, ready := 0, 0
	for _, s := range view.Services {
		if s.Schema.Loaded {
			loaded++
		}
		ready += s.States["READY"]
	}
	if loaded != services || ready != instances {
		return fmt.Errorf("%d services of %d are loaded, and %d instances of %d are READY", loaded, services, ready, instances)
	}
	return nil
}

// usage is what processes use.
type usage struct{ cpu, heap float64 }

// used adds it up over gateways, after a garbage collection in each.
func used(t *testing.T, all []*kit.Caddy) (sum usage) {
	t.Helper()
	for _, caddy := range all {
		resp, err := http.Get("http://" + caddy.Admin + "/debug/pprof/heap?gc=1")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		m := scrape(t, caddy.Admin)
		sum.cpu += m["process_cpu_seconds_total"]
		sum.heap += m["go_memstats_heap_inuse_bytes"] + m["go_memstats_stack_inuse_bytes"]
	}
	return sum
}

// TestOneWatchPerCatalog is the same arithmetic with whole gateways: however many services a catalog
// has, each gateway reads one list and has one watch.
func TestOneWatchPerCatalog(t *testing.T) {
	if *measureAll {
		t.Skip("it is measured instead")
	}
	*idle, *changes = 2*time.Second, 3
	const n = 2
	r := measureCatalog(t, startCluster(t), n, 10, 2)
	if r.start.watchers != n || r.start.reads != n {
		t.Errorf("%v watchers and %v reads for %d gateways with 10 services", r.start.watchers, r.start.reads, n)
	}
	if r.idle.reads > 0 || r.changes.reads > 0 || r.changes.watchers != 0 {
		t.Errorf("%v reads while nothing happened, %v reads and %v new watchers for %d changes", r.idle.reads, r.changes.reads, r.changes.watchers, r.writes)
	}
	if want := float64(r.writes * n); r.changes.answers < want {
		t.Errorf("%v messages on watches for %d changes, want %v", r.changes.answers, r.writes, want)
	}
}

// TestMeasureCatalog prints the table of docs/scaling.md that is about catalogs.
func TestMeasureCatalog(t *testing.T) {
	if !*measureAll {
		t.Skip("run it by `make scaling`")
	}
	// All instances are in this process, with a connection of each gateway.
	files := syscall.Rlimit{Cur: 1 << 18, Max: 1 << 18}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		t.Logf("the limit of open files cannot be raised, which 50 gateways need: %v", err)
	}
	c := startCluster(t)
	fmt.Println("| gateways | watchers | reads | list, bytes a gateway | idle, bytes a gateway and minute | a change, bytes a gateway | messages a change | " +
		"all READY, first / p50 / last gateway | gateway CPU until then | heap a gateway | gateway CPU a minute, idle | gateway CPU a change | etcd CPU a change | " +
		"new instance connected everywhere, p50 / max |")
	fmt.Println(strings.Repeat("| --- ", 14) + "|")
	for _, n := range slices.Compact([]int{1, *count}) {
		t.Run(fmt.Sprint(n), func(t *testing.T) { // The gateways of one row end before the next.
			rowOfCatalog(measureCatalog(t, c, n, *services, *each))
		})
	}
}

func rowOfCatalog(r catalogResult) {
	n, w := float64(r.gateways), float64(r.writes)
	fmt.Printf("| %d | %.0f | %.0f | %.0f | %.0f | %.0f | %.1f | %v / %v / %v | %.2f s | %.1f MiB | %.2f s | %.2f ms | %.2f ms | %v / %v |\n",
		r.gateways, r.start.watchers, r.start.reads, r.start.sent/n, r.idle.sent/n/idle.Minutes(), r.changes.sent/n/w, r.changes.answers/w,
		percentile(r.ready, 0).Round(10*time.Millisecond), percentile(r.ready, 50).Round(10*time.Millisecond), percentile(r.ready, 100).Round(10*time.Millisecond),
		r.cpu/n, r.heap/n/(1<<20), r.idleCPU/n/idle.Minutes(), 1000*r.busy/n/w, 1000*r.changes.cpu/w,
		percentile(r.latency, 50).Round(time.Millisecond), percentile(r.latency, 100).Round(time.Millisecond))
}
