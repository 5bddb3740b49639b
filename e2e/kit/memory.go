package kit

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// Memory is what Caddy's Go runtime has in use, in bytes.
type Memory struct {
	Heap  int64 // spans of live objects, after two garbage collections
	Stack int64
}

// Used is both.
func (m Memory) Used() int64 { return m.Heap + m.Stack }

// Memory asks the process through its admin API's pprof. Unlike the size of the process this has
// nothing of the race detector's memory, nor garbage, nor what the runtime keeps for later.
func (c *Caddy) Memory(t testing.TB) Memory {
	t.Helper()
	var text []byte
	for range 2 { // sync.Pools let go of their values in the second collection.
		var err error
		if text, err = c.get("/debug/pprof/heap?gc=1&debug=1"); err != nil {
			t.Fatal(err)
		}
	}
	var m Memory
	for name, to := range map[string]*int64{"HeapInuse": &m.Heap, "Stack": &m.Stack} {
		value, err := profileValue(string(text), name)
		if err != nil {
			t.Fatal(err)
		}
		*to = value
	}
	return m
}

// profileValue finds a line "# name = value" or "# name = value / other" at the end of a heap
// profile.
func profileValue(profile, name string) (int64, error) {
	_, rest, ok := strings.Cut(profile, "# "+name+" = ")
	if !ok {
		return 0, fmt.Errorf("the heap profile has no %s", name)
	}
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0, fmt.Errorf("the heap profile has no value of %s", name)
	}
	return strconv.ParseInt(fields[0], 10, 64)
}

// Goroutines is their number in the process.
func (c *Caddy) Goroutines(t testing.TB) int {
	t.Helper()
	text, err := c.get("/debug/pprof/goroutine?debug=1")
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if _, err := fmt.Sscanf(string(text), "goroutine profile: total %d", &n); err != nil {
		t.Fatalf("read the goroutine profile: %v", err)
	}
	return n
}

// Stacks is what every goroutine of Caddy does right now.
func (c *Caddy) Stacks() ([]byte, error) { return c.get("/debug/pprof/goroutine?debug=2") }

// Metric is the sum of a metric's series that have all these labels, each as name="value".
func (c *Caddy) Metric(name string, labels ...string) (float64, error) {
	text, err := c.get("/metrics")
	if err != nil {
		return 0, err
	}
	sum := 0.0
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		at := strings.LastIndexByte(line, ' ')
		if at < 0 {
			continue
		}
		series, value := line[:at], line[at+1:]
		if base, _, _ := strings.Cut(series, "{"); base != name || !hasAll(series, labels) {
			continue
		}
		number, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, fmt.Errorf("read the metric %s: %w", line, err)
		}
		sum += number
	}
	return sum, nil
}

func hasAll(series string, labels []string) bool {
	for _, label := range labels {
		if !strings.Contains(series, label) {
			return false
		}
	}
	return true
}
