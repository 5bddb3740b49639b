package faults

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/caddy-grpc/gateway/e2e/kit"
)

// pause lets a load run.
func pause(short, long time.Duration) { time.Sleep(either(short, long)) }

// TestKilled: an instance dies by SIGKILL while it is registered, a new one takes its place, and
// again.
func TestKilled(t *testing.T) {
	t.Parallel()
	const order, kills = 1, 3
	w := startWorld(t, startCluster(t, 1), 3, siteOptions{}, instanceConfig{})
	load := w.load(100)
	var detection, recovery time.Duration
	inFlight := 0
	for n := range kills {
		pause(time.Second, 10*time.Second)
		victim := w.instances[n]
		// Calls last longer than usual, so that some are in flight on the victim.
		for _, i := range w.instances[n:] {
			i.must(t, "delay 200ms")
		}
		time.Sleep(500 * time.Millisecond)
		// What was asked a moment ago may have grown; twice that and some is a bound that a
		// repeated call would break.
		inFlight += 2*victim.stats(t).InFlight + 5
		victim.kill()
		detection = max(detection, w.lost(t, 10*time.Second, victim.addr))
		fresh := w.join(t, fmt.Sprint("fresh", n), instanceConfig{})
		recovery = max(recovery, w.until(t, 10*time.Second, fresh.addr, "READY"))
	}
	pause(time.Second, 10*time.Second)
	h := load.stop(t)
	h.want(t, inFlight)
	line := h.row(order, "instance killed -9 while registered")
	line.Detection, line.Recovery = detection, recovery
	line.Note = fmt.Sprintf("%d kills; recovered: a new instance is READY", kills)
	table.add(line)
}

// TestGracefulStop: instances stop as they should, GOAWAY first or deregistration first, each
// replaced before.
func TestGracefulStop(t *testing.T) {
	t.Parallel()
	for order, c := range map[int]struct {
		name  string
		steps []string
	}{
		2: {"graceful stop before deregistration", []string{"graceful", "deregister"}},
		3: {"graceful stop after deregistration", []string{"deregister", "graceful"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := startWorld(t, startCluster(t, 1), 3, siteOptions{}, instanceConfig{})
			load := w.load(100)
			for n := range 3 {
				pause(500*time.Millisecond, 5*time.Second)
				leaving := w.instances[n]
				leaving.must(t, "delay 30ms")
				w.join(t, fmt.Sprint("fresh", n), instanceConfig{})
				for _, step := range c.steps {
					leaving.must(t, step)
				}
				leaving.kill()
			}
			pause(500*time.Millisecond, 5*time.Second)
			h := load.stop(t)
			h.want(t, 0)
			line := h.row(order, c.name)
			line.Note = "3 stops"
			table.add(line)
		})
	}
}

// TestMaxConnectionAge: instances say goodbye to every connection again and again.
func TestMaxConnectionAge(t *testing.T) {
	t.Parallel()
	w := startWorld(t, startCluster(t, 1), 3, siteOptions{}, instanceConfig{MaxAge: 500 * time.Millisecond})
	load := w.load(100)
	pause(4*time.Second, 30*time.Second)
	h := load.stop(t)
	h.want(t, 0)
	total := 0
	for _, n := range w.accepted(t) {
		total += n
	}
	if total < 12 {
		t.Errorf("%d connections were made; an age of 500 ms makes more", total)
	}
	line := h.row(4, "MaxConnectionAge of 500 ms")
	line.Connections = fmt.Sprintf("%d made", total)
	table.add(line)
}

// call makes a unary call that lasts as long at the instance, and returns its outcome on a channel.
func (w *world) call(delay time.Duration) <-chan kit.Result {
	done := make(chan kit.Result, 1)
	go func() {
		start := time.Now()
		body := fmt.Sprintf(`{"text":"lasts","script":{"delay":"%.1fs"}}`, delay.Seconds())
		resp, err := patient().Post(w.URL("/v1/echo"), "application/json", strings.NewReader(body))
		r := kit.Result{ID: fmt.Sprint("lasts ", delay), Start: start, Err: err}
		if err == nil {
			text, readErr := io.ReadAll(resp.Body)
			resp.Body.Close()
			if r.Status, r.Err = resp.StatusCode, readErr; r.Status != http.StatusOK {
				r.Err = fmt.Errorf("%s", text)
			}
		}
		r.Latency = time.Since(start)
		done <- r
	}()
	return done
}

// patient is a client with a connection of its own that waits for minutes.
func patient() *http.Client {
	client := kit.H2C()
	client.Timeout = 5 * time.Minute
	return client
}

// TestDeregistered: calls of 1 s, 20 s and without end are in flight when their instance is
// deregistered. The first two finish, the last ends at drain_timeout, and no call is sent there
// later than a second after.
func TestDeregistered(t *testing.T) {
	t.Parallel()
	// In the short form the calls last 1 s and 2 s, with a drain_timeout of 4 s.
	middle, drain := either(2*time.Second, 20*time.Second), either(4*time.Second, 30*time.Second)
	w := startWorld(t, startCluster(t, 1), 1, siteOptions{
		Upstream: fmt.Sprintf("drain_timeout %v", drain), Handler: "timeout off",
	}, instanceConfig{})
	leaving := w.instances[0]
	calls := []<-chan kit.Result{w.call(time.Second), w.call(middle), w.call(5 * time.Minute)}
	kit.Eventually(t, 20*time.Second, "three calls are in flight", func() error {
		if n := leaving.stats(t).InFlight; n < 3 {
			return fmt.Errorf("%d are", n)
		}
		return nil
	})
	stays := w.join(t, "stays", instanceConfig{})
	w.until(t, 20*time.Second, stays.addr, "READY")
	load := w.load(50)
	time.Sleep(time.Second)
	leaving.must(t, "deregister")
	gone := time.Now()
	time.Sleep(time.Second)
	before := leaving.stats(t).Calls
	for i, what := range []string{"the call of 1 s", "the call of " + middle.String()} {
		if r := <-calls[i]; r.Err != nil {
			t.Errorf("%s: %v", what, r)
		}
	}
	endless := <-calls[2]
	ended := time.Since(gone)
	if endless.Status != http.StatusServiceUnavailable || !strings.Contains(fmt.Sprint(endless.Err), "time to drain is over") {
		t.Errorf("the endless call: %v", endless)
	}
	if ended < drain-time.Second || ended > drain+5*time.Second {
		t.Errorf("the endless call ended %v after the deregistration; drain_timeout is %v", ended, drain)
	}
	if got := leaving.stats(t).Calls; got != before {
		t.Errorf("%d calls were sent to the instance later than a second after its deregistration", got-before)
	}
	h := load.stop(t)
	h.want(t, 0)
	line := h.row(5, fmt.Sprintf("deregistered with calls of 1 s, %v and without end in flight", middle))
	line.Note = fmt.Sprintf("the endless one ended after %.1f s at a drain_timeout of %v", ended.Seconds(), drain)
	table.add(line)
}

// TestFlapping: two registrations come and go five times a second, that of an instance that lives,
// and that of one that does not.
func TestFlapping(t *testing.T) {
	t.Parallel()
	w := startWorld(t, startCluster(t, 1), 2, siteOptions{}, instanceConfig{})
	living := startInstance(t, instanceConfig{})
	w.instances = append(w.instances, living) // for its journal
	dead, deadDials := hangUp(t)
	load := w.load(100)
	start, span := time.Now(), either(6*time.Second, time.Minute)
	for time.Since(start) < span {
		w.do(t, clientv3.OpPut(key+"/living", living.addr), clientv3.OpPut(key+"/dead", dead))
		time.Sleep(100 * time.Millisecond)
		w.do(t, clientv3.OpDelete(key+"/living"), clientv3.OpDelete(key+"/dead"))
		time.Sleep(100 * time.Millisecond)
	}
	most := int(time.Since(start).Seconds()) + 2 // one a second, and the first
	h := load.stop(t)
	h.want(t, 0)
	livingDials := living.stats(t).Accepted
	for name, n := range map[string]int{"living": livingDials, "dead": deadDials()} {
		if n > most || n == 0 {
			t.Errorf("%d dials to the %s one in %v", n, name, span)
		}
	}
	line := h.row(12, "a living and a dead instance flap at 5 Hz for "+span.String())
	line.Connections = fmt.Sprintf("%d and %d dials", livingDials, deadDials())
	table.add(line)
}

// hangUp listens and closes every connection at once, and counts them.
func hangUp(t *testing.T) (addr string, dials func() int) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	var n atomic.Int64
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			n.Add(1)
			conn.Close()
		}
	}()
	return listener.Addr().String(), func() int { return int(n.Load()) }
}
