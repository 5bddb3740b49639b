package faults

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/caddy-grpc/gateway/e2e/kit"
)

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

// TestFailingInstances: instances answer everything with UNAVAILABLE. One is ejected, and costs
// safe calls nothing; of three out of four never more than half are, and the other one is avoided.
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
			// Instances that are avoided get few calls to be ejected for, very few on a machine
			// that is busy.
			for time.Since(start) < either(4*time.Second, 40*time.Second) || most < min(failing, 2) && time.Since(start) < time.Minute {
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
			// Five to be ejected, and five each time that it is back.
			if failing == 1 {
				h.want(t, either(20, 50))
				return
			}
			// A call that is among the first may meet all three of them, of which nobody knows yet.
			// None later does.
			if late := after(h.safeFailed, start.Add(time.Second)); len(late) > 0 || len(h.safeFailed) > 1 {
				t.Errorf("%d of %d safe calls failed, %d of them late:\n%s", len(h.safeFailed), len(h.safe), len(late), some(h.safeFailed))
			}
			if n, most := len(h.unsafeFailed), either(40, 100); n > most {
				t.Errorf("%d of %d unsafe calls failed, more than %d:\n%s", n, len(h.unsafe), most, some(h.unsafeFailed))
			}
		})
	}
}

// TestStreams: 500 calls at a time to an instance that takes 100 streams on a connection:
// connections are added, and nothing queues.
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
	// They last eight seconds each: those that queued behind others could not be at the instance at
	// the same time.
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

// TestBalance confirms with real calls what internal/pool shows in virtual time: equal shares, and
// shares by weight.
func TestBalance(t *testing.T) {
	for _, c := range []struct {
		name    string
		balance string
		weights []string
		want    []float64
	}{
		{"equal instances", "p2c", []string{"", "", ""}, []float64{1. / 3, 1. / 3, 1. / 3}},
		{"weights 1:2:5", "p2c", []string{"?weight=1", "?weight=2", "?weight=5"}, []float64{1. / 8, 2. / 8, 5. / 8}},
		{"weights 1:2:5 in turn", "round_robin", []string{"?weight=1", "?weight=2", "?weight=5"}, []float64{1. / 8, 2. / 8, 5. / 8}},
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
