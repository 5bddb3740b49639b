package module_test

import (
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-grpc/gateway/discovery"
	"github.com/caddy-grpc/gateway/internal/testkit"
	"github.com/caddy-grpc/gateway/module"
)

// TestCatalogStartsWithoutItsRegistry: the services of the last run are used, with the list of all
// of them from one file.
func TestCatalogStartsWithoutItsRegistry(t *testing.T) {
	f := newFleet(t)
	f.add("user", startService(t, "user.v1.Users", "user", "GET /v1/users/{value}"))
	f.add("order", startService(t, "order.v1.Orders", "order", "GET /v1/orders/{value}"))
	s := newSite(t)
	s.load(f.global(""), siteOfFleet)
	s.want(s.get("/v1/users/7"), http.StatusOK)
	time.Sleep(2 * time.Second) // until the list is on disk
	s.shutdown()

	f.source.SetState(discovery.State{Err: errors.New("no leader")})
	s = newSite(t)
	s.load(subscription(t.Name())+"\n"+f.global(""), siteOfFleet)
	s.want(s.get("/v1/users/7"), http.StatusOK)
	s.want(s.get("/v1/orders/7"), http.StatusOK)
	if v := s.catalog(); !v.Registry.Stale || v.Registry.Snapshot == nil || v.Registry.Instances != 2 {
		t.Errorf("registry: %+v", v.Registry)
	}
	lost := func() (n int) {
		for _, e := range noted(t.Name()) {
			if strings.HasPrefix(e, "registry_lost") {
				n++
			}
		}
		return n
	}
	eventually(t, "the loss is an event", func() bool { return lost() > 0 })
	if n := lost(); n != 1 {
		t.Errorf("%d events for one registry", n)
	}
	f.remove("order")
	eventually(t, "the registry's list takes over", func() bool { return s.service("order").Name == "" && !s.catalog().Registry.Stale })
	s.want(s.get("/v1/users/7"), http.StatusOK)
}

// TestCatalogEventsAndMetrics: operators are told of each service, once.
func TestCatalogEventsAndMetrics(t *testing.T) {
	f := newFleet(t)
	addr := startService(t, "user.v1.Users", "user", "GET /v1/users/{value}")
	f.add("user", addr)
	s := newSite(t)
	s.load(subscription(t.Name())+"\n"+f.global(""), siteOfFleet)
	s.want(s.get("/v1/users/7"), http.StatusOK)
	wantNote(t, t.Name(), "service_added catalog=fleet service=user upstream=fleet:user")
	wantNote(t, t.Name(), "endpoint_ready instance="+addr+" upstream=fleet:user")
	added := s.metric(`catalog_services_added_total{catalog="fleet"}`)
	for series, want := range map[string]float64{
		`catalog_services{catalog="fleet",state="serving"}`:  1,
		`catalog_services{catalog="fleet",state="failed"}`:   0,
		`registry_stale{upstream="catalog:fleet"}`:           0,
		`registry_skipped_entries{upstream="catalog:fleet"}`: 0,
		`endpoints{state="READY",upstream="fleet:user"}`:     1,
	} {
		if got := s.metric(series); got != want {
			t.Errorf("%s is %v, want %v", series, got, want)
		}
	}
	f.add("order", startService(t, "order.v1.Orders", "order", "GET /v1/orders/{value}"))
	wantNote(t, t.Name(), "service_added catalog=fleet service=order upstream=fleet:order")
	eventually(t, "it answers", func() bool { return s.status("/v1/orders/7") == http.StatusOK })
	if got := s.metric(`catalog_services_added_total{catalog="fleet"}`); got != added+1 {
		t.Errorf("%v services were added, %v before", got, added)
	}
	f.remove("order")
	wantNote(t, t.Name(), "service_removed catalog=fleet service=order upstream=fleet:order")
	module.HurryDraining()
	eventually(t, "its series end", func() bool { return !strings.Contains(s.metrics(), `"fleet:order"`) })
	if n := len(slices.DeleteFunc(noted(t.Name()), func(e string) bool { return !strings.HasPrefix(e, "service_") })); n != 3 {
		t.Errorf("events: %q", noted(t.Name()))
	}
}

// TestEverySourceTellsOfTrouble: what happens to a registry is logged and counted, even if its
// source logs nothing.
func TestEverySourceTellsOfTrouble(t *testing.T) {
	module.ResetDigests()
	backend := testkit.StartBackend(t)
	source := testkit.NewSource("manual:trouble", backend.Addr())
	manualStates["trouble"] = source
	s := newSite(t)
	s.load("", "grpc_gateway {\n upstream echo {\n discover manual trouble\n }\n }")
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	losses, restores := s.metric(`registry_losses_total{upstream="echo"}`), s.metric(`registry_restores_total{upstream="echo"}`)
	source.SetError(errors.New("no leader"))
	eventually(t, "the loss is logged", func() bool { return len(s.linesWith("trouble with the registry", "no leader", "manual:trouble")) == 1 })
	source.SetError(nil)
	eventually(t, "the return is logged", func() bool { return len(s.linesWith("the registry is back", "manual:trouble")) == 1 })
	source.SetState(discovery.State{
		Synced: true, LastContact: time.Now(), Endpoints: []discovery.Endpoint{{ID: "a", Addr: backend.Addr()}},
		Skipped: []discovery.Skipped{{ID: "b\nforged", Reason: "expected host:port"}},
	})
	eventually(t, "the entry is logged", func() bool { return len(s.linesWith("cannot be used", `b\\nforged`, "expected host:port")) == 1 })
	if a, b := s.metric(`registry_losses_total{upstream="echo"}`), s.metric(`registry_restores_total{upstream="echo"}`); a != losses+1 || b != restores+1 {
		t.Errorf("lost %v times, restored %v times; %v and %v before", a, b, losses, restores)
	}
	if n := s.metric(`registry_skipped_entries{upstream="echo"}`); n != 1 {
		t.Errorf("%v entries are skipped", n)
	}
}

// TestCatalogLargeStart starts with many services, a tenth of which are broken. Each healthy one
// answers, each broken one is listed with its reason, and the log stays short.
func TestCatalogLargeStart(t *testing.T) {
	const services = 60
	f := newFleet(t)
	down := freeAddr(t)
	silent := testkit.StartBackend(t, testkit.WithReflection(false, false)).Addr()
	var list []discovery.Endpoint
	for i := range services {
		name := fmt.Sprintf("s%03d", i)
		addr := down
		switch {
		case i%20 == 0:
			addr = silent
		case i%10 != 0:
			addr = startService(t, name+".v1.Service", name, "GET /v1/"+name+"/{value}")
		}
		list = append(list, discovery.Endpoint{ID: name + "/1", Service: name, Addr: addr, Created: int64(i + 1)})
	}
	f.source.Set(list...)
	s := newSite(t)
	began := time.Now()
	s.load(f.global(""), siteOfFleet)
	for i := range services {
		if i%10 != 0 {
			path := fmt.Sprintf("/v1/s%03d/x", i)
			eventually(t, path+" answers", func() bool { return s.status(path) == http.StatusOK })
		}
	}
	t.Logf("all healthy services have answered %v after the start; %d goroutines", time.Since(began), runtime.NumGoroutine())
	eventually(t, "all are known", func() bool {
		failed := 0
		for _, v := range s.catalog().Services {
			if v.State == "failed" && v.Reason != "" {
				failed++
			}
		}
		return failed == services/10 && s.status("/v1/nobody") == http.StatusNotFound
	})
	lines := slices.DeleteFunc(s.linesWith("grpc_gateway"), func(line string) bool { return strings.Contains(line, `"level":"debug"`) })
	if len(lines) > 20 {
		t.Errorf("the log has %d lines: %s", len(lines), lines)
	}
}
