package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	kratosregistry "github.com/go-kratos/kratos/v2/registry"
	"github.com/zeromicro/go-zero/core/discov"
	"github.com/zeromicro/go-zero/core/logx"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/naming/endpoints"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/reflection"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/caddy-grpc/gateway/e2e/kit"
	"github.com/caddy-grpc/gateway/internal/testkit"
	"github.com/caddy-grpc/gateway/internal/testkit/testpb"
)

// fleetOf is a gateway for everything that registers in an etcd.
func fleetOf(etcd *kit.Etcd, options string) kit.Options {
	return kit.Options{
		Global: fmt.Sprintf("grpc_gateway {\n etcd {\n endpoints %s\n }\n catalog fleet etcd / {\n %s\n }\n }", etcd.Addr, options),
		Site:   "grpc_gateway catalog:fleet {\n expose *\n }",
	}
}

// A newcomer registers itself while the gateway runs, with one of the libraries.
type newcomer struct {
	service     string // its name in the catalog
	grpcService string
	path        string // of a GET
	// register starts an instance and registers it. leave takes the registration out.
	register func(t *testing.T, etcd *kit.Etcd) (leave func())
}

func newcomers() []newcomer {
	return []newcomer{
		{"user.rpc", "gateway.test.v1.Echo", "/v1/echo/hello", joinAsGoZero},
		{"/microservices/order", "order.v1.Orders", "/v1/orders/7", joinAsKratos},
		{"naming/stock", "stock.v1.Stock", "/v1/stock/7", joinAsNaming},
	}
}

// joinAsGoZero registers with go-zero's own publisher. It revokes its lease, as it does when a
// server of go-zero ends. To etcd that looks like a lost instance, so the connection must go, too.
func joinAsGoZero(t *testing.T, etcd *kit.Etcd) (leave func()) {
	t.Helper()
	logx.Disable()
	backend := testkit.NewBackend(testkit.WithoutServices(), testkit.WithRegister(func(s grpc.ServiceRegistrar) {
		testpb.RegisterEchoServer(s, &echoServer{})
	}))
	if err := backend.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(backend.Stop)
	publisher := discov.NewPublisher([]string{etcd.Addr}, "user.rpc", backend.Addr())
	if err := publisher.KeepAlive(); err != nil {
		t.Fatal(err)
	}
	return func() {
		publisher.Stop()
		backend.Stop()
	}
}

// joinAsKratos writes what kratos' etcd registry writes.
func joinAsKratos(t *testing.T, etcd *kit.Etcd) (leave func()) {
	t.Helper()
	addr := testkit.StartNamed(t, "order.v1.Orders", "order", "GET /v1/orders/{value}").Addr()
	etcd.Put(t, "/microservices/order/1", kratosValue(t, &kratosregistry.ServiceInstance{
		ID: "1", Name: "order", Version: "v1", Endpoints: []string{"http://127.0.0.1:1", "grpc://" + addr + "?isSecure=false"},
	}))
	return func() { etcd.Delete(t, "/microservices/order/1") }
}

// joinAsNaming registers with etcd's own library.
func joinAsNaming(t *testing.T, etcd *kit.Etcd) (leave func()) {
	t.Helper()
	addr := testkit.StartNamed(t, "stock.v1.Stock", "stock", "GET /v1/stock/{value}").Addr()
	client := etcd.Client(t)
	t.Cleanup(func() { client.Close() })
	manager, err := endpoints.NewManager(client, "naming/stock")
	if err != nil {
		t.Fatal(err)
	}
	if err := manager.AddEndpoint(t.Context(), "naming/stock/1", endpoints.Endpoint{Addr: addr}); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := manager.DeleteEndpoint(context.Background(), "naming/stock/1"); err != nil {
			t.Error(err)
		}
	}
}

// TestCatalog lets real registrations come and go under one prefix. Each is called over REST,
// Connect and gRPC, and no call to the others fails. No config is touched.
func TestCatalog(t *testing.T) {
	etcd := kit.EmbeddedEtcd(t)
	steady := testkit.StartNamed(t, "steady.v1.Steady", "steady", "GET /v1/steady/{value}")
	etcd.Put(t, "steady.rpc/1", steady.Addr())
	etcd.Put(t, "config/of/somebody", `{"log":"debug"}`)
	caddy := kit.StartCaddy(t, fleetOf(etcd, ""))
	kit.Eventually(t, 20*time.Second, "the first service answers", func() error { return caddy.Answers("/v1/steady/1") })
	load := kit.StartLoad(kit.H2C(), 50, func(ctx context.Context, id string) (*http.Request, error) {
		return http.NewRequestWithContext(ctx, http.MethodGet, caddy.URL("/v1/steady/"+id), nil)
	}, func(_ string, body []byte) error {
		if string(body) != `"steady"` {
			return fmt.Errorf("answer %q", body)
		}
		return nil
	})
	conn, err := grpc.NewClient(caddy.Listen, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, n := range newcomers() {
		t.Run(n.service, func(t *testing.T) {
			leave := n.register(t, etcd)
			after := kit.Eventually(t, 20*time.Second, "it answers REST", func() error { return caddy.Answers(n.path) })
			t.Logf("called over REST %v after its registration", after)
			if err := callConnect(caddy, n.grpcService); err != nil {
				t.Errorf("Connect: %v", err)
			}
			if err := callGRPC(t.Context(), conn, n.grpcService); err != nil {
				t.Errorf("gRPC: %v", err)
			}
			leave()
			kit.Eventually(t, 30*time.Second, "it has gone", func() error {
				code, body, err := kit.GetJSON(http.DefaultClient, caddy.URL(n.path))
				if err != nil || code != http.StatusNotFound {
					return fmt.Errorf("status %d, %s, %w", code, body, err)
				}
				return nil
			})
		})
	}
	kit.NoFailures(t, load.Stop(), 50)
}

func methodOf(grpcService string) (method, request string) {
	if grpcService == "gateway.test.v1.Echo" {
		return "/" + grpcService + "/Unary", `{"text":"x"}`
	}
	return "/" + grpcService + "/Get", `"x"`
}

func callConnect(caddy *kit.Caddy, grpcService string) error {
	method, body := methodOf(grpcService)
	req, err := http.NewRequest(http.MethodPost, caddy.URL(method), strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Connect-Protocol-Version", "1")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %s", resp.Status)
	}
	return nil
}

func callGRPC(ctx context.Context, conn *grpc.ClientConn, grpcService string) error {
	method, _ := methodOf(grpcService)
	if grpcService == "gateway.test.v1.Echo" {
		_, err := testpb.NewEchoClient(conn).Unary(ctx, &testpb.EchoRequest{Text: "x"})
		return err
	}
	return conn.Invoke(ctx, method, wrapperspb.String("x"), new(wrapperspb.StringValue))
}

// catalogService is what the tests read of a service of GET /grpc_gateway/catalog.
type catalogService struct {
	Name, State, Reason string
	Problems            []string
}

// catalogOf returns the only catalog, and the number of entries that cannot be used.
func catalogOf(caddy *kit.Caddy) (services map[string]catalogService, skipped int, err error) {
	resp, err := http.Get("http://" + caddy.Admin + "/grpc_gateway/catalog")
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	var views []struct {
		Services       []catalogService
		SkippedEntries int `json:"skipped_entries"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&views); err != nil || len(views) != 1 {
		return nil, 0, fmt.Errorf("catalogs %+v: %w", views, err)
	}
	services = make(map[string]catalogService)
	for _, s := range views[0].Services {
		services[s.Name] = s
	}
	return services, views[0].SkippedEntries, nil
}

// TestCatalogWithHostileRegistrations writes what somebody with access to etcd could write. A
// service that is there is not disturbed, and the log stays short.
func TestCatalogWithHostileRegistrations(t *testing.T) {
	etcd := kit.EmbeddedEtcd(t)
	client := etcd.Client(t)
	defer client.Close()
	user := testkit.StartNamed(t, "user.v1.Users", "user", "GET /v1/users/{value}")
	put(t, client, "user.rpc/1", user.Addr())
	caddy := kit.StartCaddy(t, fleetOf(etcd, "limit 50"))
	kit.Eventually(t, 20*time.Second, "the service answers", func() error { return caddy.Answers("/v1/users/me") })
	load := kit.StartLoad(kit.H2C(), 50, func(ctx context.Context, _ string) (*http.Request, error) {
		return http.NewRequestWithContext(ctx, http.MethodGet, caddy.URL("/v1/users/me"), nil)
	}, func(_ string, body []byte) error {
		if string(body) != `"user"` {
			return fmt.Errorf("answer %q", body)
		}
		return nil
	})

	thief := testkit.StartNamed(t, "user.v1.Users", "thief", "GET /v1/users/me").Addr()
	put(t, client, "a/thief/1", thief)
	put(t, client, "route-thief/1", testkit.StartNamed(t, "thief.v1.Thief", "thief", "GET /v1/users/me").Addr())
	put(t, client, "own/1", testkit.StartNamed(t, "grpc.health.v1.Health", "thief", "GET /v1/health").Addr())
	put(t, client, "admin/1", caddy.Admin)
	junk := make([]clientv3.Op, 0, 100)
	for i := range 10_000 {
		junk = append(junk, clientv3.OpPut(fmt.Sprintf("junk/%05d/x", i), fmt.Sprintf("junk %d", i)))
		if len(junk) == cap(junk) {
			if _, err := client.Txn(t.Context()).Then(junk...).Commit(); err != nil {
				t.Fatal(err)
			}
			junk = junk[:0]
		}
	}
	nobody := kit.FreeAddr(t)
	for i := range 150 { // fifty times a second, each time another service
		put(t, client, fmt.Sprintf("churn-%d/1", i), nobody)
		if i > 0 {
			if _, err := client.Delete(t.Context(), fmt.Sprintf("churn-%d/1", i-1)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(20 * time.Millisecond)
	}

	kit.Eventually(t, 30*time.Second, "all of it is shown", func() error {
		services, skipped, err := catalogOf(caddy)
		switch {
		case err != nil:
			return err
		case skipped != 10_000:
			return fmt.Errorf("%d entries are skipped", skipped)
		case len(services["a/thief"].Problems) == 0 || len(services["route-thief"].Problems) == 0:
			return fmt.Errorf("no problems with %+v", services)
		case services["admin"].State != "failed" || !strings.Contains(services["admin"].Reason, "this gateway"):
			return fmt.Errorf("admin: %+v", services["admin"])
		case services["user.rpc"].State != "serving":
			return fmt.Errorf("user.rpc: %+v", services["user.rpc"])
		}
		return nil
	})
	if code, body, err := kit.GetJSON(http.DefaultClient, caddy.URL("/v1/health")); err != nil || code != http.StatusNotFound {
		t.Errorf("a route of one of gRPC's own services: %d %s %v", code, body, err)
	}
	if code, body, err := kit.GetJSON(http.DefaultClient, caddy.URL("/v1/unknown")); err != nil || code != http.StatusNotFound {
		t.Errorf("a path that nobody has: %d %s %v", code, body, err)
	}
	kit.NoFailures(t, load.Stop(), 50)
	warnings := 0
	for line := range strings.Lines(caddy.Log()) {
		if strings.Contains(line, `"level":"warn"`) && strings.Contains(line, "grpc_gateway") {
			warnings++
		}
	}
	if warnings > 20 {
		t.Errorf("the log has %d warnings:\n%s", warnings, caddy.Log())
	}
}

// brokenService is a way to be registered and not to be a service that can be called.
type brokenService struct {
	name   string
	reason string // a part of what the catalog says of it
	start  func(t *testing.T) (addr string)
}

func brokenServices() []brokenService {
	return []brokenService{
		{"nobody-listens", "connection refused", func(t *testing.T) string { return kit.FreeAddr(t) }},
		{"says-nothing", "no instance of the service can be reached", func(t *testing.T) string { return startTCP(t, func(net.Conn) {}) }},
		{"hangs-up", "no instance of the service can be reached", func(t *testing.T) string {
			return startTCP(t, func(conn net.Conn) { conn.Close() })
		}},
		{"http1", "it does not speak HTTP/2", func(t *testing.T) string { return startHTTP(t, (*httptest.Server).Start) }},
		// It answers every request with 404.
		{"http2", "is not valid gRPC", func(t *testing.T) string {
			return startHTTP(t, func(s *httptest.Server) {
				s.Config.Protocols = new(http.Protocols)
				s.Config.Protocols.SetUnencryptedHTTP2(true)
				s.Start()
			})
		}},
		{"tls", "the instance may expect TLS", func(t *testing.T) string {
			return startHTTP(t, func(s *httptest.Server) {
				s.EnableHTTP2 = true
				s.StartTLS()
			})
		}},
		{"no-reflection", "the service offers no server reflection", func(t *testing.T) string {
			return testkit.StartBackend(t, testkit.WithReflection(false, false)).Addr()
		}},
		{"takes-any-call", "something that is not server reflection", func(t *testing.T) string { return testkit.StartSilent(t, "x").Addr() }},
		{"only-grpcs-own", "lists no services except gRPC's own", func(t *testing.T) string {
			return testkit.StartBackend(t, testkit.WithoutServices()).Addr()
		}},
		{"undescribed", "ghost.v1.Ghost: it is listed, but the server does not describe it", func(t *testing.T) string {
			return testkit.StartBackend(t, testkit.WithoutServices(), testkit.WithReflection(false, false), testkit.WithRegister(func(s grpc.ServiceRegistrar) {
				reflectionv1.RegisterServerReflectionServer(s, reflection.NewServerV1(reflection.ServerOptions{
					Services: listed("ghost.v1.Ghost"), DescriptorResolver: new(protoregistry.Files),
				}))
			})).Addr()
		}},
		{"refused", "is refused: 127.0.0.2 is in the denied network", func(*testing.T) string { return "127.0.0.2:9001" }},
	}
}

// startTCP listens, and does something with each connection.
func startTCP(t *testing.T, with func(net.Conn)) (addr string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			with(conn)
		}
	}()
	return listener.Addr().String()
}

// startHTTP starts a server that has nothing.
func startHTTP(t *testing.T, start func(*httptest.Server)) (addr string) {
	t.Helper()
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	start(server)
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// listed is a gRPC service that a server lists, whatever it has.
type listed string

// GetServiceInfo implements reflection.ServiceInfoProvider.
func (l listed) GetServiceInfo() map[string]grpc.ServiceInfo {
	return map[string]grpc.ServiceInfo{string(l): {}}
}

// TestCatalogStartsWithBrokenServices starts a gateway for 500 services, of which 50 are broken.
// Each of the others answers. Each broken one is listed with its reason, and the log stays short.
func TestCatalogStartsWithBrokenServices(t *testing.T) {
	const healthy, broken = 450, 50
	etcd := kit.EmbeddedEtcd(t)
	entries := make(map[string]string)
	reasons := make(map[string]string) // of the broken ones, by name
	for i := range healthy {
		name := fmt.Sprintf("s%d", i)
		entries[name+"/1"] = testkit.StartNamed(t, name+".v1.Service", name, "GET /v1/"+name+"/{value}").Addr()
	}
	kinds := brokenServices()
	for i := range broken {
		kind := kinds[i%len(kinds)]
		name := fmt.Sprintf("%s-%d", kind.name, i)
		entries[name+"/1"], reasons[name] = kind.start(t), kind.reason
	}
	etcd.PutAll(t, entries)

	kit.Binary(t) // It takes time to build.
	began := time.Now()
	caddy := kit.StartCaddy(t, fleetOf(etcd, "upstream {\n networks {\n deny 127.0.0.2/32\n }\n }"))
	// The first one is called while the others are being opened.
	kit.Eventually(t, 60*time.Second, "a service answers", func() error { return caddy.Answers("/v1/s0/x") })
	t.Logf("the first service answers %v after the start", time.Since(began))
	kit.Eventually(t, 90*time.Second, "each service serves, or has its reason", func() error { return sorted(caddy, healthy, reasons) })
	t.Logf("all services are sorted out %v after the start", time.Since(began))
	for i := range healthy {
		name := fmt.Sprintf("s%d", i)
		code, body, err := kit.GetJSON(http.DefaultClient, caddy.URL("/v1/"+name+"/x"))
		if err != nil || code != http.StatusOK || body != `"`+name+`"` {
			t.Errorf("%s: status %d, %s, %v", name, code, body, err)
		}
	}
	for name := range reasons {
		if code, _, err := kit.GetJSON(http.DefaultClient, caddy.URL("/v1/"+name+"/x")); err != nil || code != http.StatusNotFound {
			t.Errorf("%s: status %d, %v", name, code, err)
		}
	}
	// Two warnings are about services: that some cannot be called, and that some are not known yet.
	// Each may come once a minute. One line tells of services that were added.
	var lines []string
	for line := range strings.Lines(caddy.Log()) {
		if strings.Contains(line, "grpc_gateway") && !strings.Contains(line, "admin.api") {
			lines = append(lines, line)
		}
	}
	if most := 3 * int(1+time.Since(began)/time.Minute); len(lines) > most || len(lines) == 0 {
		t.Errorf("the log has %d lines, and not 1 to %d:\n%s", len(lines), most, strings.Join(lines, ""))
	}
	for _, line := range lines {
		if len(line) > 2000 {
			t.Errorf("a line has %d bytes: %s", len(line), line)
		}
	}
}

// sorted checks what the catalog says of each service.
func sorted(caddy *kit.Caddy, healthy int, reasons map[string]string) error {
	services, _, err := catalogOf(caddy)
	if err != nil {
		return err
	}
	for name, reason := range reasons {
		if s := services[name]; s.State != "failed" || !strings.Contains(s.Reason, reason) {
			return fmt.Errorf("expected the reason %q, found %+v", reason, s)
		}
	}
	for i := range healthy {
		if s := services[fmt.Sprintf("s%d", i)]; s.State != "serving" {
			return fmt.Errorf("s%d: %+v", i, s)
		}
	}
	return nil
}
