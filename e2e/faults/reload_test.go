package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/caddy-grpc/gateway/e2e/kit"
)

// control is a handler of Caddy's own beside the gateway. Caddy opens new listeners with every
// config and resets connections that wait to be accepted by the old ones, whatever handler they are
// for: on a busy machine a few among thousands.
const control = "handle /control/* {\n\trespond 200\n}\n"

// TestReloads: the config is loaded ten times a second, each time with another route, with another
// pool beside the one under load, or with that one changed. The gateway answers no call with a
// failure. Calls without any answer, whose connection was reset, are counted beside the control's.
func TestReloads(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(site *siteOptions, n int)
		keeps  bool // the connections of the upstream under load
	}{
		{"routes", func(site *siteOptions, n int) {
			site.Handler = fmt.Sprintf("route GET /reloaded/%d/{text} gateway.test.v1.Echo/Unary", n)
		}, true},
		{"another pool", func(site *siteOptions, n int) { site.Site = control + changing(n) }, true},
		{"the pool under load", func(site *siteOptions, n int) {
			site.Upstream = fmt.Sprintf("connect_timeout %dms", 5000+n)
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			site := siteOptions{Site: control}
			c.change(&site, 0)
			w := startWorld(t, startCluster(t, 1), 3, site, instanceConfig{})
			before := w.accepted(t)
			load := w.load(75)
			witness := load.witness(t, 5*time.Second)
			beside := w.besides(75)
			time.Sleep(time.Second)
			heap, goroutines := w.Memory(t).Used(), w.Goroutines(t)
			reloads, span, start := 0, either(5*time.Second, time.Minute), time.Now()
			for next := start; time.Since(start) < span; next = next.Add(100 * time.Millisecond) {
				time.Sleep(time.Until(next))
				reloads++
				c.change(&w.site, reloads)
				if err := w.Reload(w.site.options()); err != nil {
					t.Fatal(err)
				}
			}
			// Pools that are used no more linger for five seconds.
			most := goroutines + goroutines/4 + 30
			settled := kit.Eventually(t, 45*time.Second, "the goroutines end", func() error {
				if n := w.Goroutines(t); n > most {
					return fmt.Errorf("%d goroutines, %d before the reloads", n, goroutines)
				}
				return nil
			})
			used := w.settled(t, heap+heap/2+(8<<20))
			h := load.stop(t)
			witness()
			theirs := beside()
			reset := h.setReset(t)
			h.want(t, 0)
			fault := fmt.Sprintf("config reloaded at 10 Hz for %v: %s", span, c.name)
			limit := resetLimit(h)
			if migrates() {
				fault, limit = fault+"; tcp_migrate_req=1", 0
			}
			if reset > limit {
				t.Errorf("connections were reset under %d calls, more than %d; under %d of Caddy's own handler", reset, limit, theirs)
			}
			made := "0 re-dials"
			if c.keeps {
				w.sameConnections(t, before, w.instances...)
			} else {
				made = fmt.Sprintf("%d made by 3 instances", sum(w.accepted(t)))
			}
			line := h.row(18, fault)
			line.Connections = made
			line.Note = fmt.Sprintf("%d reloads; connections to Caddy reset under %d calls, and under %d of a bare `respond` site; goroutines %d before, back after %v; heap and stacks %d, then %d MiB", reloads, reset, theirs, goroutines, ms(settled), heap>>20, used>>20)
			table.add(line)
		})
	}
}

// TestReloadsMigrated is TestReloads in a network namespace with net.ipv4.tcp_migrate_req=1: no
// connection is reset there. The whole test runs in it, in a process of its own.
//
// It is not parallel. Its three worlds are load enough for two processors, and with three more
// tests beside them calls come faster than they are answered. Then connections stall in any server.
func TestReloadsMigrated(t *testing.T) {
	if migrates() {
		t.Skip("this is it")
	}
	rows := filepath.Join(t.TempDir(), "rows.json")
	if err := migrated(t, []string{rowsEnv + "=" + rows}, "-test.run=^TestReloads$", "-test.parallel=3", "-test.timeout=10m"); err != nil {
		t.Skipf("NO NETWORK NAMESPACE HERE, reloads are tested without tcp_migrate_req alone: %v", err)
	}
	text, err := os.ReadFile(rows)
	if err != nil {
		t.Fatal(err)
	}
	var lines []row
	if err := json.Unmarshal(text, &lines); err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		table.add(line)
	}
}

// besides loads the control as the gateway is loaded, by a connection each for GET and POST. It
// returns what ends that, and counts the failures.
func (w *world) besides(rate int) (stop func() int) {
	var loads []*kit.Load
	var clients []*http.Client
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		client := kit.H2C()
		clients = append(clients, client)
		loads = append(loads, kit.StartLoad(client, rate, func(ctx context.Context, id string) (*http.Request, error) {
			return http.NewRequestWithContext(ctx, method, w.URL("/control/"+id), nil)
		}, nil))
	}
	return func() int {
		failed := 0
		for i, load := range loads {
			failed += len(kit.Failures(load.Stop()))
			// Caddy's old server may have accepted this connection without telling it to go, and
			// would wait for it at its end.
			clients[i].CloseIdleConnections()
		}
		return failed
	}
}

// resetLimit is under how many calls a connection may be reset without tcp_migrate_req. About one
// in a hundred was seen on a machine overloaded with other work, next to none on a quieter one;
// what is more is a new fault.
func resetLimit(h *history) int { return (len(h.safe)+len(h.unsafe))/50 + 20 }

// setReset takes out of the failures those to which nobody answered, and returns how many they are.
func (h *history) setReset(t testing.TB) int {
	t.Helper()
	reset := 0
	for _, failed := range []*[]kit.Result{&h.safeFailed, &h.unsafeFailed} {
		kept := (*failed)[:0]
		for _, r := range *failed {
			if r.Status != 0 {
				kept = append(kept, r)
				continue
			}
			t.Logf("reset: %v; executed %d times", r, h.executions["safe-"+r.ID]+h.executions["unsafe-"+r.ID])
			reset++
		}
		*failed = kept
	}
	return reset
}

// witness watches for calls that have no answer for so long. Of the first it sees, it writes down
// which connections exist and what Caddy does. The calls of one connection then tell whether Caddy
// has ever accepted it. stop waits for the end of the watch, and shows what it wrote.
func (l *loads) witness(t testing.TB, age time.Duration) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	seen := make(chan string, 1)
	go func() {
		defer close(seen)
		for ctx.Err() == nil {
			time.Sleep(time.Second)
			waiting := append(l.safe.Waiting(age), l.unsafe.Waiting(age)...)
			if len(waiting) == 0 {
				continue
			}
			sockets, err := exec.Command("ss", "-tanpoi").CombinedOutput()
			stacks, stackErr := l.w.Stacks()
			seen <- fmt.Sprintf("without an answer for %v: %v\nsockets (%v):\n%s\ngoroutines of Caddy (%v):\n%s", age, waiting, err, sockets, stackErr, stacks)
			return
		}
	}()
	return func() {
		cancel()
		if text, ok := <-seen; ok {
			t.Log(text)
		}
	}
}

// changing is a handler beside the one under load, whose pool is another one for each n.
func changing(n int) string {
	return fmt.Sprintf("handle_path /changing/* {\n\tgrpc_gateway {\n\t\tupstream changing {\n\t\t\tdiscover static 127.0.0.1:1\n\t\t\tconnect_timeout %dms\n\t\t}\n\t}\n}", 5000+n)
}

func sum(counts map[string]int) int {
	total := 0
	for _, n := range counts {
		total += n
	}
	return total
}
