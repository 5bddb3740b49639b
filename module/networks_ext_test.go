package module_test

import (
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/caddy-grpc/gateway/discovery"
	"github.com/caddy-grpc/gateway/internal/testkit"
	"github.com/caddy-grpc/gateway/module"
)

// listen counts the connections that somebody makes to a host of this machine.
func listen(t *testing.T, host string) (port string, accepted *atomic.Int64) {
	t.Helper()
	listener, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	accepted = new(atomic.Int64)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			accepted.Add(1)
			conn.Close()
		}
	}()
	t.Cleanup(func() {
		listener.Close()
		<-done
	})
	_, port, _ = net.SplitHostPort(listener.Addr().String())
	return port, accepted
}

// A registry names addresses that are refused beside one that is not. The refused ones are shown,
// counted and logged once, and the service works without them.
func TestAddressesOfARegistryThatAreRefused(t *testing.T) {
	backend := testkit.StartBackend(t)
	_, port, _ := net.SplitHostPort(backend.Addr())
	denied, accepted := listen(t, "127.0.0.2")
	s := newSite(t)
	endpoints := []discovery.Endpoint{
		{ID: "admin", Addr: s.admin},
		{ID: "denied", Addr: "127.0.0.2:" + denied},
		{ID: "gateway", Addr: s.addr},
		{ID: "good", Addr: "127.0.0.1:" + port},
		{ID: "mapped", Addr: "[::ffff:169.254.169.254]:80"},
		{ID: "metadata", Addr: "169.254.169.254:80"},
		{ID: "socket", Addr: "unix//run/docker.sock"},
		{ID: "unspecified", Addr: "0.0.0.0:" + port},
	}
	source := testkit.NewSource("manual:poisoned")
	source.SetState(discovery.State{Synced: true, Endpoints: endpoints})
	manualStates["poisoned"] = source
	s.load("", "grpc_gateway {\n upstream echo {\n discover manual poisoned\n networks {\n deny 127.0.0.2 ::1\n }\n }\n }")
	s.want(s.get("/v1/echo/x"), http.StatusOK)

	var v module.UpstreamView
	s.ask("/grpc_gateway/upstreams/echo", &v)
	var refused []string
	for _, r := range v.Refused {
		refused = append(refused, r.ID+": "+r.Reason)
	}
	for i, want := range []string{
		"admin: " + s.admin + " is where this gateway itself listens",
		"denied: 127.0.0.2 is in the denied network 127.0.0.2/32",
		"gateway: " + s.addr + " is where this gateway itself listens",
		"mapped: 169.254.169.254 is a link-local address",
		"metadata: 169.254.169.254 is a link-local address",
		"socket: unix//run/docker.sock is a Unix socket, which only the config may name",
		"unspecified: 0.0.0.0 is an unspecified address",
	} {
		if i >= len(refused) || !strings.HasPrefix(refused[i], want) {
			t.Errorf("expected %q in %q", want, refused)
		}
	}
	if len(v.Endpoints) != 1 || v.Endpoints[0].Address != backend.Addr() {
		t.Errorf("endpoints: %+v", v.Endpoints)
	}
	if r := v.Registry; r.Instances != len(endpoints) {
		t.Errorf("registry: %+v", r)
	}
	metrics := s.admin0("GET", "/metrics").body
	for _, want := range []string{
		`caddy_grpc_gateway_endpoints{state="refused",upstream="echo"} 7`,
		`caddy_grpc_gateway_refusals_total{upstream="echo"} 7`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no %s in the metrics", want)
		}
	}
	out, _, err := run(t, "", "upstreams", "--address", s.admin)
	if want := "! refused 169.254.169.254:80 (metadata): 169.254.169.254 is a link-local address"; err != nil || !strings.Contains(out, want) {
		t.Errorf("%v: no %q in:\n%s", err, want, out)
	}

	// Another list with the same addresses says nothing new.
	source.SetState(discovery.State{Synced: true, Endpoints: slices.Clone(endpoints), Revision: 2})
	eventually(t, "the second list", func() bool {
		s.ask("/grpc_gateway/upstreams/echo", &v)
		return v.Registry.Revision == 2
	})
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	if n := strings.Count(read(t, s.logFile()), "refused because of"); n != 6 {
		t.Errorf("%d lines in the log, expected 5 instances and the number of the others", n)
	}
	if n := accepted.Load(); n != 0 {
		t.Errorf("%d connections to a denied address", n)
	}
}

// The addresses of a host name are known only when it is dialled.
func TestHostNamesOfRefusedAddresses(t *testing.T) {
	port, accepted := listen(t, "localhost")
	addr := "localhost:" + port
	for name, discover := range map[string]string{
		"in a registry": "manual names",
		"in the config": "static " + addr,
		"from DNS":      "dns " + addr,
	} {
		t.Run(name, func(t *testing.T) {
			source := testkit.NewSource("manual:names", addr)
			manualStates["names"] = source
			s := newSite(t)
			s.load("", "grpc_gateway {\n upstream echo {\n discover "+discover+"\n networks {\n allow 10.0.0.0/8\n }\n }\n }")
			var v module.UpstreamView
			eventually(t, "the reason is shown", func() bool {
				s.ask("/grpc_gateway/upstreams/echo", &v)
				for _, e := range v.Endpoints {
					if strings.Contains(e.LastError, "is in none of the allowed networks") {
						return true
					}
				}
				return len(v.Refused) > 0
			})
			if got := s.get("/v1/echo/x"); got.status != http.StatusServiceUnavailable {
				t.Errorf("a call: %s", got)
			}
			if metrics := s.admin0("GET", "/metrics").body; strings.Contains(metrics, `caddy_grpc_gateway_refusals_total{upstream="echo"} 0`) {
				t.Error("no refusal was counted")
			}
			if n := accepted.Load(); n != 0 {
				t.Errorf("%d connections", n)
			}
		})
	}
}

// A gateway may call itself if the operator allows it. An address in the config does so.
func TestOwnListenersThatAreAllowed(t *testing.T) {
	s := newSite(t)
	source := testkit.NewSource("manual:own", s.admin)
	manualStates["own"] = source
	for name, upstream := range map[string]string{
		"by networks":   "discover manual own\n networks {\n allow 127.0.0.1\n }",
		"in the config": "discover static " + s.admin,
	} {
		t.Run(name, func(t *testing.T) {
			s.load("", "grpc_gateway {\n upstream echo {\n "+upstream+"\n }\n }")
			var v module.UpstreamView
			eventually(t, "it is an instance", func() bool {
				s.ask("/grpc_gateway/upstreams/echo", &v)
				return len(v.Endpoints) == 1 && len(v.Refused) == 0
			})
		})
	}
}
