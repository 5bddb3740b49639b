package module_test

import (
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-grpc/gateway/internal/testkit"
	"github.com/caddy-grpc/gateway/module"
)

// TestValidateDialsNothing points everything that could be dialled at listeners that count.
func TestValidateDialsNothing(t *testing.T) {
	s := newSite(t)
	etcd, backend := newCounter(t), newCounter(t)
	config := adapt(t, s.caddyfile(
		"grpc_gateway {\n etcd {\n endpoints "+etcd.addr+"\n }\n upstream a {\n discover etcd user.rpc\n require_ready 1s\n }\n }",
		"grpc_gateway a {\n upstream b {\n discover static "+backend.addr+"\n }\n to dns:///"+backend.addr+" etcd://"+etcd.addr+"/other\n }"))
	var parsed *caddy.Config
	if err := caddy.StrictUnmarshalJSON(config, &parsed); err != nil {
		t.Fatal(err)
	}
	if err := caddy.Validate(parsed); err != nil {
		t.Fatal(err)
	}
	module.WaitForShared(t)
	if n := etcd.close() + backend.close(); n != 0 {
		t.Errorf("%d connections were opened", n)
	}
}

// counter accepts connections and counts them.
type counter struct {
	addr string
	l    net.Listener
	n    chan int
}

func newCounter(t *testing.T) *counter {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &counter{addr: l.Addr().String(), l: l, n: make(chan int)}
	go func() {
		n := 0
		for {
			conn, err := l.Accept()
			if err != nil {
				c.n <- n
				return
			}
			n++
			conn.Close()
		}
	}()
	return c
}

// close returns how many connections there were.
func (c *counter) close() int {
	c.l.Close()
	return <-c.n
}

func TestStartsWithBackendsDown(t *testing.T) {
	backend := testkit.NewBackend(testkit.WithAddress(freeAddr(t)))
	t.Cleanup(backend.Stop)
	if err := backend.Start(); err != nil {
		t.Fatal(err)
	}
	backend.Stop()
	s := newSite(t)
	s.load("", "grpc_gateway "+backend.Addr())

	got := s.want(s.get("/v1/echo/x"), http.StatusServiceUnavailable)
	if got.field("code") != 14. || !strings.Contains(got.body, "not known yet") {
		t.Errorf("without a backend: %s", got)
	}
	if strings.Contains(got.body, backend.Addr()) {
		t.Errorf("an address is told to clients: %s", got)
	}
	if err := backend.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "healed", func() bool { return s.get("/v1/echo/x").status == http.StatusOK })
	s.want(s.get("/nowhere"), http.StatusNotFound)
}

func TestServiceWithoutReflection(t *testing.T) {
	backend := testkit.StartBackend(t, testkit.WithReflection(false, false))
	s := newSite(t)
	s.load("", "grpc_gateway "+backend.Addr())
	got := s.want(s.get("/v1/echo/x"), http.StatusServiceUnavailable)
	if !strings.Contains(got.body, "no server reflection") {
		t.Errorf("got %s", got)
	}
}

func TestRequireReady(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	s.load("", "grpc_gateway {\n upstream a {\n discover static "+backend.Addr()+"\n require_ready 5s\n }\n }")
	if backend.Open() == 0 {
		t.Error("loaded before the instance was connected")
	}
}
