// Package scaling measures what many gateways ask of an etcd cluster. `make scaling` prints the
// tables of docs/scaling.md; without -measure a small form of it runs as a test.
package scaling

import (
	"context"
	"flag"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

var (
	measureAll = flag.Bool("measure", false, "measure with many gateways")
	count      = flag.Int("gateways", 50, "gateways, with -measure")
	idle       = flag.Duration("idle", 30*time.Second, "how long nothing changes, with -measure")
	changes    = flag.Int("changes", 100, "instances that come and go, with -measure")
)

// result is what one setting costs etcd.
type result struct {
	name      string
	gateways  int
	instances int
	start     counts        // until every gateway has its list
	started   time.Duration // how long that takes
	idle      counts
	changes   counts // of that many writes
	writes    int
	latency   []time.Duration // from the write to the pool of each gateway
	heap      float64         // bytes a gateway, in the gateways' own process
}

// measure has gateways start, do nothing, and see changes.
func measure(t *testing.T, name string, c *cluster, endpoints []string, n, instances int) result {
	t.Helper()
	r := result{name: name, gateways: n, instances: instances}
	client := dial(t, c.members)
	register(t, client, instances)
	heap := heapInUse()
	before, began := c.counts(t), time.Now()
	g := startGateways(t, n, endpoints, instances)
	defer g.stop()
	r.started = time.Since(began)
	time.Sleep(time.Second) // watches are confirmed
	after := c.counts(t)
	r.start = after.since(before)
	r.heap = (heapInUse() - heap) / float64(n)

	time.Sleep(*idle)
	later := c.counts(t)
	r.idle = later.since(after)

	for i := range *changes {
		name := fmt.Sprintf("%s/late-%d", key, i)
		write(t, g, func(ctx context.Context) (int64, error) {
			resp, err := client.Put(ctx, name, "10.255.0.1:9001")
			return resp.Header.GetRevision(), err
		})
		write(t, g, func(ctx context.Context) (int64, error) {
			resp, err := client.Delete(ctx, name)
			return resp.Header.GetRevision(), err
		})
		r.writes += 2
	}
	g.await(t, instances)
	time.Sleep(time.Second)
	r.changes = c.counts(t).since(later)
	g.mu.Lock()
	defer g.mu.Unlock()
	r.latency = slices.Sorted(slices.Values(g.latency))
	return r
}

// write makes one change and waits a little, as for ten changes a second.
func write(t *testing.T, g *gateways, do func(context.Context) (int64, error)) {
	t.Helper()
	at := time.Now()
	revision, err := do(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	g.wrote(revision, at)
	time.Sleep(100*time.Millisecond - min(100*time.Millisecond, time.Since(at)))
}

// register writes so many instances, as go-zero does, in place of all others.
func register(t *testing.T, client *clientv3.Client, n int) {
	t.Helper()
	if _, err := client.Delete(t.Context(), key+"/", clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
	for i := 0; i < n; i += 100 {
		var ops []clientv3.Op
		for j := i; j < min(n, i+100); j++ {
			ops = append(ops, clientv3.OpPut(fmt.Sprintf("%s/%d", key, 7587884362094512641+j), fmt.Sprintf("10.%d.%d.%d:9001", j>>16, j>>8&255, j&255)))
		}
		if _, err := client.Txn(t.Context()).Then(ops...).Commit(); err != nil {
			t.Fatal(err)
		}
	}
}

func heapInUse() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapInuse + m.StackInuse)
}

func percentile(sorted []time.Duration, p int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, len(sorted)*p/100)]
}

// TestOneWatchPerGateway is the arithmetic of docs/scaling.md on a small scale: each gateway reads
// the list once and has one watch, and behind a proxy etcd sees one watch for all of them.
func TestOneWatchPerGateway(t *testing.T) {
	if *measureAll {
		t.Skip("it is measured instead")
	}
	*idle, *changes = 2*time.Second, 3
	const n, instances = 4, 20
	c := startCluster(t)
	direct := measure(t, "direct", c, c.members, n, instances)
	proxied := measure(t, "behind a proxy", c, []string{c.startProxy(t)}, n, instances)
	for _, c := range []struct {
		result
		watchers, reads float64
	}{
		{direct, n, n},
		// The proxy asks for a count before it watches for a client, to see whether the client may.
		{proxied, 1, 2 * n},
	} {
		r, watchers := c.result, c.watchers
		if r.start.watchers != watchers {
			t.Errorf("%s: etcd has %v watchers for %d gateways, want %v", r.name, r.start.watchers, n, watchers)
		}
		if r.start.reads < n || r.start.reads > c.reads {
			t.Errorf("%s: %v reads for %d gateways, want %d to %v", r.name, r.start.reads, n, n, c.reads)
		}
		if r.idle.reads > 0 {
			t.Errorf("%s: %v reads while nothing happened", r.name, r.idle.reads)
		}
		if r.changes.reads > 0 {
			t.Errorf("%s: %v reads for %d changes", r.name, r.changes.reads, r.writes)
		}
		if want := float64(r.writes) * watchers; r.changes.answers < want {
			t.Errorf("%s: %v messages on watches for %d changes, want %v", r.name, r.changes.answers, r.writes, want)
		}
	}
}

// TestMeasure prints the tables of docs/scaling.md.
func TestMeasure(t *testing.T) {
	if !*measureAll {
		t.Skip("run it by `make scaling`")
	}
	c := startCluster(t)
	proxy := c.startProxy(t)
	fmt.Println("| instances | gateways | watchers | reads | start | list, bytes a gateway | idle, bytes a gateway and minute | a change, bytes a gateway | " +
		"messages a change | etcd CPU a change | known after, p50 / p99 / max | heap a gateway |")
	fmt.Println(strings.Repeat("| --- ", 12) + "|")
	for _, instances := range []int{10, 1_000, 10_000} {
		row(measure(t, "direct", c, c.members, *count, instances))
		row(measure(t, "grpc-proxy", c, []string{proxy}, *count, instances))
	}
}

// row prints a result as a line of the table in docs/scaling.md.
func row(r result) {
	n, w := float64(r.gateways), float64(r.writes)
	fmt.Printf("| %d | %d, %s | %.0f | %.0f | %v | %.0f | %.0f | %.0f | %.1f | %.2f ms | %v / %v / %v | %.0f KiB |\n",
		r.instances, r.gateways, r.name, r.start.watchers, r.start.reads, r.started.Round(10*time.Millisecond), r.start.sent/n,
		r.idle.sent/n/idle.Minutes(), r.changes.sent/n/w, r.changes.answers/w, 1000*r.changes.cpu/w,
		percentile(r.latency, 50).Round(time.Millisecond), percentile(r.latency, 99).Round(time.Millisecond),
		percentile(r.latency, 100).Round(time.Millisecond), r.heap/1024)
}
