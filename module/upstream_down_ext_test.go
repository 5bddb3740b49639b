package module_test

import (
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/caddy-grpc/gateway/internal/testkit"
	"github.com/caddy-grpc/gateway/module"
)

// anEvent waits for an event that begins so.
func anEvent(t *testing.T, name, prefix string) {
	t.Helper()
	eventually(t, prefix, func() bool {
		return slices.ContainsFunc(noted(name), func(e string) bool { return strings.HasPrefix(e, prefix) })
	})
}

func TestServiceThatIsOut(t *testing.T) {
	backend := testkit.StartBackend(t)
	source := testkit.NewSource("manual:out", backend.Addr())
	manualStates["out"] = source
	s := newSite(t)
	s.load(subscription("outage"), "grpc_gateway {\n upstream shop {\n discover manual out\n}\n}")
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	const series = `upstream_down{upstream="shop"}`
	if got := s.metric(series); got != 0 {
		t.Errorf("%s is %v while all is well", series, got)
	}

	backend.Stop()
	anEvent(t, "outage", "upstream_down error=")
	if got := s.metric(series); got != 1 {
		t.Errorf("%s is %v", series, got)
	}
	var v module.UpstreamView
	s.ask("/grpc_gateway/upstreams/shop", &v)
	if v.Down == "" || v.DownSince.IsZero() {
		t.Errorf("operators are not told: %+v", v.Snapshot)
	}
	if lines := s.logged("the service is out: no instance takes calls"); len(lines) != 1 || !strings.Contains(lines[0], `"level":"warn"`) {
		t.Errorf("the log has %q", lines)
	}

	other := testkit.StartBackend(t)
	source.SetAddrs(other.Addr())
	anEvent(t, "outage", "upstream_up seconds=")
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	if got := s.metric(series); got != 0 {
		t.Errorf("%s is %v after the outage", series, got)
	}
}

// TestOutageIsOneWarning: however long a service is out, and whatever else fails because of that,
// operators get one warning and one event, also if the gateway starts meanwhile.
func TestOutageIsOneWarning(t *testing.T) {
	for _, c := range []struct {
		name, book string
		start      bool // the service is up when the gateway starts
	}{{"a service that goes", "goes", true}, {"a service that was never there", "absent", false}} {
		t.Run(c.name, func(t *testing.T) {
			backend := testkit.StartBackend(t)
			s := newSite(t)
			if !c.start {
				backend.Stop()
			}
			s.load(subscription(c.book), "grpc_gateway {\n upstream shop {\n discover static "+backend.Addr()+"\n descriptors reflection {\n refresh 1s\n }\n}\n}")
			if c.start {
				s.want(s.get("/v1/echo/x"), http.StatusOK)
				backend.Stop()
			}
			anEvent(t, c.book, "upstream_down error=")
			read := `schema_reloads_total{result="failed"}`
			for before := s.metric(read); s.metric(read) < before+2; {
				s.get("/v1/echo/x")
			}
			if c.start == (len(s.logged("the methods of some upstreams")) > 0) {
				t.Errorf("the log says of missing methods: %q", s.logged("the methods of some upstreams"))
			}
			var warnings []string
			for _, level := range []string{"warn", "error"} {
				warnings = append(warnings, s.linesWith(`"level":"`+level+`"`, `"logger":"`, "grpc_gateway")...)
			}
			// A digest of the process may wait, and then tell of the registry of an earlier test.
			warnings = slices.DeleteFunc(warnings, func(line string) bool { return strings.Contains(line, `"targets":["manual:`) })
			if len(warnings) != 1 || !strings.Contains(warnings[0], "the service is out") {
				t.Errorf("%d warnings:\n%s", len(warnings), strings.Join(warnings, ""))
			}
			if got := s.metric(`upstream_down{upstream="shop"}`); got != 1 {
				t.Errorf("upstream_down is %v", got)
			}
			down := 0
			for _, e := range noted(c.book) {
				if strings.HasPrefix(e, "upstream_down ") {
					down++
				}
			}
			if down != 1 {
				t.Errorf("%d events upstream_down: %q", down, noted(c.book))
			}
		})
	}
}

func TestSchemaThatChangesIsAnEvent(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	file := filepath.Join(s.dir, "api.binpb")
	protoset(t, file, nil)
	s.load(subscription("schema"), "grpc_gateway {\n upstream shop {\n discover static "+backend.Addr()+"\n descriptors protoset "+file+"\n}\n}")
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	if slices.ContainsFunc(noted("schema"), func(e string) bool { return strings.HasPrefix(e, "schema_changed") }) {
		t.Errorf("the first schema is a change: %q", noted("schema"))
	}
	protoset(t, file, func(fd *descriptorpb.FileDescriptorProto) {
		for _, m := range fd.GetService()[1].GetMethod() {
			if m.GetName() == "Unary" {
				m.Name = new("Renamed")
			}
		}
	})
	anEvent(t, "schema", "schema_changed added=gateway.test.v1.Echo/Renamed methods=12 removed=gateway.test.v1.Echo/Unary upstream=shop")
}

func TestHealthPath(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	s.load("", "grpc_gateway "+backend.Addr()+" {\n health {\n path /healthz\n}\n}")
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	for path, want := range map[string]int{
		"/healthz":                              http.StatusOK,
		"/healthz?service=gateway.test.v1.Echo": http.StatusOK,
		"/healthz?service=nobody.v1.Knows":      http.StatusNotFound,
		"/healthz/":                             http.StatusNotFound,
	} {
		if got := s.get(path); got.status != want {
			t.Errorf("GET %s is %s, want %d", path, got, want)
		}
	}
	backend.Stop()
	eventually(t, "the service is not serving", func() bool {
		return s.get("/healthz?service=gateway.test.v1.Echo").status == http.StatusServiceUnavailable
	})
	s.want(s.get("/healthz"), http.StatusOK)
	s.load("", "grpc_gateway "+backend.Addr()+" {\n health on\n}")
	s.want(s.afresh("/healthz"), http.StatusNotFound)
}
