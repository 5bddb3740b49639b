package consul

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/consul/api"
	"go.uber.org/goleak"

	"github.com/caddy-grpc/gateway/discovery"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConvert(t *testing.T) {
	with := func(e *api.ServiceEntry, fn func(*api.ServiceEntry)) *api.ServiceEntry {
		fn(e)
		return e
	}
	endpoint := discovery.Endpoint{ID: "node-1/1", Addr: "10.0.0.1:9001", Weight: 1, Metadata: map[string]string{"node": "node-1"}}
	changed := func(fn func(*discovery.Endpoint)) *discovery.Endpoint {
		e := endpoint
		fn(&e)
		return &e
	}
	for name, c := range map[string]struct {
		entry     *api.ServiceEntry
		want      *discovery.Endpoint
		reason    string // why it is skipped
		withdrawn bool
	}{
		"without checks":           {entry: instance("1", "10.0.0.1:9001"), want: &endpoint},
		"passing":                  {entry: instance("1", "10.0.0.1:9001", "passing", "passing"), want: &endpoint},
		"warning":                  {entry: instance("1", "10.0.0.1:9001", "passing", "warning"), reason: `expected passing health checks, found "check 1" warning`},
		"critical":                 {entry: instance("1", "10.0.0.1:9001", "critical"), reason: `expected passing health checks, found "check 0" critical`},
		"in a state of the future": {entry: instance("1", "10.0.0.1:9001", "drowsy"), reason: "expected passing health checks"},
		"at the address of its node": {
			entry: instance("1", ":9001"), want: changed(func(e *discovery.Endpoint) { e.Addr = "10.9.9.9:9001" }),
		},
		"at IPv6": {
			entry: instance("1", "[2001:db8::1]:9001"), want: changed(func(e *discovery.Endpoint) { e.Addr = "[2001:db8::1]:9001" }),
		},
		"with weights": {
			entry: with(instance("1", "10.0.0.1:9001"), func(e *api.ServiceEntry) { e.Service.Weights.Passing = 30 }),
			want:  changed(func(e *discovery.Endpoint) { e.Weight = 30 }),
		},
		"with a weight that makes no sense": {
			entry: with(instance("1", "10.0.0.1:9001"), func(e *api.ServiceEntry) { e.Service.Weights.Passing = -3 }),
			want:  changed(func(e *discovery.Endpoint) { e.Weight = 0 }),
		},
		"with a huge weight": {
			entry: with(instance("1", "10.0.0.1:9001"), func(e *api.ServiceEntry) { e.Service.Weights.Passing = 1 << 40 }),
			want:  changed(func(e *discovery.Endpoint) { e.Weight = maxWeight }),
		},
		"with metadata and tags": {
			entry: with(instance("1", "10.0.0.1:9001"), func(e *api.ServiceEntry) {
				e.Service.Tags, e.Service.Meta, e.Service.CreateIndex = []string{"grpc", "v2"}, map[string]string{"zone": "a"}, 7
			}),
			want: changed(func(e *discovery.Endpoint) {
				e.Metadata = map[string]string{"node": "node-1", "tags": "grpc,v2", "zone": "a"}
				e.Registration = 7
			}),
		},
		"in maintenance": {
			entry: with(instance("1", "10.0.0.1:9001"), func(e *api.ServiceEntry) {
				e.Checks = api.HealthChecks{{CheckID: "_service_maintenance:1", Status: api.HealthCritical}}
			}),
			reason: "found maintenance mode", withdrawn: true,
		},
		"on a node in maintenance": {
			entry: with(instance("1", "10.0.0.1:9001"), func(e *api.ServiceEntry) {
				e.Checks = api.HealthChecks{{CheckID: api.NodeMaint, Status: api.HealthCritical}}
			}),
			reason: "found maintenance mode", withdrawn: true,
		},
		"without a port":     {entry: instance("1", "10.0.0.1:0"), reason: "expected a port, found none"},
		"on all interfaces":  {entry: instance("1", "0.0.0.0:9001"), reason: "not an unspecified one"},
		"with a bad address": {entry: instance("1", "a/b:9001"), reason: "expected a host name or IP address"},
		"at a Unix socket": {
			entry:  with(instance("1", ":0"), func(e *api.ServiceEntry) { e.Service.SocketPath = "/run/docker.sock" }),
			reason: `found the Unix socket "/run/docker.sock", which only a config may name`,
		},
		"at something like a Unix socket": {
			entry:  with(instance("1", ":9001"), func(e *api.ServiceEntry) { e.Service.Address = "unix//run/docker.sock" }),
			reason: "expected",
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := convert([]*api.ServiceEntry{nil, {}, c.entry, c.entry})
			switch {
			case c.want != nil && (len(l.endpoints) != 1 || !reflect.DeepEqual(l.endpoints[0], *c.want) || len(l.skipped) > 0):
				t.Errorf("got %+v, want %+v", l, *c.want)
			case c.want == nil && (len(l.endpoints) > 0 || len(l.skipped) != 1 || !strings.Contains(l.skipped[0].Reason, c.reason)):
				t.Errorf("got %+v, want the reason %q", l, c.reason)
			}
			if c.withdrawn != (len(l.withdrawn) == 1) {
				t.Errorf("withdrawn: %+v", l.withdrawn)
			}
		})
	}
}

func TestListsAreSorted(t *testing.T) {
	l := convert([]*api.ServiceEntry{instance("2", "b:1"), instance("1", "a:1"), instance("4", "b:0"), instance("3", "a:0")})
	if l.endpoints[0].ID != "node-1/1" || l.endpoints[1].ID != "node-2/2" || l.skipped[0].ID != "node-3/3" || l.skipped[1].ID != "node-4/4" {
		t.Errorf("got %+v", l)
	}
}

// answer is what the query says for one index.
type answer struct {
	index      uint64
	entries    []*api.ServiceEntry
	leaderless bool
	err        error
}

// script runs the watcher in virtual time against a list of answers. After the last one the query
// blocks. It returns the published states and the indexes that were asked for, with the times.
func script(t *testing.T, answers ...answer) (states []discovery.State, asked []uint64, at []time.Duration) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		start := time.Now()
		next := 0
		w := watcher{query: func(ctx context.Context, index uint64) ([]*api.ServiceEntry, *api.QueryMeta, error) {
			asked, at = append(asked, index), append(at, time.Since(start))
			if next == len(answers) {
				cancel()
				<-ctx.Done()
				return nil, nil, ctx.Err()
			}
			a := answers[next]
			next++
			if errors.Is(a.err, context.DeadlineExceeded) { // no answer at all
				<-ctx.Done()
				return nil, nil, ctx.Err()
			}
			return a.entries, &api.QueryMeta{LastIndex: a.index, KnownLeader: !a.leaderless}, a.err
		}}
		var wg sync.WaitGroup
		wg.Go(func() { w.run(ctx, func(s discovery.State) { states = append(states, s) }) })
		wg.Wait()
	})
	return states, asked, at
}

func TestWatcher(t *testing.T) {
	one := []*api.ServiceEntry{instance("1", "10.0.0.1:9001")}
	refused := errors.New("connection refused")
	t.Run("waits for what is newer than its list", func(t *testing.T) {
		states, asked, _ := script(t, answer{index: 7, entries: one}, answer{index: 9})
		if want := []uint64{0, 7, 9}; !reflect.DeepEqual(asked, want) {
			t.Errorf("asked for %v, want %v", asked, want)
		}
		if s := states[0]; !s.Synced || len(s.Endpoints) != 1 || s.Revision != 7 || s.LastContact.IsZero() || s.Stale || s.Err != nil {
			t.Errorf("state %+v", s)
		}
		if s := states[1]; !s.Synced || len(s.Endpoints) != 0 {
			t.Errorf("an empty list: %+v", s)
		}
	})
	t.Run("does not ask more often than it should", func(t *testing.T) {
		_, _, at := script(t, answer{index: 1}, answer{index: 2}, answer{index: 3})
		for i := 1; i < len(at); i++ {
			if at[i]-at[i-1] < minInterval {
				t.Errorf("asked at %v", at)
			}
		}
	})
	t.Run("keeps the list while there is trouble", func(t *testing.T) {
		states, asked, at := script(t, answer{index: 7, entries: one}, answer{err: refused}, answer{err: refused}, answer{index: 7, entries: one})
		if s := states[2]; !s.Synced || len(s.Endpoints) != 1 || !errors.Is(s.Err, refused) || s.LastContact != states[0].LastContact {
			t.Errorf("state %+v", s)
		}
		if s := states[3]; s.Err != nil || len(s.Endpoints) != 1 {
			t.Errorf("state %+v", s)
		}
		if want := []uint64{0, 7, 0, 0, 7}; !reflect.DeepEqual(asked, want) {
			t.Errorf("asked for %v, want %v: an answer after trouble must come at once", asked, want)
		}
		if at[3]-at[2] < time.Second*3/2 {
			t.Errorf("asked at %v, want a pause that grows", at)
		}
	})
	t.Run("asks each second while nobody listens", func(t *testing.T) {
		nobody := answer{err: fmt.Errorf("dial: %w", syscall.ECONNREFUSED)}
		_, _, at := script(t, nobody, nobody, nobody, nobody, nobody, nobody, answer{err: refused}, answer{err: refused}, answer{index: 1})
		if got := at[6]; got > 8*time.Second {
			t.Errorf("asked at %v", at)
		}
		if at[8]-at[7] < time.Second*3/2 {
			t.Errorf("asked at %v, want a pause that grows once there is another error", at)
		}
	})
	t.Run("says that there is trouble before it has a list", func(t *testing.T) {
		states, _, _ := script(t, answer{err: refused})
		if s := states[0]; s.Synced || !errors.Is(s.Err, refused) {
			t.Errorf("state %+v", s)
		}
	})
	t.Run("does not wait forever for an answer", func(t *testing.T) {
		states, _, at := script(t, answer{err: context.DeadlineExceeded}, answer{index: 1})
		if len(states) != 2 || states[0].Err == nil || at[1] < waitTime || at[1] > 2*waitTime {
			t.Errorf("%d states, asked at %v", len(states), at)
		}
	})
	t.Run("believes a cluster whose index has gone back", func(t *testing.T) {
		states, asked, _ := script(t, answer{index: 700, entries: one}, answer{index: 3}, answer{index: 3})
		if want := []uint64{0, 700, 0, 3}; !reflect.DeepEqual(asked, want) || len(states[1].Endpoints) != 0 {
			t.Errorf("asked for %v, want %v; states %+v", asked, want, states)
		}
	})
	t.Run("never asks in a loop for index 0", func(t *testing.T) {
		_, asked, _ := script(t, answer{index: 0}, answer{index: 1})
		if want := []uint64{0, 1, 1}; !reflect.DeepEqual(asked, want) {
			t.Errorf("asked for %v, want %v", asked, want)
		}
	})
	t.Run("says that a list without a leader may be old", func(t *testing.T) {
		states, _, _ := script(t, answer{index: 1, entries: one, leaderless: true})
		if s := states[0]; !s.Stale || !s.Synced {
			t.Errorf("state %+v", s)
		}
	})
}

// watch runs the source and returns a function that waits for a state.
func watch(t *testing.T, s discovery.Source) (until func(what string, ok func(discovery.State) bool) discovery.State) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	var last discovery.State
	var wg sync.WaitGroup
	wg.Go(func() {
		s.Watch(ctx, func(s discovery.State) {
			mu.Lock()
			defer mu.Unlock()
			last = s
		})
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	})
	return func(what string, ok func(discovery.State) bool) discovery.State {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
			mu.Lock()
			s := last
			mu.Unlock()
			if ok(s) {
				return s
			}
		}
		t.Fatalf("no %s; the last state is %+v", what, last)
		return discovery.State{}
	}
}

func has(addrs ...string) func(discovery.State) bool {
	return func(s discovery.State) bool {
		var got []string
		for _, e := range s.Endpoints {
			got = append(got, e.Addr)
		}
		return s.Synced && s.Err == nil && reflect.DeepEqual(got, addrs)
	}
}
