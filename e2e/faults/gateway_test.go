package faults

import (
	"fmt"
	"testing"
	"time"

	"github.com/caddy-grpc/gateway/e2e/kit"
)

// TestTerminated: the gateway gets SIGTERM under load. What it has accepted, it answers: everything
// that an instance executed, and everything that has an answer at all. What comes later finds no
// connection.
func TestTerminated(t *testing.T) {
	t.Parallel()
	w := startWorld(t, startCluster(t, 1), 3, siteOptions{}, instanceConfig{})
	for _, i := range w.instances {
		i.must(t, "delay 100ms")
	}
	load := w.load(100)
	time.Sleep(2 * time.Second)
	w.Terminate(t)
	terminated := time.Now()
	w.Wait(t, 45*time.Second)
	ended := time.Since(terminated)
	time.Sleep(200 * time.Millisecond)
	h := load.stop(t)
	refused := 0
	var failed []kit.Result
	for prefix, results := range map[string][]kit.Result{"safe-": h.safeFailed, "unsafe-": h.unsafeFailed} {
		for _, r := range results {
			if r.Status != 0 || h.executions[prefix+r.ID] > 0 || r.Start.Before(terminated.Add(-time.Second)) {
				failed = append(failed, r)
			} else {
				refused++
			}
		}
	}
	if len(failed) > 0 {
		t.Errorf("%d calls failed that the gateway had accepted:\n%s", len(failed), some(failed))
	}
	if refused == 0 {
		t.Error("no call came after the end: nothing is shown")
	}
	line := h.row(19, "SIGTERM under load")
	line.Safe, line.Unsafe = len(failed), 0
	line.Note = fmt.Sprintf("ended after %v; %d calls came later and were refused", ms(ended), refused)
	table.add(line)
}
