package module_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"

	"github.com/caddy-grpc/gateway/discovery"
	"github.com/caddy-grpc/gateway/internal/testkit"
)

// notebook is a handler of events, as a plugin would have one. Its notes are kept by its name.
type notebook struct {
	Name string `json:"name,omitempty"`
}

var notes struct {
	mu     sync.Mutex
	events map[string][]caddy.Event
}

func init() { caddy.RegisterModule(new(notebook)) }

func (*notebook) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "events.handlers.notebook", New: func() caddy.Module { return new(notebook) }}
}

func (n *notebook) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if !d.AllArgs(&n.Name) {
		return d.ArgErr()
	}
	return nil
}

func (n *notebook) Handle(_ context.Context, e caddy.Event) error {
	notes.mu.Lock()
	defer notes.mu.Unlock()
	if notes.events == nil {
		notes.events = make(map[string][]caddy.Event)
	}
	notes.events[n.Name] = append(notes.events[n.Name], e)
	return nil
}

var (
	_ caddyfile.Unmarshaler = (*notebook)(nil)
	_ caddyevents.Handler   = (*notebook)(nil)
)

// noted are the events of a notebook: name and data in the order of the alphabet.
func noted(name string) (all []string) {
	notes.mu.Lock()
	defer notes.mu.Unlock()
	for _, e := range notes.events[name] {
		var data []string
		for k, v := range e.Data {
			data = append(data, fmt.Sprintf("%s=%v", k, v))
		}
		slices.Sort(data)
		all = append(all, strings.TrimPrefix(e.Name(), "grpc_gateway.")+" "+strings.Join(data, " "))
	}
	return all
}

// wantNote waits for an event.
func wantNote(t *testing.T, name, want string) {
	t.Helper()
	eventually(t, want, func() bool { return slices.Contains(noted(name), want) })
}

// subscription returns the global option that makes a notebook note all events of the gateway.
func subscription(name string) string {
	var b strings.Builder
	b.WriteString("events {\n")
	for _, event := range []string{
		"endpoint_added", "endpoint_removed", "endpoint_ready", "endpoint_lost", "endpoint_unreachable", "endpoint_ejected",
		"endpoint_readmitted", "endpoint_held", "upstream_down", "upstream_up", "schema_changed", "registry_lost", "registry_restored", "snapshot_used",
		"service_added", "service_removed",
	} {
		fmt.Fprintf(&b, "on grpc_gateway.%s notebook %s\n", event, name)
	}
	return b.String() + "}"
}

func TestEvents(t *testing.T) {
	a, b := testkit.StartBackend(t), testkit.StartBackend(t)
	const id = "manual:events"
	source := testkit.NewSource(id, a.Addr())
	manualStates["events"] = source
	s := newSite(t)
	config := func(options string) string {
		return "grpc_gateway {\n upstream echo {\n discover manual events\n retry off\n eject 2 200ms\n}\n" + options + "}"
	}
	s.load(subscription("first"), config(""))
	wantNote(t, "first", "endpoint_added instance="+a.Addr()+" target="+id+" upstream=echo")
	wantNote(t, "first", "endpoint_ready instance="+a.Addr()+" upstream=echo")
	notes.mu.Lock()
	if m := notes.events["first"][0].Origin().CaddyModule().ID; m != "grpc_gateway.events" {
		t.Errorf("the events come from %s", m)
	}
	notes.mu.Unlock()

	source.SetAddrs(a.Addr(), b.Addr())
	wantNote(t, "first", "endpoint_added instance="+b.Addr()+" target="+id+" upstream=echo")
	wantNote(t, "first", "endpoint_ready instance="+b.Addr()+" upstream=echo")

	eventually(t, "ejected", func() bool {
		s.get("/v1/echo/x?script.fail_code=14")
		return slices.ContainsFunc(noted("first"), func(e string) bool { return strings.HasPrefix(e, "endpoint_ejected ") })
	})
	eventually(t, "readmitted", func() bool {
		return slices.ContainsFunc(noted("first"), func(e string) bool { return strings.HasPrefix(e, "endpoint_readmitted ") })
	})

	source.SetError(errors.New("the registry is gone"))
	wantNote(t, "first", "registry_lost error=the registry is gone instances=2 target="+id+" upstream=echo")
	source.SetError(nil)
	wantNote(t, "first", "registry_restored instances=2 target="+id+" upstream=echo")

	// The pool outlives its config: what happens next is for the new one.
	s.load(subscription("second"), config("timeout 4s\n"))
	before := len(noted("first"))
	b.Stop()
	wantNote(t, "second", "endpoint_lost instance="+b.Addr()+" upstream=echo")
	eventually(t, "unreachable", func() bool {
		return slices.ContainsFunc(noted("second"), func(e string) bool {
			return strings.HasPrefix(e, "endpoint_unreachable error=") && strings.HasSuffix(e, " instance="+b.Addr()+" upstream=echo")
		})
	})
	source.SetAddrs(a.Addr())
	wantNote(t, "second", "endpoint_removed instance="+b.Addr()+" target="+id+" upstream=echo")
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	s.shutdown()
	if got := noted("first"); len(got) != before {
		t.Errorf("the old config heard of %q", got[before:])
	}
	for _, e := range noted("second") {
		if strings.HasPrefix(e, "endpoint_added") || strings.Contains(e, a.Addr()) && !strings.HasPrefix(e, "endpoint_lost") {
			t.Errorf("of what did not change the new config heard %q", e)
		}
	}

	// A start without the registry.
	source = testkit.NewSource(id)
	source.SetState(discovery.State{Err: errors.New("the registry is gone")})
	manualStates["events"] = source
	s = newSite(t)
	s.load(subscription("third"), config(""))
	wantNote(t, "third", "endpoint_ready instance="+a.Addr()+" upstream=echo")
	if !slices.ContainsFunc(noted("third"), func(e string) bool {
		return strings.HasPrefix(e, "registry_lost error=the registry is gone instances=")
	}) {
		t.Errorf("the loss of the registry is not an event: %q", noted("third"))
	}
	if !slices.ContainsFunc(noted("third"), func(e string) bool {
		return strings.HasPrefix(e, "snapshot_used instances=1 saved=") && strings.HasSuffix(e, " target="+id+" upstream=echo")
	}) {
		t.Errorf("the use of the snapshot is not an event: %q", noted("third"))
	}
}
