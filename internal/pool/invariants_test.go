package pool

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	grpcbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"

	"github.com/caddy-grpc/gateway/discovery"
)

// The balancer's counts agree with its endpoints, no matter what the registry and the network do.
func TestInvariants(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := rand.New(rand.NewPCG(seed, 0))
				b, g := startBalancer(t, Settings{Connections: 1 + int(seed%2), DrainTimeout: 3 * time.Second, HealthCheck: seed%4 == 3, Subset: int(seed % 5), SubsetKey: "gateway"})
				var ends []func(grpcbalancer.DoneInfo)
				for step := range 400 {
					switch r.IntN(7) {
					case 6:
						g.answerSome(r)
					case 0:
						s := synced(someEndpoints(r)...)
						if seed%3 > 0 {
							s.Hold, s.Stale = time.Second, r.IntN(4) == 0
						}
						b.onFeed(s)
					case 1, 2:
						if s := g.sub(fmt.Sprint("host", r.IntN(8))); s != nil {
							s.next(r)
						}
					case 3:
						if _, done, err := g.pick(t.Context()); err == nil {
							ends = append(ends, done)
						}
					case 4:
						if n := len(ends); n > 0 {
							ends[n-1](grpcbalancer.DoneInfo{BytesSent: true})
							ends = ends[:n-1]
						}
					case 5:
						time.Sleep(time.Duration(r.IntN(700)) * time.Millisecond)
					}
					if step%10 == 0 {
						b.lock()
						b.ask(func() {
							for _, ep := range b.endpoints {
								b.eject(ep)
								break
							}
						})
						b.publishAndUnlock()
					}
					synctest.Wait()
					checkBooks(t, b)
					if t.Failed() {
						t.Fatalf("at step %d", step)
					}
				}
				// In the end everything is let go.
				for _, end := range ends {
					end(grpcbalancer.DoneInfo{BytesSent: true})
				}
				b.list()
				time.Sleep(time.Minute)
				synctest.Wait()
				checkBooks(t, b)
				b.lock()
				defer b.publishAndUnlock()
				if len(b.endpoints) != 0 || b.dialing != 0 || len(b.weights) != 0 || b.ejected != 0 || b.cold != 0 || len(g.subs) != 0 {
					t.Errorf("left over: %d endpoints, %d dialling, weights %v, %d ejected, %d cold, %d connections", len(b.endpoints), b.dialing, b.weights, b.ejected, b.cold, len(g.subs))
				}
			})
		})
	}
}

func someEndpoints(r *rand.Rand) []discovery.Endpoint {
	var list []discovery.Endpoint
	for id := range 12 {
		if r.IntN(2) == 0 {
			list = append(list, discovery.Endpoint{ID: fmt.Sprintf("id%02d", id), Addr: fmt.Sprint("host", r.IntN(8)), Weight: uint32(r.IntN(4))})
		}
	}
	return list
}

// next moves a SubConn to a state that may follow its present state.
func (s *fakeSub) next(r *rand.Rand) {
	s.grpc.mu.Lock()
	state := s.state
	s.grpc.mu.Unlock()
	switch {
	case state == connectivity.Connecting && r.IntN(3) == 0:
		s.refuse()
	case state == connectivity.Connecting:
		s.become(connectivity.Ready, nil)
	case state == connectivity.Ready && r.IntN(3) == 0, state == connectivity.TransientFailure:
		s.become(connectivity.Idle, nil)
	}
}

// answerSome makes the last watch of a random address answer, if it waits for that.
func (g *fakeGRPC) answerSome(r *rand.Rand) {
	g.mu.Lock()
	watches := g.watches[fmt.Sprint("host", r.IntN(8))]
	g.mu.Unlock()
	if len(watches) == 0 {
		return
	}
	answers := []any{serving, serving, notServing, errors.New("broken")}
	select {
	case watches[len(watches)-1].answers <- answers[r.IntN(len(answers))]:
	default:
	}
}

func checkBooks(t *testing.T, b *balancer) {
	t.Helper()
	b.lock()
	defer b.publishAndUnlock()
	var active, registered, held, failing, ready, ejected, dialing, weights int
	for addr, ep := range b.endpoints {
		if ep.addr != addr {
			t.Errorf("%s is listed under %s", ep.addr, addr)
		}
		up := 0
		for _, c := range ep.conns {
			if c.gone {
				t.Errorf("%s has a connection that is gone", addr)
			}
			if c.dialing {
				dialing++
			}
			if b.usable(c) {
				up++
			}
		}
		if got := ep.ready.Load(); got == nil && up > 0 || got != nil && len(*got) != up {
			t.Errorf("%s has %d connections up, calls see %v", addr, up, got)
		}
		if (ep.place >= 0) != (ep.inUse && up > 0 && !ep.ejected) || ep.place >= 0 && b.ready[ep.place] != ep {
			t.Errorf("%s: place %d, active %v, %d up, ejected %v", addr, ep.place, ep.inUse, up, ep.ejected)
		}
		used, unused := ep.inUse && !ep.draining.Load(), !ep.inUse && !ep.draining.Load() && len(ep.conns) == 0 && ep.registered()
		if draining := !ep.inUse && ep.draining.Load(); !used && !draining && (!unused || b.settings.Subset == 0) {
			t.Errorf("%s: draining %v, in use %v, registered %v, %d connections", addr, ep.draining.Load(), ep.inUse, ep.registered(), len(ep.conns))
		}
		if b.settings.Subset > 0 && ep.ranked != (ep.registered() || ep.held) || ep.inUse && !ep.registered() && !ep.held {
			t.Errorf("%s: ranked %v, registered %v, held %v, in use %v", addr, ep.ranked, ep.registered(), ep.held, ep.inUse)
		}
		if ep.held && (ep.registered() || !ep.connected) {
			t.Errorf("%s is held, registered %v, connected %v", addr, ep.registered(), ep.connected)
		}
		if ep.inUse {
			active++
			if len(ep.conns) < b.settings.Connections && !ep.held {
				t.Errorf("%s has %d connections, want %d", addr, len(ep.conns), b.settings.Connections)
			}
		}
		for what, n := range map[*int]bool{&failing: ep.failing, &ready: ep.place >= 0, &ejected: ep.ejected, &held: ep.held, &registered: ep.registered()} {
			if n {
				*what++
			}
		}
	}
	for w, n := range b.weights {
		if weights += n; n <= 0 {
			t.Errorf("weight %d is counted %d times", w, n)
		}
	}
	for what, pair := range map[string][2]int{
		"active": {b.active, active}, "registered": {b.registered, registered}, "held": {b.hold.held, held}, "failing": {b.failing, failing}, "ready": {len(b.ready), ready},
		"ejected": {b.ejected, ejected}, "weights": {weights, active}, "dialling": {b.dialing, dialing},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: the books say %d, there are %d", what, pair[0], pair[1])
		}
	}
	if closed := isClosed(b.readiness); closed != (ready > 0) {
		t.Errorf("readiness is %v with %d ready", closed, ready)
	}
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
