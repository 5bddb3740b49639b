package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/caddy-grpc/gateway/bench/internal/fleet"
	"github.com/caddy-grpc/gateway/bench/internal/traffic"
)

// matrix is every work with every number of connections at every peer that does that work.
type matrix struct {
	*options
	fleet   *fleet.Fleet
	running []*running
	results map[cell][]traffic.Result // by rounds
	wrong   []error                   // what was answered wrongly; it fails the run, at its end
}

type running struct {
	fleet.Peer
	*fleet.Gateway
}

type cell struct {
	work  string
	conns int
	peer  string
}

// launch starts every peer that has something to do.
func (m *matrix) launch() error {
	var peers []fleet.Peer
	for _, p := range fleet.Peers() {
		if len(m.peers) == 0 || slices.Contains(m.peers, p.Name) {
			peers = append(peers, p)
		}
	}
	for _, p := range append(peers, m.others...) {
		if !slices.ContainsFunc(p.Works, func(w string) bool { return slices.Contains(m.works, w) }) {
			continue
		}
		g, err := m.fleet.Launch(p)
		if err != nil {
			return err
		}
		m.running = append(m.running, &running{Peer: p, Gateway: g})
	}
	return nil
}

// measure does all rounds, and a short one before them that does not count. Peers take turns within
// each cell, each time in another order, so that a machine that is slow for a while is so for all.
func (m *matrix) measure() error {
	m.results = make(map[cell][]traffic.Result)
	for round := -1; round < m.rounds; round++ {
		for _, work := range m.works {
			for i, conns := range m.conns {
				if round < 0 && i > 0 {
					break
				}
				if err := m.turn(round, work, conns); err != nil {
					return err
				}
			}
		}
		if round >= 0 {
			fmt.Fprintf(os.Stderr, "round %d of %d\n", round+1, m.rounds)
		}
	}
	return nil
}

func (m *matrix) turn(round int, work string, conns int) error {
	for i := range m.running {
		r := m.running[(i+round+1)%len(m.running)]
		if !slices.Contains(r.Works, work) {
			continue
		}
		duration := m.duration
		if round < 0 {
			duration = min(duration, 200*time.Millisecond)
		}
		res, err := m.fleet.Measure(traffic.Cell{Work: work, Addr: r.Addr, PID: r.PID, Debug: r.Debug, Connections: conns, Duration: duration, Filler: r.Filler})
		if err != nil {
			err = fmt.Errorf("%s with %d connections by %s: %w", work, conns, r.Name, err)
			if wrong := (*fleet.CellError)(nil); !errors.As(err, &wrong) {
				return err
			}
			fmt.Fprintln(os.Stderr, err)
			m.wrong = append(m.wrong, err)
			continue
		}
		if round >= 0 {
			c := cell{work, conns, r.Name}
			m.results[c] = append(m.results[c], res)
		}
	}
	return nil
}

// beside is the median, over the rounds, of a figure of one peer divided by that of another in the
// same round; 0 if either was not measured.
func (m *matrix) beside(work string, conns int, peer, other string, of func(traffic.Result) float64) float64 {
	var v []float64
	others := m.results[cell{work, conns, other}]
	for i, r := range m.results[cell{work, conns, peer}] {
		if i < len(others) {
			v = append(v, of(r)/of(others[i]))
		}
	}
	return middle(v)
}

// median of a figure over the rounds of a cell; 0 for a cell that was not measured.
func (m *matrix) median(c cell, of func(traffic.Result) float64) float64 {
	var v []float64
	for _, r := range m.results[c] {
		v = append(v, of(r))
	}
	return middle(v)
}

func middle(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	slices.Sort(v)
	return (v[len(v)/2] + v[(len(v)-1)/2]) / 2
}

// Figures of a cell.

func perRequest(r traffic.Result) float64 { return micro(r.CPU) / float64(r.Requests) }
func busy(r traffic.Result) float64       { return float64(r.CPU) / float64(r.Wall) }
func p50(r traffic.Result) float64        { return micro(r.P50) }
func p99(r traffic.Result) float64        { return micro(r.P99) }
func allocs(r traffic.Result) float64     { return float64(r.Allocs) / float64(r.Requests) }
func allocKB(r traffic.Result) float64    { return float64(r.AllocBytes) / float64(r.Requests) / 1024 }
func gcs(r traffic.Result) float64        { return float64(r.GCs) / r.Wall.Seconds() }
func lockWait(r traffic.Result) float64   { return micro(r.LockWait) / float64(r.Requests) }
func rss(r traffic.Result) float64        { return float64(r.RSS) / (1 << 20) }
func rate(r traffic.Result) float64       { return float64(r.Requests) / r.Wall.Seconds() }

func micro(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }

func (m *matrix) print(out io.Writer) {
	tw := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, work := range m.works {
		for _, conns := range m.conns {
			fmt.Fprintf(tw, "%s, %d\tCPU µs\tby ours\tbusy\tp50 µs\tp99 µs\tallocs\tKiB\tGC/s\tlock µs\tRSS MiB\treq/s\t\n", work, conns)
			for _, r := range m.running {
				c := cell{work, conns, r.Name}
				if len(m.results[c]) == 0 {
					continue
				}
				fmt.Fprintf(tw, "%s\t%.1f\t%.2f\t%.2f\t%.0f\t%.0f\t%.0f\t%.1f\t%.1f\t%.2f\t%.0f\t%.0f\t\n", r.Name, m.median(c, perRequest), m.beside(work, conns, r.Name, fleet.Ours, perRequest),
					m.median(c, busy), m.median(c, p50), m.median(c, p99), m.median(c, allocs), m.median(c, allocKB), m.median(c, gcs), m.median(c, lockWait), m.median(c, rss), m.median(c, rate))
			}
			fmt.Fprintln(tw)
		}
	}
	_ = tw.Flush()
}
