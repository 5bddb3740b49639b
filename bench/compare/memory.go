package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/caddy-grpc/gateway/bench/internal/fleet"
	"github.com/caddy-grpc/gateway/bench/internal/page"
)

// memoryPeers are those whose memory is compared.
var memoryPeers = []string{fleet.Ours, fleet.OursAgain, fleet.OursWire, fleet.PassThrough, fleet.PassWire, fleet.ReverseProxy, fleet.GRPCGateway}

// memoryTable measures how much memory processes have under load, with Go's own pacing of the
// garbage collector and not that of the rest of the comparison, under which all of them grow to the
// same limit. Each work has processes of its own.
func memoryTable(o *options) (string, error) {
	conns := slices.Max(o.conns)
	head := append([]string{"RSS in MiB, " + fmt.Sprint(conns) + " connections"}, memoryPeers...)
	t := page.NewTable(append(head, fmt.Sprintf("ours beyond the floor; goal: at most %d", mostMemory),
		fmt.Sprintf("ours over wire beyond the floor; goal: at most %d", mostMemoryWire), "GC/s, ours", "GC/s, pass-through")...)
	for _, work := range o.works {
		only := *o
		only.works, only.conns, only.peers, only.others = []string{work}, []int{conns}, memoryPeers, []fleet.Peer{fleet.OursOver("wire")}
		only.gc = "GOGC=100,GOMEMLIMIT=off"
		only.rounds, only.duration = min(3, o.rounds), o.duration
		m, err := compare(&only)
		if err != nil {
			return "", err
		}
		if err := errors.Join(m.wrong...); err != nil {
			return "", err
		}
		row := []string{work}
		for _, p := range memoryPeers {
			if v := m.median(cell{work, conns, p}, rss); v > 0 {
				row = append(row, fmt.Sprintf("%.0f", v))
			} else {
				row = append(row, "")
			}
		}
		floor := cell{work, conns, fleet.PassThrough}
		if m.results[floor] == nil {
			floor.peer = fleet.ReverseProxy
		}
		ours := cell{work, conns, fleet.Ours}
		row = append(row, fmt.Sprintf("%+.0f", m.median(ours, rss)-m.median(floor, rss)),
			fmt.Sprintf("%+.0f", m.median(cell{work, conns, fleet.OursWire}, rss)-m.median(floor, rss)),
			fmt.Sprintf("%.1f", m.median(ours, gcs)), fmt.Sprintf("%.1f", m.median(floor, gcs)))
		t.Row(row...)
	}
	return t.String(), nil
}
