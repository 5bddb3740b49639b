package fleet

import (
	"bufio"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-grpc/gateway/bench/internal/canned"
	"github.com/caddy-grpc/gateway/bench/internal/traffic"
)

// startFleet builds the programs and runs those that every test needs.
func startFleet(t *testing.T) *Fleet {
	t.Helper()
	if testing.Short() {
		t.Skip("builds several programs")
	}
	bin, err := filepath.Abs("../../out/bin")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir("../..")
	if err := Build(bin); err != nil {
		t.Fatal(err)
	}
	f := &Fleet{Bin: bin}
	t.Cleanup(f.Stop)
	if err := f.Start(); err != nil {
		t.Fatal(err)
	}
	return f
}

// TestPeers makes every peer do all its work, and the load generator checks the answers.
func TestPeers(t *testing.T) {
	f := startFleet(t)
	for _, p := range Peers() {
		g, err := f.Launch(p)
		if err != nil {
			t.Fatal(err)
		}
		for _, work := range p.Works {
			t.Run(p.Name+"/"+work, func(t *testing.T) {
				res, err := f.Measure(traffic.Cell{Work: work, Addr: g.Addr, PID: g.PID, Debug: g.Debug, Connections: 3, Duration: 20 * time.Millisecond, Filler: p.Filler})
				if err != nil {
					t.Fatal(err)
				}
				if res.Requests < 3 || res.CPU <= 0 || res.Allocs == 0 || res.RSS == 0 {
					t.Errorf("it was not measured: %+v", res)
				}
			})
		}
	}
}

// TestWrongAnswers fails when a peer does another work than it is asked for.
func TestWrongAnswers(t *testing.T) {
	f := startFleet(t)
	p := Peers()[0]
	site := p.Site
	p.Site = func(b Backends) string { return "rewrite /v1/books/* /v1/items\n" + site(b) }
	g, err := f.Launch(p)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Measure(traffic.Cell{Work: canned.Get, Addr: g.Addr, PID: g.PID, Debug: g.Debug, Connections: 1, Duration: time.Millisecond})
	if err == nil || !strings.Contains(err.Error(), "wrong") {
		t.Errorf("a list instead of a book gave %v", err)
	}
}

// TestNothingIsHeldBack is what makes the figures of streams mean something: the gateway's
// coalescing must not wait for more messages. The backend rests for a second after the 1st or the
// 7th message; what came before must arrive before the next does.
func TestNothingIsHeldBack(t *testing.T) {
	f := startFleet(t)
	g, err := f.Launch(Peers()[0])
	if err != nil {
		t.Fatal(err)
	}
	for query, before := range map[string]int{"count=10&pauseAfter=1": 1, "count=10&pauseAfter=7": 7} {
		t.Run(query, func(t *testing.T) {
			resp, err := http.Get("http://" + g.Addr + "/v1/events?" + query)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			lines := bufio.NewReader(resp.Body)
			var arrived []time.Time
			for {
				_, err := lines.ReadString('\n')
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				arrived = append(arrived, time.Now())
			}
			if len(arrived) != 10 {
				t.Fatalf("%d messages arrived, not 10", len(arrived))
			}
			if rest := arrived[before].Sub(arrived[before-1]); rest < 500*time.Millisecond {
				t.Errorf("message %d arrived %v before the next, which the backend sent a second later", before, rest)
			}
		})
	}
}
