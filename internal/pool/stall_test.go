package pool

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap/zaptest/observer"
	grpcbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"
)

// within is the longest time that it may take to notice that an instance is stalled, or that it has
// recovered.
const (
	stalledWithin = stallAfter + lookEvery + probeTimeout + time.Millisecond
	backWithin    = lookEvery + time.Millisecond
)

// stallScene is a balancer in virtual time whose instances a, b, … are ready.
type stallScene struct {
	*testing.T
	*balancer
	grpc *fakeGRPC
}

func inStallScene(t *testing.T, s Settings, hosts int, run func(s *stallScene)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s.Balance = BalanceRoundRobin
		b, g := startBalancer(t, s)
		g.open = true
		var addrs []string
		for i := range hosts {
			addrs = append(addrs, string(rune('a'+i)))
		}
		b.list(addrs...)
		time.Sleep(time.Minute)
		synctest.Wait()
		run(&stallScene{t, b, g})
	})
}

func (s *stallScene) freeze(addrs ...string) { s.setFrozen(true, addrs...) }
func (s *stallScene) thaw(addrs ...string)   { s.setFrozen(false, addrs...) }

func (s *stallScene) setFrozen(frozen bool, addrs ...string) {
	s.grpc.mu.Lock()
	defer s.grpc.mu.Unlock()
	for _, addr := range addrs {
		s.grpc.frozen[addr] = frozen
	}
}

// speak makes an instance send bytes.
func (s *stallScene) speak(addr string) { s.grpc.sub(addr).conn.endpoint.reads.Add(1) }

func (s *stallScene) probes(addr string) int {
	s.grpc.mu.Lock()
	defer s.grpc.mu.Unlock()
	return s.grpc.probes[addr]
}

// call starts a call at an instance. It returns a function that ends the call.
func (s *stallScene) call(addr string, cancel context.CancelFunc) (l *lease, end func()) {
	s.Helper()
	for range 10 {
		l := &lease{Context: context.Background(), channel: &Channel{balancer: s.balancer}, unary: true, cancel: cancel}
		at, done, err := s.grpc.pick(l)
		if err != nil {
			s.Fatal(err)
		}
		end := func() { done(grpcbalancer.DoneInfo{BytesSent: true}) }
		if at == addr {
			return l, end
		}
		end()
	}
	s.Fatalf("%s gets no calls", addr)
	return nil, nil
}

func (s *stallScene) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (s *stallScene) wantEjected(when string, addr string, want bool) {
	s.Helper()
	if got := isEjected(s.balancer, addr); got != want {
		s.Errorf("%s: ejected is %v, want %v", when, got, want)
	}
}

func TestStalled(t *testing.T) {
	tests := []struct {
		name     string
		settings Settings
		hosts    int
		frozen   []string
		calls    []string // instances at which a call waits
		ejected  int
		probes   int // at a
	}{
		{"an instance that does not answer", Settings{}, 2, []string{"a"}, []string{"a"}, 1, 1},
		{"one that answers, but takes its time", Settings{}, 2, nil, []string{"a"}, 0, 1},
		{"one without calls", Settings{}, 2, []string{"a"}, []string{"b"}, 0, 0},
		{"never the only one", Settings{}, 1, []string{"a"}, []string{"a"}, 0, 0},
		{"never the last one", Settings{EjectMaxPercent: 100}, 2, []string{"a", "b"}, []string{"a", "b"}, 1, 1},
		{"never more than half", Settings{}, 4, []string{"a", "b", "c"}, []string{"a", "b", "c"}, 2, 1},
		{"never more than configured", Settings{EjectMaxPercent: 25}, 4, []string{"a", "b"}, []string{"a", "b"}, 1, 1},
		{"switched off", Settings{EjectFailures: -1}, 2, []string{"a"}, []string{"a"}, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inStallScene(t, tt.settings, tt.hosts, func(s *stallScene) {
				s.freeze(tt.frozen...)
				for _, addr := range tt.calls {
					_, end := s.call(addr, nil)
					defer end()
				}
				s.pass(stalledWithin)
				ejected := 0
				for _, e := range s.snapshot().Endpoints {
					if e.State == "ejected" {
						ejected++
					}
				}
				if ejected != tt.ejected || s.snapshot().Ejections != uint64(tt.ejected) {
					t.Errorf("%d are ejected, %d ever, want %d", ejected, s.snapshot().Ejections, tt.ejected)
				}
				if n := s.probes("a"); tt.hosts < 4 && n != tt.probes {
					t.Errorf("a was asked %d times, want %d", n, tt.probes)
				}
			})
		})
	}
}

// A silent instance is probed only if that is useful.
func TestProbes(t *testing.T) {
	tests := []struct {
		name   string
		run    func(s *stallScene)
		probes int
	}{
		{"calls that are over in time", func(s *stallScene) {
			for range 100 {
				_, end := s.call("a", nil)
				s.pass(stallAfter - lookEvery)
				end()
			}
		}, 0},
		{"a call that is new, after an hour of silence", func(s *stallScene) {
			s.pass(time.Hour)
			s.call("a", nil)
			s.pass(stallAfter - time.Millisecond)
		}, 0},
		{"something comes now and then", func(s *stallScene) {
			s.call("a", nil)
			for range 100 {
				s.pass(stallAfter - time.Millisecond)
				s.speak("a")
			}
		}, 0},
		{"an idle stream, once", func(s *stallScene) {
			s.call("a", nil)
			s.pass(time.Hour)
		}, 1},
		{"calls that are over in time beside an idle stream", func(s *stallScene) {
			s.call("a", nil)
			s.pass(time.Minute)
			for range 100 {
				_, end := s.call("a", nil)
				s.pass(10 * time.Millisecond)
				s.speak("a")
				end()
				s.pass(10 * time.Second)
			}
		}, 1},
		{"a slow call beside an idle stream", func(s *stallScene) {
			s.call("a", nil)
			s.pass(time.Minute)
			s.call("a", nil)
			s.pass(time.Minute)
		}, 2},
		{"many slow calls", func(s *stallScene) {
			for range 100 {
				_, end := s.call("a", nil)
				defer end()
				s.pass(100 * time.Millisecond)
			}
		}, 5}, // in 10 s: after 1 s, and every 2 s from then on
		{"a connection with as many calls as it takes", func(s *stallScene) {
			s.endpoints["a"].conns[0].limit.Store(3)
			for range 3 {
				s.call("a", nil)
			}
			s.pass(time.Minute)
		}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inStallScene(t, Settings{MaxConnections: 1}, 2, func(s *stallScene) {
				tt.run(s)
				if n := s.probes("a"); n != tt.probes {
					t.Errorf("asked %d times, want %d", n, tt.probes)
				}
				s.wantEjected("in the end", "a", false)
			})
		})
	}
}

// freezeUntilAsked freezes an endpoint that has a call, and waits for the probe.
func (s *stallScene) freezeUntilAsked(addr string) {
	s.freeze(addr)
	s.call(addr, nil)
	for s.probes(addr) == 0 {
		s.pass(10 * time.Millisecond)
	}
}

func TestBytesMeanwhileProveLife(t *testing.T) {
	inStallScene(t, Settings{}, 2, func(s *stallScene) {
		s.freezeUntilAsked("a")
		s.speak("a")
		s.pass(probeTimeout)
		s.wantEjected("after bytes that were not the answer", "a", false)
	})
}

func TestConnectionLostDuringProbe(t *testing.T) {
	inStallScene(t, Settings{}, 2, func(s *stallScene) {
		s.freezeUntilAsked("a")
		s.grpc.sub("a").lose()
		s.pass(probeTimeout)
		if n := s.snapshot().Ejections; n != 0 {
			t.Errorf("%d ejections for a connection that was lost", n)
		}
	})
}

// An attempt at a stalled instance is given up if another attempt may follow it.
func TestStalledAttempts(t *testing.T) {
	inStallScene(t, Settings{}, 2, func(s *stallScene) {
		s.freeze("a")
		var given int
		safe, _ := s.call("a", func() { given++ })
		answered, _ := s.call("a", func() { t.Error("one that had an answer was given up") })
		if !answered.answered() {
			t.Error("it was not given up, and may go on")
		}
		other, _ := s.call("a", nil)
		s.pass(stalledWithin)
		if given != 1 || !safe.givenUp() || safe.answered() {
			t.Errorf("the safe attempt was given up %d times, is %v", given, safe.fate.Load())
		}
		if other.givenUp() || answered.givenUp() {
			t.Error("others were given up")
		}
		// The old picker may have given the instance another call in this moment.
		late := &lease{Context: context.Background(), channel: safe.channel, unary: true, cancel: func() { given++ }}
		ep := s.endpoints["a"]
		s.take(ep, ep.conns[0], late, s.clock(), true)
		s.pass(backWithin)
		if given != 2 {
			t.Error("what came late was not given up")
		}
	})
}

func TestStalledComesBack(t *testing.T) {
	stalled := func(s *stallScene) (end func()) {
		s.freeze("a")
		_, end = s.call("a", nil)
		s.pass(stalledWithin)
		s.wantEjected("frozen", "a", true)
		return end
	}
	t.Run("not before something comes, then at once", func(t *testing.T) {
		inStallScene(t, Settings{}, 2, func(s *stallScene) {
			stalled(s)()
			s.pass(time.Hour)
			s.wantEjected("after an hour", "a", true)
			if n := s.probes("a"); n != 1 {
				t.Errorf("asked %d times, want the one question to be kept up", n)
			}
			s.speak("a")
			s.pass(backWithin)
			s.wantEjected("when it has spoken", "a", false)
		})
	})
	t.Run("later when it stalls again, and only after an answer", func(t *testing.T) {
		inStallScene(t, Settings{}, 2, func(s *stallScene) {
			stalled(s)()
			s.speak("a")
			s.pass(backWithin)
			s.thaw("a")
			s.pass(probeEvery)
			stalled(s)()
			s.speak("a")
			s.pass(5*time.Second - lookEvery)
			s.wantEjected("it has spoken, but its time is not over", "a", true)
			before := s.probes("a")
			s.pass(time.Minute)
			s.wantEjected("its time is over, and it does not answer", "a", true)
			if n := s.probes("a") - before; n > 1 {
				t.Errorf("asked %d times meanwhile", n)
			}
			s.thaw("a")
			s.speak("a")
			s.pass(2 * backWithin)
			s.wantEjected("it answers", "a", false)
		})
	})
	t.Run("with a connection of its own making", func(t *testing.T) {
		inStallScene(t, Settings{}, 2, func(s *stallScene) {
			stalled(s)()
			s.grpc.mu.Lock()
			s.grpc.open = false
			s.grpc.mu.Unlock()
			s.grpc.sub("a").lose()
			s.pass(time.Minute)
			s.wantEjected("its connection is lost", "a", false)
			if s.endpoints["a"].place >= 0 {
				t.Error("it gets calls without a connection")
			}
			s.grpc.sub("a").become(connectivity.Ready, nil)
			s.pass(time.Second)
			_, end := s.call("a", nil)
			end()
		})
	})
	t.Run("when the others are lost", func(t *testing.T) {
		inStallScene(t, Settings{}, 2, func(s *stallScene) {
			defer stalled(s)()
			s.grpc.mu.Lock()
			s.grpc.open = false
			s.grpc.mu.Unlock()
			s.grpc.sub("b").lose()
			s.pass(time.Second)
			s.wantEjected("it is the last one", "a", false)
			_, end := s.call("a", nil)
			end()
		})
	})
	t.Run("never when it is removed", func(t *testing.T) {
		inStallScene(t, Settings{}, 3, func(s *stallScene) {
			stalled(s)()
			s.list("b", "c")
			s.pass(time.Minute)
			if s.ejected != 0 || len(s.endpoints) != 2 {
				t.Errorf("%d are counted as ejected, %d are known", s.ejected, len(s.endpoints))
			}
		})
	})
}

// The balancer stops looking when there are no calls, and starts again with the next call.
func TestLooksWhileThereAreCalls(t *testing.T) {
	inStallScene(t, Settings{}, 2, func(s *stallScene) {
		for range 3 {
			_, end := s.call("a", nil)
			s.pass(time.Minute)
			if !s.looking.Load() {
				t.Error("nobody looks after a call")
			}
			end()
			s.pass(lookEvery)
			s.pass(lookEvery)
			if s.looking.Load() {
				t.Error("the balancer looks although there are no calls")
			}
		}
	})
}

func TestWhatIsSaidOfStalledInstances(t *testing.T) {
	told := &recorder{}
	logged(t, Settings{Balance: BalanceRoundRobin}, func(b *balancer, g *fakeGRPC, logs *observer.ObservedLogs) {
		b.events.observer = told
		g.open = true
		b.list("a", "b")
		time.Sleep(time.Minute)
		s := &stallScene{t, b, g}
		s.freeze("a")
		s.call("a", func() {})
		other, _ := s.call("a", nil)
		s.pass(stalledWithin)
		wantError := func(when, want string) {
			t.Helper()
			for _, e := range b.snapshot().Endpoints {
				if e.Address == "a" && e.LastError != want {
					t.Errorf("%s the last error is %q, want %q", when, e.LastError, want)
				}
			}
		}
		wantError("stalled", stalledText)
		other.failed(b.endpoints["a"], status.Error(codes.DeadlineExceeded, "too late"))
		wantError("when a call ran into its deadline", stalledText)
		lines := logs.FilterMessageSnippet("it is silent while calls wait").All()
		if len(lines) != 1 {
			t.Fatalf("%d lines", len(lines))
		}
		fields := lines[0].ContextMap()
		if fields["instance"] != "a" || fields["calls_made_again"] != int64(1) {
			t.Errorf("fields are %v", fields)
		}
		s.speak("a")
		s.pass(backWithin)
		wantError("when it is back", "rpc error: code = DeadlineExceeded desc = too late")
		if n := logs.FilterMessage("instance answers again").Len(); n != 1 {
			t.Errorf("%d lines about its return", n)
		}
		var kinds []EventKind
		for _, e := range told.all() {
			if e.Instance == "a" {
				kinds = append(kinds, e.Kind)
			}
		}
		if want := []EventKind{EventReady, EventEjected, EventReadmitted}; fmt.Sprint(kinds) != fmt.Sprint(want) {
			t.Errorf("events are %v, want %v", kinds, want)
		}
	})
}

// recorder keeps the events that it is told.
type recorder struct {
	mu     sync.Mutex
	events []Event
}

func (r *recorder) Observe(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

func (r *recorder) all() []Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.events
}
