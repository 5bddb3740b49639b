package faults

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestSoak runs for as long as SOAK says: steady calls and streams, while instances come, go and
// are killed, routes and pools are reloaded and etcd restarts. No safe call fails, and memory and
// goroutines of the gateway stay where they are. It runs in a network namespace with
// net.ipv4.tcp_migrate_req=1 where there can be one: without, Caddy may reset a connection when it
// reloads.
func TestSoak(t *testing.T) {
	span, err := time.ParseDuration(os.Getenv("SOAK"))
	if err != nil {
		t.Skip("SOAK says for how long; make soak")
	}
	if !migrates() {
		err := migrated(t, nil, "-test.run=^TestSoak$", "-test.timeout=0")
		if err == nil {
			return
		}
		t.Logf("NO NETWORK NAMESPACE HERE, connections to Caddy may be reset: %v", err)
	}
	s := &soak{span: span, every: min(time.Minute, span/12)}
	s.world = startWorld(t, startCluster(t, 1), 4, siteOptions{Handler: "timeout 20s"}, instanceConfig{})
	s.live = append(s.live, s.instances...)
	load := s.load(25)
	stopStreams := s.startStreams(10)
	s.churn(t)
	stopStreams()
	h := load.stop(t)
	limit := 0
	if !migrates() {
		limit = resetLimit(h)
	}
	if s.reset = h.setReset(t); s.reset > limit {
		t.Errorf("connections were reset under %d calls, more than %d", s.reset, limit)
	}
	h.want(t, 10*s.kills) // what may be in flight on an instance that is killed
	s.verdict(t, h)
}

type soak struct {
	*world
	span, every    time.Duration
	live           []*instance
	joined         int
	kills, reloads int
	outages        int
	reset          int // calls whose connection to Caddy was reset
	// Streams that were made, and those that ended too early.
	streams, broken  atomic.Int64
	samples          []sample
	report           strings.Builder
	start, nextTaken time.Time
}

type sample struct {
	memory     int64 // heap and stacks in use after a garbage collection, bytes
	goroutines int
}

// churn does something every five seconds.
func (s *soak) churn(t *testing.T) {
	s.start = time.Now()
	s.nextTaken = s.start.Add(s.every)
	s.sayf("%8s  %10s  %10s  %8s  %6s  %6s  %8s  %7s\n", "time", "memory", "goroutines", "streams", "broken", "kills", "reloads", "outages")
	for tick := 1; time.Since(s.start) < s.span; tick++ {
		switch {
		case tick%36 == 0: // every three minutes
			s.restartEtcd(t)
		case tick%2 == 0:
			s.replace(t, tick/2)
		}
		s.reload(t)
		if time.Now().After(s.nextTaken) {
			s.nextTaken = s.nextTaken.Add(s.every)
			s.sample(t)
		}
		time.Sleep(time.Until(s.start.Add(time.Duration(tick) * 5 * time.Second)))
	}
}

// replace lets the oldest instance go, in one of three ways, and another one come.
func (s *soak) replace(t *testing.T, n int) {
	oldest := s.live[0]
	s.live = s.live[1:]
	if n%3 == 0 {
		oldest.kill()
		s.kills++
	}
	s.joined++
	s.live = append(s.live, s.join(t, fmt.Sprint("soak-", s.joined), instanceConfig{}))
	switch n % 3 {
	case 1:
		oldest.must(t, "graceful")
		oldest.must(t, "deregister")
	case 2:
		oldest.must(t, "deregister")
		oldest.must(t, "graceful")
	}
	oldest.kill()
}

func (s *soak) restartEtcd(t *testing.T) {
	s.outages++
	member := s.etcd.members[0]
	member.kill()
	time.Sleep(5 * time.Second)
	member.start(t)
	s.etcd.waitUp(t)
}

func (s *soak) reload(t *testing.T) {
	s.reloads++
	switch s.reloads % 3 {
	case 0:
		s.site.Handler = fmt.Sprintf("timeout 20s\nroute GET /reloaded/%d/{text} gateway.test.v1.Echo/Unary", s.reloads)
	case 1:
		s.site.Site = changing(s.reloads)
	case 2:
		s.site.Upstream = fmt.Sprintf("connect_timeout %dms", 5000+s.reloads)
	}
	if err := s.Reload(s.site.options()); err != nil {
		t.Fatal(err)
	}
}

// startStreams keeps n streams of five seconds open.
func (s *soak) startStreams(n int) (stop func()) {
	var wg sync.WaitGroup
	done := make(chan struct{})
	client := patient()
	for range n {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				s.streams.Add(1)
				if err := s.stream(client); err != nil {
					s.broken.Add(1)
					time.Sleep(100 * time.Millisecond)
				}
			}
		})
	}
	return func() {
		close(done)
		wg.Wait()
	}
}

func (s *soak) stream(client *http.Client) error {
	const messages = 6
	resp, err := client.Get(s.URL(fmt.Sprintf("/v1/stream/%d?script.interval=1s&text=message", messages)))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if n := bytes.Count(body, []byte(`"number":`)); resp.StatusCode != http.StatusOK || n != messages {
		return fmt.Errorf("%s with %d messages", resp.Status, n)
	}
	return nil
}

func (s *soak) sample(t *testing.T) {
	now := sample{s.Memory(t).Used(), s.Goroutines(t)}
	s.samples = append(s.samples, now)
	s.sayf("%8s  %6.1f MiB  %10d  %8d  %6d  %6d  %8d  %7d\n", time.Since(s.start).Round(time.Second), float64(now.memory)/(1<<20), now.goroutines,
		s.streams.Load(), s.broken.Load(), s.kills, s.reloads, s.outages)
}

// sayf prints at once, and keeps it for the file.
func (s *soak) sayf(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	fmt.Print(line)
	s.report.WriteString(line)
}

// verdict compares the last quarter of the samples with the second: the first is for warming up.
func (s *soak) verdict(t *testing.T, h *history) {
	t.Helper()
	n := len(s.samples)
	if n < 8 {
		t.Fatalf("%d samples show no trend", n)
	}
	early, late := mean(s.samples[n/4:n/2]), mean(s.samples[n-n/4:])
	if late.memory > early.memory*5/4+(4<<20) {
		t.Errorf("memory grew from %d to %d bytes", early.memory, late.memory)
	}
	if late.goroutines > early.goroutines*5/4+20 {
		t.Errorf("goroutines grew from %d to %d", early.goroutines, late.goroutines)
	}
	// A kill breaks the streams that are on the instance, at most all.
	if broken := s.broken.Load(); broken > int64(10*s.kills) {
		t.Errorf("%d streams of %d broke at %d kills", broken, s.streams.Load(), s.kills)
	}
	s.sayf("\n%v: %d calls, %d safe and %d other failures, %d duplicates, %d connections reset; %d streams, %d broken; %d kills, %d reloads, %d restarts of etcd\n",
		s.span, len(h.safe)+len(h.unsafe), len(h.safeFailed), len(h.unsafeFailed), h.duplicates, s.reset, s.streams.Load(), s.broken.Load(), s.kills, s.reloads, s.outages)
	s.sayf("second quarter, last quarter: %.1f MiB, %.1f MiB; %d, %d goroutines\n", float64(early.memory)/(1<<20), float64(late.memory)/(1<<20), early.goroutines, late.goroutines)
	if err := os.MkdirAll(filepath.Join("..", "out"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join("..", "out", "soak.txt"), []byte(s.report.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

func mean(samples []sample) sample {
	var total sample
	for _, s := range samples {
		total.memory += s.memory
		total.goroutines += s.goroutines
	}
	n := len(samples)
	return sample{total.memory / int64(n), total.goroutines / n}
}
