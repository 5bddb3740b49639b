package scaling

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

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
	started time.Duration   // until all have
	cpu     float64         // seconds of all gateways, until then
	heap    float64         // bytes of all gateways, with stacks, for the catalog alone
	idle    counts
	idleCPU float64
	changes counts
	latency []time.Duration // of a new instance, until the last gateway is connected to it
	busy    float64         // seconds of all gateways, for the changes
	writes  int
}

// measureCatalog has gateways start a catalog, two at a time, do nothing, and see changes.
func measureCatalog(t *testing.T, c *cluster, n, services, each int) catalogResult {
	t.Helper()
	r := catalogResult{gateways: n, services: services, instances: services * each}
	client := dial(t, c.members)
	for from := 0; from < services; from += perProcess {
		putAll(t, client, startInstances(t, instances{From: from, To: min(from+perProcess, services), Each: each}))
	}
	var all []*kit.Caddy
	for range n {
		all = append(all, kit.StartCaddy(t, kit.Options{Site: "respond 204"}))
	}
	empty, before := used(t, all), c.counts(t)
	began := time.Now()
	r.ready = loadAll(t, all, kit.Options{
		Global: fmt.Sprintf("grpc_gateway {\n etcd {\n endpoints %s\n }\n catalog fleet etcd catalog\n }", strings.Join(c.members, " ")),
		Site:   "grpc_gateway catalog:fleet {\n expose *\n }",
	}, services, services*each)
	r.started = time.Since(began)
	time.Sleep(time.Second) // watches are confirmed
	after, full := c.counts(t), used(t, all)
	r.start, r.cpu, r.heap = after.since(before), full.since(empty), full.heap-empty.heap

	time.Sleep(*idle)
	later, rested := c.counts(t), used(t, all)
	r.idle, r.idleCPU = later.since(after), rested.since(full)

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
	r.changes, r.busy = c.counts(t).since(later), used(t, all).since(rested)
	slices.Sort(r.ready)
	slices.Sort(r.latency)
	return r
}

// perProcess is how many services are in one process. Each of 50 gateways has a connection to each
// of their instances, and a process may often have 20,000 files.
const perProcess = 50

// instances are those of some services. They are in a process of their own.
type instances struct{ From, To, Each int }

// instancesEnv makes this test binary run them, instead of the tests. With _FILE it names the
// file for their addresses.
const instancesEnv = "SCALING_INSTANCES"

// startInstances starts them until the test ends, and returns their registrations.
func startInstances(t *testing.T, some instances) (entries map[string]string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "addresses")
	what, err := json.Marshal(some)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run", "^TestInstances$")
	cmd.Env = append(os.Environ(), instancesEnv+"="+string(what), instancesEnv+"_FILE="+file)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	kit.Eventually(t, time.Minute, "the instances have started", func() error {
		raw, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		return json.Unmarshal(raw, &entries)
	})
	return entries
}

// TestInstances is not a test. It runs instances for one.
func TestInstances(t *testing.T) {
	file := os.Getenv(instancesEnv + "_FILE")
	if file == "" {
		t.Skip("no test has started this process")
	}
	var some instances
	if err := json.Unmarshal([]byte(os.Getenv(instancesEnv)), &some); err != nil {
		t.Fatal(err)
	}
	entries := make(map[string]string)
	for i := some.From; i < some.To; i++ {
		for j := range some.Each {
			entries[fmt.Sprintf("catalog/s%d/%d", i, j)] = startService(t, i).Addr()
		}
	}
	raw, err := json.Marshal(entries)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	select {} // until it is killed
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

// loadAll gives the gateways a config, two at a time as in a rolling start. It returns after how
// long each serves so many services with so many instances, from when it got the config.
func loadAll(t *testing.T, all []*kit.Caddy, config kit.Options, services, instances int) []time.Duration {
	t.Helper()
	ready := make([]time.Duration, len(all))
	var loads errgroup.Group
	loads.SetLimit(2)
	for i, caddy := range all {
		loads.Go(func() error {
			began := time.Now()
			err := caddy.Reload(config)
			if err != nil {
				return err
			}
			for err = complete(caddy, services, instances); err != nil && time.Since(began) < 2*time.Minute; {
				time.Sleep(100 * time.Millisecond) // Each look costs the gateway something.
				err = complete(caddy, services, instances)
			}
			ready[i] = time.Since(began)
			return err
		})
	}
	if err := loads.Wait(); err != nil {
		t.Fatal(err)
	}
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
type usage struct {
	before, after time.Duration // processor time, without and with that of the measurement itself
	heap          float64       // bytes, with stacks
}

// since is the processor time in seconds that was used after an earlier measurement.
func (u usage) since(earlier usage) float64 { return (u.before - earlier.after).Seconds() }

// used adds it up over gateways, after a garbage collection in each.
func used(t *testing.T, all []*kit.Caddy) (sum usage) {
	t.Helper()
	for _, caddy := range all {
		sum.before += caddy.CPU(t)
		resp, err := http.Get("http://" + caddy.Admin + "/debug/pprof/heap?gc=1")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		m := scrape(t, caddy.Admin)
		sum.heap += m["go_memstats_heap_inuse_bytes"] + m["go_memstats_stack_inuse_bytes"]
		sum.after += caddy.CPU(t)
	}
	return sum
}

// TestOneWatchPerCatalog is the same arithmetic with whole gateways: however many services a
// catalog has, each gateway reads one list and has one watch.
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
	c := startCluster(t)
	fmt.Println("| gateways | watchers | reads | list, bytes a gateway | idle, bytes a gateway and minute | a change, bytes a gateway | messages a change | " +
		"one gateway READY, p50 / max | all READY | gateway CPU until then | heap a gateway | gateway CPU a minute, idle | gateway CPU a change | etcd CPU a change | " +
		"new instance connected everywhere, p50 / max |")
	fmt.Println(strings.Repeat("| --- ", 15) + "|")
	for _, n := range slices.Compact([]int{1, *count}) {
		t.Run(fmt.Sprint(n), func(t *testing.T) { // The gateways of one row end before the next.
			rowOfCatalog(measureCatalog(t, c, n, *services, *each))
		})
	}
}

func rowOfCatalog(r catalogResult) {
	n, w := float64(r.gateways), float64(r.writes)
	fmt.Printf("| %d | %.0f | %.0f | %.0f | %.0f | %.0f | %.1f | %v / %v | %v | %.2f s | %.1f MiB | %.2f s | %.2f ms | %.2f ms | %v / %v |\n",
		r.gateways, r.start.watchers, r.start.reads, r.start.sent/n, r.idle.sent/n/idle.Minutes(), r.changes.sent/n/w, r.changes.answers/w,
		percentile(r.ready, 50).Round(10*time.Millisecond), percentile(r.ready, 100).Round(10*time.Millisecond), r.started.Round(10*time.Millisecond),
		r.cpu/n, r.heap/n/(1<<20), r.idleCPU/n/idle.Minutes(), 1000*r.busy/n/w, 1000*r.changes.cpu/w,
		percentile(r.latency, 50).Round(time.Millisecond), percentile(r.latency, 100).Round(time.Millisecond))
}
