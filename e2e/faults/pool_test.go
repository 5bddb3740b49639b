package faults

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"

	"github.com/caddy-grpc/gateway/e2e/kit"
)

// TestManyInstances: a thousand and ten thousand instances appear within five seconds, beside three that serve steady traffic, and go
// again. They are one server under as many addresses of 127.0.0.0/8.
func TestManyInstances(t *testing.T) {
	for i, n := range either([]int{1000}, []int{1000, 10000}) {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			site := siteOptions{Discover: "hold off"} // or the registry would not be believed that they are gone
			if full() {
				site.Binary = plainBinary(t) // the race detector would be what is measured
			}
			w := startWorld(t, startCluster(t, 1), 3, site, instanceConfig{})
			crowd := startInstance(t, instanceConfig{Addr: "0.0.0.0:0"})
			load := w.load(100)
			pause(time.Second, 10*time.Second) // for the memory of the load itself
			empty := w.Memory(t)
			quiet := time.Now()
			pause(2*time.Second, 10*time.Second)

			cpu := w.cpu(t)
			appear := time.Now()
			w.appear(t, crowd.addr, n, 5*time.Second)
			took := w.ready(t, 2*time.Minute, n+3)
			all := time.Now()
			cpu = w.cpu(t) - cpu
			if got := crowd.stats(t).Open; got != n {
				t.Errorf("%d connections to %d instances", got, n)
			}
			crowded := w.Memory(t)

			w.do(t, clientv3.OpDelete(key+"/crowd-", clientv3.WithPrefix()))
			gone := w.ready(t, 2*time.Minute, 3)
			kit.Eventually(t, time.Minute, "all connections are closed", func() error {
				if n := crowd.stats(t).Open; n > 0 {
					return fmt.Errorf("%d are open", n)
				}
				return nil
			})
			// What may stay is the capacity of tables.
			after := w.settled(t, empty.Used()+(crowded.Used()-empty.Used())/4+(4<<20))
			w.instances = append(w.instances, crowd)
			h := load.stop(t)
			h.want(t, 0)
			before, during := percentile(h, 99, quiet, appear), percentile(h, 99, appear, all)
			line := h.row(13+i, fmt.Sprintf("%d instances appear within 5 s, then go", n))
			line.Recovery = took
			line.Connections = fmt.Sprint(n)
			line.Note = fmt.Sprintf("recovered: all connected after the last registration; gone after %v; p99 %v, was %v: %.1fx; the gateway's CPU %v, of this machine's %d cores; heap and stacks %d, %d, %d MiB: %.1f KiB each",
				ms(gone), ms(during), ms(before), float64(during)/float64(before), cpu.Round(10*time.Millisecond), runtime.NumCPU(), empty.Used()>>20, crowded.Used()>>20, after>>20,
				float64(crowded.Used()-empty.Used())/1024/float64(n))
			table.add(line)
		})
	}
}

// cpu is the processor time that the gateway has used.
func (w *world) cpu(t testing.TB) time.Duration {
	t.Helper()
	seconds, err := w.Metric("process_cpu_seconds_total")
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(seconds * float64(time.Second))
}

// do writes to etcd.
func (w *world) do(t testing.TB, ops ...clientv3.Op) {
	t.Helper()
	w.etcd.do(t, ops...)
}

// appear registers n addresses of one server, a hundred at a time, evenly within span.
func (w *world) appear(t testing.TB, addr string, n int, span time.Duration) {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	const batch = 100
	start := time.Now()
	for from := 0; from < n; from += batch {
		var ops []clientv3.Op
		for i := from; i < min(n, from+batch); i++ {
			ops = append(ops, clientv3.OpPut(fmt.Sprintf("%s/crowd-%d", key, i), fmt.Sprintf("127.1.%d.%d:%s", i/250, 1+i%250, port)))
		}
		w.do(t, ops...)
		time.Sleep(time.Until(start.Add(span * time.Duration(from+batch) / time.Duration(n))))
	}
}

// ready waits until exactly n instances are READY, and returns how long it took.
func (w *world) ready(t testing.TB, limit time.Duration, n int) time.Duration {
	t.Helper()
	return kit.Eventually(t, limit, fmt.Sprintf("%d instances are READY", n), func() error {
		got, err := w.Metric("caddy_grpc_gateway_endpoints", `state="READY"`)
		if err == nil && int(got) != n {
			time.Sleep(100 * time.Millisecond) // asking costs the gateway something, too
			err = fmt.Errorf("%v are", got)
		}
		return err
	})
}

// settled waits until the memory in use is at most limit, and returns what it is.
func (w *world) settled(t testing.TB, limit int64) int64 {
	t.Helper()
	var used int64
	kit.Eventually(t, time.Minute, "memory returns", func() error {
		if used = w.Memory(t).Used(); used > limit {
			time.Sleep(time.Second)
			return fmt.Errorf("%d MiB are in use, more than %d", used>>20, limit>>20)
		}
		return nil
	})
	return used
}

// percentile of the latencies of calls that started between two times.
func percentile(h *history, p int, from, to time.Time) time.Duration {
	var latencies []time.Duration
	for _, r := range append(slices.Clone(h.safe), h.unsafe...) {
		if r.Start.After(from) && r.Start.Before(to) {
			latencies = append(latencies, r.Latency)
		}
	}
	if len(latencies) == 0 {
		return 0
	}
	slices.Sort(latencies)
	return latencies[len(latencies)*p/100]
}

// TestSlowInstance: one of four takes 500 ms longer, and gets less than a quarter of its share.
func TestSlowInstance(t *testing.T) {
	w := startWorld(t, startCluster(t, 1), 4, siteOptions{}, instanceConfig{})
	load := w.load(100)
	time.Sleep(time.Second)
	slow := w.instances[0]
	slow.must(t, "delay 500ms")
	time.Sleep(time.Second)
	before := w.calls(t)
	pause(6*time.Second, 30*time.Second)
	share := shares(before, w.calls(t))
	h := load.stop(t)
	h.want(t, 0)
	if share[0] > 0.25/4 {
		t.Errorf("the slow instance got %.1f %% of the calls; a quarter of its share is 6.25 %%", 100*share[0])
	}
	line := h.row(15, "one of four instances slower by 500 ms")
	line.Note = fmt.Sprintf("it got %.1f %% of the calls; its share would be 25 %%", 100*share[0])
	table.add(line)
}

// calls is the number of calls that each instance got.
func (w *world) calls(t testing.TB) []int {
	t.Helper()
	var calls []int
	for _, i := range w.instances {
		calls = append(calls, i.stats(t).Calls)
	}
	return calls
}

func shares(before, after []int) []float64 {
	total := 0
	for i := range before {
		total += after[i] - before[i]
	}
	var of []float64
	for i := range before {
		of = append(of, float64(after[i]-before[i])/float64(total))
	}
	return of
}

// TestFailingInstances: instances answer everything with UNAVAILABLE. One is ejected, and costs safe calls nothing; of three out of four
// never more than half are.
func TestFailingInstances(t *testing.T) {
	t.Parallel()
	for _, failing := range []int{1, 3} {
		t.Run(fmt.Sprintf("%d of 4", failing), func(t *testing.T) {
			t.Parallel()
			w := startWorld(t, startCluster(t, 1), 4, siteOptions{}, instanceConfig{})
			load := w.load(50)
			time.Sleep(time.Second)
			for _, i := range w.instances[:failing] {
				i.must(t, fmt.Sprintf("fail %d", codes.Unavailable))
			}
			start := time.Now()
			detected, most := time.Duration(0), 0
			for time.Since(start) < either(4*time.Second, 40*time.Second) {
				ejected := 0
				for _, i := range w.instances {
					if w.state(t, i.addr) == "ejected" {
						ejected++
					}
				}
				if most = max(most, ejected); ejected > 0 && detected == 0 {
					detected = time.Since(start)
				}
				time.Sleep(50 * time.Millisecond)
			}
			for _, i := range w.instances[:failing] {
				i.must(t, "fail 0")
			}
			healed := w.ready(t, 2*time.Minute, 4)
			h := load.stop(t)
			if most != min(failing, 2) {
				t.Errorf("%d instances were ejected at once", most)
			}
			line := h.row(16, fmt.Sprintf("%d of four instances answer UNAVAILABLE", failing))
			line.Detection, line.Recovery, line.Note = detected, healed, fmt.Sprintf("at most %d ejected at once", most)
			table.add(line)
			if failing == 1 {
				// Five to be ejected, and five each time that it is back.
				h.want(t, either(20, 50))
			}
		})
	}
}

// TestStreams: 500 calls at a time to an instance that takes 100 streams on a connection: connections are added, and nothing queues.
func TestStreams(t *testing.T) {
	t.Parallel()
	const calls, limit = 500, 100
	w := startWorld(t, startCluster(t, 1), 1, siteOptions{Upstream: "connections 1 8", Handler: "timeout off"}, instanceConfig{MaxStreams: limit})
	only := w.instances[0]
	start := time.Now()
	client := patient()
	var wg sync.WaitGroup
	var mu sync.Mutex
	failed := 0
	for range calls {
		wg.Go(func() {
			resp, err := client.Get(w.URL("/v1/stream/2?script.interval=8s"))
			if err == nil {
				_, err = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if err == nil && resp.StatusCode != http.StatusOK {
					err = errors.New(resp.Status)
				}
			}
			if err != nil {
				mu.Lock()
				failed++
				mu.Unlock()
				t.Errorf("a stream: %v", err)
			}
		})
	}
	// They last eight seconds each: those that queued behind others could not be at the instance at the same time.
	took := kit.Eventually(t, 7*time.Second, "all streams are at the instance at a time", func() error {
		if n := only.stats(t).InFlight; n < calls {
			return fmt.Errorf("%d are", n)
		}
		return nil
	})
	open := only.stats(t).Open
	wg.Wait()
	if open < calls/limit || open > 8 {
		t.Errorf("%d connections for %d streams of %d each", open, calls, limit)
	}
	table.add(row{Order: 17, Fault: "500 concurrent streams at a limit of 100", Requests: calls, Safe: failed,
		Connections: fmt.Sprintf("%d open", open), Note: fmt.Sprintf("all at the instance after %v, finished after %v", ms(took), ms(time.Since(start)))})
}

// TestBalance confirms with real calls what internal/pool shows in virtual time: equal shares, and shares by weight.
func TestBalance(t *testing.T) {
	for _, c := range []struct {
		name    string
		balance string
		weights []string
		want    []float64
	}{
		{"equal instances", "p2c", []string{"", "", ""}, []float64{1. / 3, 1. / 3, 1. / 3}},
		// p2c departs from weights where latencies differ by their double, which they do by chance on a machine that is busy with tests.
		{"weights 1:2:5", "round_robin", []string{"?weight=1", "?weight=2", "?weight=5"}, []float64{1. / 8, 2. / 8, 5. / 8}},
	} {
		t.Run(c.name, func(t *testing.T) {
			etcd := startCluster(t, 1)
			w := &world{etcd: etcd, site: siteOptions{Upstream: "balance " + c.balance}}
			for i, weight := range c.weights {
				instance := startInstance(t, instanceConfig{})
				etcd.put(t, fmt.Sprint(key, "/", i), instance.addr+weight)
				w.instances = append(w.instances, instance)
			}
			w.start(t, addrs(w.instances))
			before := w.calls(t)
			w.callers(t, 16, either(5000, 20000))
			for i, share := range shares(before, w.calls(t)) {
				if math.Abs(share-c.want[i]) > 0.1*c.want[i] {
					t.Errorf("instance %d got %.1f %% of the calls, its share is %.1f %%", i, 100*share, 100*c.want[i])
				}
			}
		})
	}
}

// callers makes calls, as many at a time as there are callers.
func (w *world) callers(t *testing.T, callers, calls int) {
	t.Helper()
	client := kit.H2C()
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for range calls / callers {
				req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, w.URL("/v1/echo"), strings.NewReader(`{"text":"x"}`))
				if err != nil {
					t.Error(err)
					return
				}
				resp, err := client.Do(req)
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					t.Errorf("a call: %s", resp.Status)
				}
			}
		})
	}
	wg.Wait()
}
