package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/caddy-grpc/gateway/bench/internal/canned"
	"github.com/caddy-grpc/gateway/bench/internal/fleet"
	"github.com/caddy-grpc/gateway/bench/internal/page"
	"github.com/caddy-grpc/gateway/bench/internal/plot"
	"github.com/caddy-grpc/gateway/bench/internal/traffic"
)

// titles of the kinds of work.
var titles = map[string]string{
	canned.Get:          "Small GET",
	canned.Post:         "Small POST",
	canned.List:         "64 KiB list",
	canned.Upload:       "64 KiB request",
	canned.Stream:       fmt.Sprintf("Stream of %d messages", canned.StreamLength),
	canned.GRPC:         "Native gRPC, unary",
	canned.ClientStream: fmt.Sprintf("Native gRPC, %d messages from the client", canned.StreamLength),
	canned.Connect:      "Connect, unary, binary",
	canned.ConnectJSON:  "Connect, unary, JSON",
}

// write puts tables and plots into the docs.
func (m *matrix) write(memory string) error {
	for name, figures := range map[string]string{"settings": m.settings(), "goals": m.goalTable(), "tables": m.tables(), "memory": memory} {
		if err := page.Fill(m.docs, name, figures); err != nil {
			return err
		}
	}
	dir := strings.TrimSuffix(m.docs, ".md")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	middle := m.conns[len(m.conns)/2]
	last := m.conns[len(m.conns)-1]
	if err := m.figure(fmt.Sprintf("CPU per request, µs, %d connections", middle), middle, "%.1f", perRequest).Write(filepath.Join(dir, "cpu.svg")); err != nil {
		return err
	}
	return m.figure(fmt.Sprintf("99th percentile of the latency, ms, %d connections", last), last, "%.1f",
		func(r traffic.Result) float64 { return p99(r) / 1000 }).Write(filepath.Join(dir, "p99.svg"))
}

func (m *matrix) figure(title string, conns int, format string, of func(traffic.Result) float64) plot.Figure {
	f := plot.Figure{Title: title}
	for _, work := range m.works {
		p := plot.Panel{Title: titles[work]}
		for _, r := range m.running {
			if v := m.median(cell{work, conns, r.Name}, of); v > 0 {
				ours := r.Name == fleet.Ours || r.Name == fleet.OursAgain
				p.Bars = append(p.Bars, plot.Bar{Label: r.Name, Parts: []float64{v}, Text: fmt.Sprintf(format, v), Ours: ours})
			}
		}
		f.Panels = append(f.Panels, p)
	}
	return f
}

// settings is what the figures were measured with.
func (m *matrix) settings() string {
	requests := 0
	for _, results := range m.results {
		for _, r := range results {
			requests += r.Requests
		}
	}
	return fmt.Sprintf("%s, %d cores, Linux %s; %s; gateways on core %s, load and backend on core %s; %s for every process; %d rounds of %v a cell; "+
		"%d requests, every one answered rightly.",
		processor(), runtime.NumCPU(), strings.TrimSpace(contents("/proc/sys/kernel/osrelease")), runtime.Version(), or(m.gateway, "any"), or(m.load, "any"),
		"`"+strings.ReplaceAll(m.gc, ",", " ")+"`", m.rounds, m.duration, requests)
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

func contents(path string) string {
	b, _ := os.ReadFile(path)
	return string(b)
}

func processor() string {
	_, rest, _ := strings.Cut(contents("/proc/cpuinfo"), "model name")
	rest, _, _ = strings.Cut(rest, "\n")
	return or(strings.TrimLeft(rest, "\t :"), runtime.GOARCH)
}

// tables has a table for each kind of work.
func (m *matrix) tables() string {
	var b strings.Builder
	for _, work := range m.works {
		head := []string{"peer"}
		for _, n := range m.conns {
			head = append(head, fmt.Sprintf("CPU µs, %d", n))
		}
		for _, n := range m.conns {
			head = append(head, fmt.Sprintf("p50 / p99 ms, %d", n))
		}
		t := page.NewTable(append(head, "allocations", "KiB", "GC/s")...)
		for _, r := range m.running {
			if row := m.row(work, r.Name); row != nil {
				t.Row(row...)
			}
		}
		fmt.Fprintf(&b, "### %s\n\n%s\n", titles[work], t)
	}
	return b.String()
}

func (m *matrix) row(work, peer string) []string {
	var cpu, latency []string
	for _, n := range m.conns {
		c := cell{work, n, peer}
		if len(m.results[c]) == 0 {
			return nil
		}
		beside := ""
		if r := m.beside(work, n, peer, fleet.Ours, perRequest); r > 0 && peer != fleet.Ours {
			beside = fmt.Sprintf(" (%.2f)", r)
		}
		cpu = append(cpu, fmt.Sprintf("%.1f%s", m.median(c, perRequest), beside))
		latency = append(latency, fmt.Sprintf("%.2f / %.2f", m.median(c, p50)/1000, m.median(c, p99)/1000))
	}
	middle := cell{work, m.conns[len(m.conns)/2], peer}
	row := append([]string{peer}, append(cpu, latency...)...)
	return append(row, fmt.Sprintf("%.0f", m.median(middle, allocs)), fmt.Sprintf("%.1f", m.median(middle, allocKB)), fmt.Sprintf("%.1f", m.median(middle, gcs)))
}
