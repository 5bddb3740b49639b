package faults

import (
	"fmt"
	"net"
	"runtime"
	"slices"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/caddy-grpc/gateway/e2e/kit"
)

// elsewhere is where the instances register that the gateway of TestManyInstances does not know.
const elsewhere = "elsewhere.rpc"

// TestManyInstances: a thousand and ten thousand instances appear within five seconds, beside three
// that serve steady traffic, and go again. They are one server under as many addresses of
// 127.0.0.0/8. That server and etcd, which are other machines elsewhere, have the lowest priority.
// The weights have next to all calls stay with the three: a server that takes thousands of
// connections is slow to answer, whoever asks. Before that the same happens under a key that the
// gateway does not watch: a control.
func TestManyInstances(t *testing.T) {
	for i, n := range either([]int{1000}, []int{1000, 10000}) {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			// With hold, the gateway would not believe the registry that they are gone.
			site := siteOptions{Discover: "hold off"}
			if full() {
				site.Binary = plainBinary(t) // the race detector would be what is measured
			}
			etcd := startCluster(t, 1, func(c *memberConfig) { c.Aside = true })
			w := startWorld(t, etcd, 3, site, instanceConfig{Weight: 1_000_000})
			crowd := startInstance(t, instanceConfig{Addr: "0.0.0.0:0"}, aside...)
			load := w.load(100)
			pause(time.Second, 10*time.Second) // for the memory of the load itself
			empty := w.Memory(t)
			quiet := span{from: time.Now()}
			pause(2*time.Second, 10*time.Second)
			quiet.to = time.Now()

			control := w.appear(t, elsewhere, crowd.addr, n, 5*time.Second)
			w.vanish(t, elsewhere)
			pause(time.Second, 3*time.Second)

			cpu := w.cpu(t)
			crowding := w.appear(t, key, crowd.addr, n, 5*time.Second)
			registered := crowding.to.Sub(crowding.from)
			// Asking the gateway costs it something, so this does not ask often.
			kit.Eventually(t, 2*time.Minute, "all are connected", func() error {
				if got := crowd.stats(t).Open; got < n {
					return fmt.Errorf("%d are", got)
				}
				return nil
			})
			last := crowding.to
			crowding.to = time.Now()
			w.ready(t, 2*time.Minute, n+3)
			took := time.Since(last)
			cpu = w.cpu(t) - cpu
			if got := crowd.stats(t).Open; got != n {
				t.Errorf("%d connections to %d instances", got, n)
			}
			crowded := w.Memory(t)

			w.vanish(t, key)
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
			theirs := h.without(crowd.executed(t))
			before, beside, during := quiet.percentile(h, 99), control.percentile(h, 99), crowding.percentile(h, 99)
			// The goal is twofold. Without its pace the gateway was beyond twentyfold; a busy
			// machine is somewhere between.
			if limit := 10 * max(before, beside, 5*time.Millisecond); full() && during > limit {
				t.Errorf("the p99 was %v before, %v in the control, then %v, more than %v", before, beside, during, limit)
			}
			line := h.row(13+i, fmt.Sprintf("%d instances appear within 5 s, then go", n))
			line.Recovery = took
			line.Connections = fmt.Sprint(n)
			line.Note = fmt.Sprintf("recovered: all connected after the last registration, %.1f s after the first; gone after %v; p99 before / control / measured: %s; %d further calls went to the new ones; the gateway's CPU %v, of this machine's %d cores; heap and stacks %d, %d, %d MiB: %.1f KiB each",
				registered.Seconds(), ms(gone), ratios(before, beside, during), len(theirs.safe)+len(theirs.unsafe), cpu.Round(10*time.Millisecond), runtime.NumCPU(), empty.Used()>>20, crowded.Used()>>20, after>>20,
				float64(crowded.Used()-empty.Used())/1024/float64(n))
			table.add(line)
		})
	}
}

// ratios are latencies, those after the first also as multiples of it.
func ratios(first time.Duration, others ...time.Duration) string {
	text := first.Round(100 * time.Microsecond).String()
	for _, d := range others {
		text += fmt.Sprintf(" / %v: %.1fx", d.Round(100*time.Microsecond), float64(d)/float64(first))
	}
	return text
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

// appear registers n addresses of one server under a key, a hundred at a time, evenly within a
// time. It returns when that was.
func (w *world) appear(t testing.TB, key, addr string, n int, within time.Duration) span {
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
			ops = append(ops, clientv3.OpPut(fmt.Sprintf("%s/crowd-%d", key, i), fmt.Sprintf("127.1.%d.%d:%s?weight=1", i/250, 1+i%250, port)))
		}
		w.do(t, ops...)
		time.Sleep(time.Until(start.Add(within * time.Duration(from+batch) / time.Duration(n))))
	}
	return span{start, time.Now()}
}

// vanish removes what has appeared under a key.
func (w *world) vanish(t testing.TB, key string) {
	t.Helper()
	w.do(t, clientv3.OpDelete(key+"/crowd-", clientv3.WithPrefix()))
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

// without takes the calls out of the history that were executed elsewhere, and returns them.
func (h *history) without(executed map[string]int) *history {
	theirs := &history{}
	part := func(prefix string, of *[]kit.Result) (theirs []kit.Result) {
		var rest []kit.Result
		for _, r := range *of {
			if executed[prefix+r.ID] > 0 {
				theirs = append(theirs, r)
			} else {
				rest = append(rest, r)
			}
		}
		*of = rest
		return theirs
	}
	theirs.safe, theirs.unsafe = part("safe-", &h.safe), part("unsafe-", &h.unsafe)
	return theirs
}

// span is a time of a load.
type span struct{ from, to time.Time }

// percentile of the latencies of calls that started in the span.
func (s span) percentile(h *history, p int) time.Duration {
	var latencies []time.Duration
	for _, r := range append(slices.Clone(h.safe), h.unsafe...) {
		if r.Start.After(s.from) && r.Start.Before(s.to) {
			latencies = append(latencies, r.Latency)
		}
	}
	if len(latencies) == 0 {
		return 0
	}
	slices.Sort(latencies)
	return latencies[len(latencies)*p/100]
}
