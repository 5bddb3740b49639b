package main

import (
	"fmt"
	"slices"

	"github.com/caddy-grpc/gateway/bench/internal/canned"
	"github.com/caddy-grpc/gateway/bench/internal/fleet"
	"github.com/caddy-grpc/gateway/bench/internal/page"
	"github.com/caddy-grpc/gateway/bench/internal/traffic"
)

// goal is what one of our figures, divided by another, may be at most.
type goal struct {
	work, beside string
	peer         string // instead of ours
	figure       string // one of figures
	most         float64
	conns        []int // only with these; any, if empty
}

var figures = map[string]func(traffic.Result) float64{"CPU": perRequest, "p99": p99}

// loaded are the numbers of connections at which the processor is busy.
var loaded = []int{64, 512}

var goals = []goal{
	{work: canned.Get, beside: fleet.PassThrough, figure: "CPU", most: 1.03},
	{work: canned.Get, beside: fleet.GRPCGateway, figure: "CPU", most: 0.85},
	{work: canned.Post, beside: fleet.PassThrough, figure: "CPU", most: 1.03},
	{work: canned.Post, beside: fleet.GRPCGateway, figure: "CPU", most: 0.85},
	{work: canned.List, beside: fleet.PassThrough, figure: "CPU", most: 1.6},
	{work: canned.List, beside: fleet.GRPCGateway, figure: "CPU", most: 1. / 10},
	{work: canned.Upload, beside: fleet.PassThrough, figure: "CPU", most: 1.7},
	{work: canned.Upload, beside: fleet.GRPCGateway, figure: "CPU", most: 1. / 15},
	{work: canned.Stream, beside: fleet.PassThrough, figure: "CPU", most: 1},
	{work: canned.Stream, beside: fleet.GRPCGateway, figure: "CPU", most: 1. / 11},
	{work: canned.GRPC, beside: fleet.ReverseProxy, figure: "CPU", most: 0.5},
	{work: canned.Connect, beside: fleet.ReverseProxy, figure: "CPU", most: 0.5},
	{work: canned.ConnectJSON, beside: fleet.ReverseProxy, figure: "CPU", most: 0.5},
	{work: canned.Get, peer: fleet.OursWire, beside: fleet.GRPCGateway, figure: "CPU", most: 0.7, conns: loaded},
	{work: canned.Post, peer: fleet.OursWire, beside: fleet.GRPCGateway, figure: "CPU", most: 0.7, conns: loaded},
	{work: canned.List, peer: fleet.OursWire, beside: fleet.Ours, figure: "CPU", most: 0.85, conns: loaded},
	{work: canned.Upload, peer: fleet.OursWire, beside: fleet.Ours, figure: "CPU", most: 0.85, conns: loaded},
	{work: canned.Stream, peer: fleet.OursWire, beside: fleet.Ours, figure: "CPU", most: 0.5, conns: loaded},
	{work: canned.GRPC, peer: fleet.OursWire, beside: fleet.ReverseProxy, figure: "CPU", most: 0.65, conns: loaded},
	{work: canned.Connect, peer: fleet.OursWire, beside: fleet.ReverseProxy, figure: "CPU", most: 0.5, conns: loaded},
	{work: canned.ConnectJSON, peer: fleet.OursWire, beside: fleet.ReverseProxy, figure: "CPU", most: 0.5, conns: loaded},
	{work: canned.Get, beside: fleet.PassThrough, figure: "p99", most: 1.1, conns: []int{512}},
	{work: canned.Post, beside: fleet.PassThrough, figure: "p99", most: 1.1, conns: []int{512}},
	{work: canned.List, beside: fleet.PassThrough, figure: "p99", most: 1.1, conns: []int{512}},
	{work: canned.Upload, beside: fleet.PassThrough, figure: "p99", most: 1.1, conns: []int{512}},
	{work: canned.Stream, beside: fleet.PassThrough, figure: "p99", most: 1.1, conns: []int{512}},
}

// mostMemory is by how many MiB our process may be larger than the floor.
const mostMemory = 16

// mostMemoryWire is the same for our process with `transport wire`.
const mostMemoryWire = 8

// goalTable says of every goal what it came to, and of the pair of equals what a ratio means in
// this run.
func (m *matrix) goalTable() string {
	head := []string{"work", "figure", "of", "goal: at most"}
	for _, n := range m.conns {
		head = append(head, fmt.Sprintf("%d conn.", n))
	}
	t := page.NewTable(append(head, "reached")...)
	for _, work := range m.works {
		for _, g := range goals {
			if g.work == work {
				m.goalRow(t, g)
			}
		}
		// Beside the goals, what they rest on: how alike equals are, and where the floor is.
		m.goalRow(t, goal{work: work, beside: fleet.OursAgain, figure: "CPU"})
		m.goalRow(t, goal{work: work, beside: fleet.OursAgain, figure: "p99", conns: []int{512}})
		m.goalRow(t, goal{work: work, peer: fleet.OursWire, beside: fleet.Ours, figure: "CPU"})
		m.goalRow(t, goal{work: work, peer: fleet.OursWire, beside: fleet.Ours, figure: "p99"})
		m.goalRow(t, goal{work: work, peer: fleet.OursWire, beside: fleet.PassWire, figure: "CPU"})
		m.goalRow(t, goal{work: work, peer: fleet.ByHand, beside: fleet.PassWire, figure: "CPU"})
		m.goalRow(t, goal{work: work, peer: fleet.PassThrough, beside: fleet.GRPCGateway, figure: "CPU"})
		m.goalRow(t, goal{work: work, peer: fleet.PassThrough, beside: fleet.ReverseProxy, figure: "CPU"})
		m.goalRow(t, goal{work: work, peer: fleet.FlushEach, beside: fleet.PassThrough, figure: "CPU"})
	}
	return t.String()
}

func (m *matrix) goalRow(t *page.Table, g goal) {
	if g.peer == "" {
		g.peer = fleet.Ours
	}
	row := []string{g.work, g.figure, g.peer + " beside " + g.beside, ratio(g.most)}
	reached, missed := 0, 0
	for _, n := range m.conns {
		r := m.beside(g.work, n, g.peer, g.beside, figures[g.figure])
		if r == 0 || len(g.conns) > 0 && !slices.Contains(g.conns, n) {
			row = append(row, "")
			continue
		}
		row = append(row, ratio(r))
		if r <= g.most {
			reached++
		} else {
			missed++
		}
	}
	verdict := fmt.Sprintf("%d of %d", reached, reached+missed)
	switch {
	case reached+missed == 0:
		return
	case g.most == 0:
		row[3], verdict = "", ""
	case missed == 0:
		verdict = "yes"
	case reached == 0:
		verdict = "no"
	}
	t.Row(append(row, verdict)...)
}

// ratio writes small ones as a fraction of one.
func ratio(r float64) string {
	if r > 0 && r < 0.35 {
		return fmt.Sprintf("1/%.1f", 1/r)
	}
	return fmt.Sprintf("%.2f", r)
}
