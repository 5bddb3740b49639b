package consul

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/caddy-grpc/gateway/discovery"
)

func ids(endpoints []discovery.Endpoint) []string {
	all := make([]string, len(endpoints))
	for i := range endpoints {
		all[i] = endpoints[i].ID
	}
	return all
}

// serves is a condition: the list is complete, and has exactly these instances.
func serves(want ...string) func(discovery.State) bool {
	return func(s discovery.State) bool { return s.Synced && s.Err == nil && slices.Equal(ids(s.Endpoints), want) }
}

func TestConvertService(t *testing.T) {
	sidecar := instance("3", "10.0.0.3:9001")
	sidecar.Service.Kind = api.ServiceKindConnectProxy
	maintained := instance("4", "10.0.0.4:9001")
	maintained.Checks = api.HealthChecks{{CheckID: "_service_maintenance:4", Status: api.HealthCritical}}
	first := instance("1", "10.0.0.1:9001")
	first.Service.CreateIndex = 17
	l := convertService("user", []*api.ServiceEntry{nil, first, instance("2", "10.0.0.2:9001", "critical"), sidecar, maintained})
	want := discovery.Endpoint{
		ID: "user/node-1/1", Service: "user", Addr: "10.0.0.1:9001", Weight: 1, Created: 17, Registration: 17, Metadata: map[string]string{"node": "node-1"},
	}
	if len(l.endpoints) != 1 || !reflect.DeepEqual(l.endpoints[0], want) {
		t.Errorf("got %+v, want %+v", l.endpoints, want)
	}
	if len(l.withdrawn) != 1 || l.withdrawn[0].ID != "user/node-4/4" || l.withdrawn[0].Service != "user" {
		t.Errorf("withdrawn %+v", l.withdrawn)
	}
	if len(l.skipped) != 2 || l.skipped[0].ID != "user/node-2/2" {
		t.Errorf("skipped %+v", l.skipped)
	}
}

func TestCatalogFollowsServices(t *testing.T) {
	a := newAgent(t)
	a.set(of("user", instance("1", "10.0.0.1:9001", "passing"), "grpc"), of("consul", instance("c", "10.0.0.9:8300"), "grpc"),
		of("web", instance("w", "10.0.0.8:80"), "http"))
	until := watch(t, provisionedCatalog(t, &Catalog{Address: a.addr(), Tags: []string{"grpc"}, Datacenter: "dc2", Token: "s3cret"}))
	if s := until("a list", serves("user/node-1/1")); s.Hold != defaultHold || s.Stale || s.Revision == 0 {
		t.Errorf("state %+v", s)
	}
	order := of("order", instance("2", "10.0.0.2:9001", "passing"), "grpc")
	a.set(of("user", instance("1", "10.0.0.1:9001", "passing"), "grpc"), order)
	until("a new service", serves("order/node-2/2", "user/node-1/1"))
	a.set(of("user", instance("1", "10.0.0.1:9001", "critical"), "grpc"), order)
	if s := until("a failed check", serves("order/node-2/2")); len(s.Skipped) != 1 || s.Skipped[0].ID != "user/node-1/1" {
		t.Errorf("skipped %+v", s.Skipped)
	}
	a.set(order)
	until("a service that went", func(s discovery.State) bool { return len(s.Skipped) == 0 && serves("order/node-2/2")(s) })
	a.change(func() { a.leaderless = true })
	until("a list without a leader", func(s discovery.State) bool { return s.Stale && s.Err == nil })
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, q := range a.asked {
		if q.Get("dc") != "dc2" || a.tokens[i] != "s3cret" || strings.HasPrefix(a.paths[i], "/v1/health/") && q.Get("tag") != "grpc" {
			t.Errorf("%s was asked with %v", a.paths[i], q)
		}
		if strings.HasSuffix(a.paths[i], "/consul") || strings.HasSuffix(a.paths[i], "/web") {
			t.Errorf("%s was asked for", a.paths[i])
		}
	}
}

// Whoever may register may choose names. None leads to another path.
func TestCatalogWithHostileNames(t *testing.T) {
	a := newAgent(t)
	hostile := []string{"..", "../../kv/secret", "a/b", "a?b", "a#b", "a%2Fb", `a\b`, "a b", "", strings.Repeat("x", 300)}
	entries := []*api.ServiceEntry{of("user", instance("1", "10.0.0.1:9001"))}
	for _, name := range hostile {
		entries = append(entries, of(name, instance("x", "10.0.0.2:9001")))
	}
	a.set(entries...)
	until := watch(t, provisionedCatalog(t, &Catalog{Address: a.addr()}))
	s := until("a list", serves("user/node-1/1"))
	if len(s.Skipped) != len(hostile) || slices.ContainsFunc(s.Skipped, func(s discovery.Skipped) bool { return s.Reason == "" }) {
		t.Errorf("skipped %+v", s.Skipped)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, path := range a.paths {
		if path != "/v1/catalog/services" && path != "/v1/health/service/user" {
			t.Errorf("%s was asked for", path)
		}
	}
}

// A service that Consul does not tell about is shown, and the others do not wait for it.
func TestCatalogWithABrokenService(t *testing.T) {
	a := newAgent(t)
	a.broken = map[string]int{"bad": http.StatusBadRequest}
	a.set(of("user", instance("1", "10.0.0.1:9001")), of("bad", instance("2", "10.0.0.2:9001")))
	until := watch(t, provisionedCatalog(t, &Catalog{Address: a.addr()}))
	if s := until("a list", serves("user/node-1/1")); len(s.Skipped) != 1 || s.Skipped[0].ID != "bad" || !strings.Contains(s.Skipped[0].Reason, "400") {
		t.Errorf("skipped %+v", s.Skipped)
	}
	a.change(func() { a.broken = nil })
	until("both services", serves("bad/node-2/2", "user/node-1/1"))
}

// An agent with a limit of connections must never see more of them.
func TestCatalogLimitsItsQueries(t *testing.T) {
	const services, queries = 40, 5
	a := newAgent(t)
	entries := make([]*api.ServiceEntry, services)
	want := make([]string, services)
	for i := range entries {
		name := fmt.Sprintf("s%02d", i)
		entries[i], want[i] = of(name, instance("1", "10.0.0.1:9001")), name+"/node-1/1"
	}
	a.set(entries...)
	until := watch(t, provisionedCatalog(t, &Catalog{Address: a.addr(), Queries: queries}))
	until("all services", serves(want...))
	// Each gets its turn.
	last := slices.Clone(entries)
	last[services-1] = of("s39", instance("2", "10.0.0.2:9001"))
	a.set(last...)
	want[services-1] = "s39/node-2/2"
	until("the change of one", serves(want...))
	// With few services again, all queries may wait.
	a.set(entries[:queries]...)
	until("the few that are left", serves(want[:queries]...))
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.most > queries+firstReads+1 {
		t.Errorf("%d questions at once", a.most)
	}
}

// fleet is a registry in memory whose services block until they are told.
type fleet struct {
	mu      sync.Mutex
	names   map[string][]string
	err     error // of the list
	asked   map[string][]uint64
	index   uint64
	changed chan struct{}
	// renamed wakes those who wait for the list only.
	renamed  chan struct{}
	renaming uint64
	failures map[string]error
}

func (f *fleet) change(fn func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.index++
	fn()
	close(f.changed)
	f.changed = make(chan struct{})
}

// rename changes the list, and nothing of the services that stay.
func (f *fleet) rename(names ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.renaming++
	f.names = make(map[string][]string)
	for _, name := range names {
		f.names[name] = nil
	}
	close(f.renamed)
	f.renamed = make(chan struct{})
}

// wait blocks until there is something newer than index. renamed is nil for those who do not wait
// for the list.
func (f *fleet) wait(ctx context.Context, index, now uint64, changed, renamed <-chan struct{}, wait time.Duration) {
	if index != now {
		return
	}
	select {
	case <-ctx.Done():
	case <-renamed:
	case <-changed:
	case <-time.After(wait):
	}
}

func (f *fleet) registry() registry {
	return registry{
		services: func(ctx context.Context, index uint64, wait time.Duration) (map[string][]string, *api.QueryMeta, error) {
			f.mu.Lock()
			now, changed, renamed := f.index+f.renaming, f.changed, f.renamed
			f.mu.Unlock()
			f.wait(ctx, index, now, changed, renamed, wait)
			f.mu.Lock()
			defer f.mu.Unlock()
			return f.names, &api.QueryMeta{LastIndex: f.index + f.renaming, KnownLeader: true}, errors.Join(ctx.Err(), f.err)
		},
		instances: func(ctx context.Context, service string, index uint64, wait time.Duration) ([]*api.ServiceEntry, *api.QueryMeta, error) {
			f.mu.Lock()
			f.asked[service] = append(f.asked[service], index)
			now, changed := f.index, f.changed
			f.mu.Unlock()
			f.wait(ctx, index, now, changed, nil, wait)
			f.mu.Lock()
			defer f.mu.Unlock()
			entries := []*api.ServiceEntry{of(service, instance(fmt.Sprint(f.index), "10.0.0.1:9001"))}
			return entries, &api.QueryMeta{LastIndex: f.index, KnownLeader: true}, errors.Join(ctx.Err(), f.failures[service])
		},
	}
}

// inTime runs a catalog of the fleet in virtual time.
func inTime(t *testing.T, f *fleet, queries int, fn func(state *atomic.Pointer[discovery.State])) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f.changed, f.renamed, f.asked, f.index = make(chan struct{}), make(chan struct{}), make(map[string][]uint64), 1
		ctx, cancel := context.WithCancel(t.Context())
		var state atomic.Pointer[discovery.State]
		var wg sync.WaitGroup
		wg.Go(func() {
			newCatalog(f.registry(), nil, queries).run(ctx, func(s discovery.State) { state.Store(&s) })
		})
		synctest.Wait()
		fn(&state)
		cancel()
		wg.Wait()
	})
}

// The last good list stays until Consul has told all of it again, and the index of before is not
// used any more.
func TestCatalogAfterAnOutage(t *testing.T) {
	f := &fleet{names: map[string][]string{"a": nil, "b": nil}}
	gone := errors.New("connection refused")
	inTime(t, f, 8, func(state *atomic.Pointer[discovery.State]) {
		if s := state.Load(); !serves("a/node-1/1", "b/node-1/1")(*s) {
			t.Fatalf("state %+v", s)
		}
		f.change(func() { f.err, f.failures = gone, map[string]error{"a": gone, "b": gone} })
		time.Sleep(time.Minute)
		if s := state.Load(); !errors.Is(s.Err, gone) || len(s.Endpoints) != 2 || !s.Synced {
			t.Errorf("state %+v", s)
		}
		f.change(func() { f.err, f.names, f.failures = nil, map[string][]string{"b": nil}, map[string]error{"b": gone} })
		time.Sleep(31 * time.Second * 5 / 4)
		if s := state.Load(); !errors.Is(s.Err, gone) || len(s.Endpoints) != 2 {
			t.Errorf("state before the list is complete: %+v", s)
		}
		f.change(func() { f.failures = nil })
		time.Sleep(31 * time.Second * 5 / 4)
		if s := state.Load(); !serves("b/node-4/4")(*s) {
			t.Errorf("state %+v", s)
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		if asked := f.asked["b"]; asked[2] != 0 || asked[len(asked)-1] != 4 {
			t.Errorf("asked for the indexes %v", asked)
		}
	})
}

// A query that outlives an outage of the list may come from before it. Its index may mean nothing
// to the Consul that answers now.
func TestCatalogForgetsIndexes(t *testing.T) {
	f := &fleet{names: map[string][]string{"a": nil}}
	inTime(t, f, 8, func(*atomic.Pointer[discovery.State]) {
		f.change(func() { f.err = errors.New("no leader") })
		time.Sleep(time.Minute)
		f.change(func() { f.err = nil })
		time.Sleep(2 * time.Minute)
		f.mu.Lock()
		defer f.mu.Unlock()
		if asked := f.asked["a"]; !slices.Contains(asked[1:], 0) {
			t.Errorf("asked for the indexes %v, want 0 again", asked)
		}
	})
}

// A service that cannot be read for long does not hold up the others.
func TestCatalogLosesPatience(t *testing.T) {
	f := &fleet{names: map[string][]string{"a": nil, "b": nil}, failures: map[string]error{"b": errors.New("odd")}}
	inTime(t, f, 8, func(state *atomic.Pointer[discovery.State]) {
		if s := state.Load(); s == nil || s.Synced || s.Err == nil {
			t.Errorf("state %+v", s)
		}
		time.Sleep(2 * time.Minute)
		if s := state.Load(); !serves("a/node-1/1")(*s) || len(s.Skipped) != 1 || s.Skipped[0].ID != "b" {
			t.Errorf("state %+v", s)
		}
	})
}

// When services begin to take turns, none waits for the end of a long query.
func TestCatalogBeginsToTakeTurns(t *testing.T) {
	f := &fleet{names: map[string][]string{"a": nil, "b": nil}}
	inTime(t, f, 2, func(*atomic.Pointer[discovery.State]) {
		f.rename("a", "b", "c", "d")
		time.Sleep(10 * time.Second)
		f.mu.Lock()
		asked := make(map[string]int)
		for name, indexes := range f.asked {
			asked[name] = len(indexes)
		}
		f.mu.Unlock()
		for name, n := range asked {
			if n < 4 || n > 8 {
				t.Errorf("%s was asked for %d times, want a turn every two seconds: %v", name, n, asked)
			}
		}
		f.rename("a", "b")
		time.Sleep(5 * time.Second)
		f.mu.Lock()
		before := len(f.asked["a"])
		f.mu.Unlock()
		time.Sleep(50 * time.Second)
		f.mu.Lock()
		defer f.mu.Unlock()
		if after := len(f.asked["a"]); after > before+1 {
			t.Errorf("asked for %d times in 50 s, want a long query", after-before)
		}
	})
}
