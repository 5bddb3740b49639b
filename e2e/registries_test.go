package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/cloudwego/kitex/pkg/registry"
	kratosregistry "github.com/go-kratos/kratos/v2/registry"
	etcdregistry "github.com/kitex-contrib/registry-etcd"
	"github.com/zeromicro/go-zero/core/discov"
	"github.com/zeromicro/go-zero/core/logx"
	"github.com/zeromicro/go-zero/core/service"
	"github.com/zeromicro/go-zero/zrpc"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/naming/endpoints"
	"google.golang.org/grpc"
	"google.golang.org/grpc/reflection"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/caddy-grpc/gateway/e2e/kit"
	"github.com/caddy-grpc/gateway/internal/testkit"
	"github.com/caddy-grpc/gateway/internal/testkit/testpb"
)

// A registration makes one instance known in etcd in the way of a framework.
type registration struct {
	name string
	key  string // as the Caddyfile's `discover etcd` has it
	// register starts an instance, registers it, and returns its address.
	register func(t *testing.T, etcd *kit.Etcd) string
}

func registrations() []registration {
	return []registration{
		{"go-zero zrpc server", "user.rpc", registerGoZero},
		{"kitex registry-etcd", "kitex/registry-etcd/user", registerKitex},
		{"etcd naming/endpoints", "naming/user", registerNaming},
		{"kratos service instance", "/microservices/user", registerKratos},
		{"plain host:port", "plain/user", registerPlain},
	}
}

// TestEveryRegistrationIsFoundAndCalled registers an instance in each way, in each kind of etcd,
// and calls it over REST, with the schema by reflection and from a descriptor set.
func TestEveryRegistrationIsFoundAndCalled(t *testing.T) {
	protoset := writeProtoset(t)
	etcds := map[string]func(testing.TB) *kit.Etcd{"embedded etcd": kit.EmbeddedEtcd, "etcd process": kit.ProcessEtcd}
	for name, start := range etcds {
		t.Run(name, func(t *testing.T) {
			etcd := start(t)
			for _, r := range registrations() {
				if name == "etcd process" && r.name == "go-zero zrpc server" {
					// go-zero's own client refuses a server as old as Debian's; what it would write
					// is written for it.
					r.register = registerAsGoZero
				}
				t.Run(r.name, func(t *testing.T) {
					addr := r.register(t, etcd)
					for kind, block := range map[string]string{"reflection": "", "protoset": "descriptors protoset " + protoset} {
						t.Run(kind, func(t *testing.T) {
							caddy := kit.StartCaddy(t, options(etcd, r.key, block))
							caddy.WaitReady(t, 20*time.Second, addr)
							kit.Eventually(t, 20*time.Second, "the route answers", func() error {
								code, body, err := kit.GetJSON(http.DefaultClient, caddy.URL("/v1/echo/hello"))
								if err != nil || code != http.StatusOK {
									return fmt.Errorf("status %d, %s, %w", code, body, err)
								}
								return echoed("hello", []byte(body))
							})
						})
					}
				})
			}
		})
	}
}

// registerGoZero runs go-zero's own server, which registers itself.
func registerGoZero(t *testing.T, etcd *kit.Etcd) string {
	t.Helper()
	logx.Disable()
	addr := kit.FreeAddr(t)
	server, err := zrpc.NewServer(zrpc.RpcServerConf{
		ServiceConf: service.ServiceConf{Name: "user.rpc", Mode: service.TestMode},
		ListenOn:    addr,
		Etcd:        discov.EtcdConf{Hosts: []string{etcd.Addr}, Key: "user.rpc"},
		Timeout:     2000,
	}, func(s *grpc.Server) {
		testpb.RegisterEchoServer(s, &echoServer{addr: addr})
		reflection.Register(s)
	})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); server.Start() }()
	t.Cleanup(func() { server.Stop() })
	return addr
}

// registerAsGoZero writes what go-zero writes: <key>/<lease id> with host:port.
func registerAsGoZero(t *testing.T, etcd *kit.Etcd) string {
	t.Helper()
	addr := testkit.StartBackend(t).Addr()
	etcd.Put(t, "user.rpc/7587884362094512641", addr)
	return addr
}

// echoServer is the least that the tests call.
type echoServer struct {
	testpb.UnimplementedEchoServer

	addr string
}

// Unary implements the service.
func (s *echoServer) Unary(_ context.Context, req *testpb.EchoRequest) (*testpb.EchoResponse, error) {
	return &testpb.EchoResponse{Text: req.GetText(), Request: req, Backend: s.addr}, nil
}

func registerKitex(t *testing.T, etcd *kit.Etcd) string {
	t.Helper()
	addr := testkit.StartBackend(t).Addr()
	r, err := etcdregistry.NewEtcdRegistry([]string{etcd.Addr})
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	info := &registry.Info{ServiceName: "user", Addr: tcp, Weight: 20, Tags: map[string]string{"zone": "a"}}
	if err := r.Register(info); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Deregister(info) })
	return addr
}

func registerNaming(t *testing.T, etcd *kit.Etcd) string {
	t.Helper()
	addr := testkit.StartBackend(t).Addr()
	client := etcd.Client(t)
	t.Cleanup(func() { client.Close() })
	manager, err := endpoints.NewManager(client, "naming/user")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := manager.AddEndpoint(ctx, "naming/user/1", endpoints.Endpoint{Addr: addr, Metadata: map[string]string{"zone": "a"}}); err != nil {
		t.Fatal(err)
	}
	return addr
}

// registerKratos writes what kratos' etcd registry writes: a registry.ServiceInstance as JSON.
func registerKratos(t *testing.T, etcd *kit.Etcd) string {
	t.Helper()
	addr := testkit.StartBackend(t).Addr()
	value := kratosValue(t, &kratosregistry.ServiceInstance{
		ID: "1", Name: "user", Version: "v1", Metadata: map[string]string{"weight": "50"},
		Endpoints: []string{"http://127.0.0.1:1", "grpc://" + addr + "?isSecure=false"},
	})
	etcd.Put(t, "/microservices/user/1", value)
	return addr
}

func registerPlain(t *testing.T, etcd *kit.Etcd) string {
	t.Helper()
	addr := testkit.StartBackend(t).Addr()
	etcd.Put(t, "plain/user/1", addr+"?weight=3")
	return addr
}

// writeProtoset writes the descriptor set of the test service, with all it imports.
func writeProtoset(t *testing.T) string {
	t.Helper()
	set, seen := &descriptorpb.FileDescriptorSet{}, map[string]bool{}
	var add func(protoreflect.FileDescriptor)
	add = func(file protoreflect.FileDescriptor) {
		if seen[file.Path()] {
			return
		}
		seen[file.Path()] = true
		for i := range file.Imports().Len() {
			add(file.Imports().Get(i).FileDescriptor)
		}
		set.File = append(set.File, protodesc.ToFileDescriptorProto(file))
	}
	add(testpb.File_internal_testkit_testpb_echo_proto)
	data, err := proto.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "echo.protoset")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestPrefixesDoNotOverlap: an instance of user2 is none of user.
func TestPrefixesDoNotOverlap(t *testing.T) {
	etcd := kit.EmbeddedEtcd(t)
	mine, other := testkit.StartBackend(t).Addr(), testkit.StartBackend(t).Addr()
	etcd.Put(t, "user/1", mine)
	etcd.Put(t, "user2/1", other)
	etcd.Put(t, "user.rpc/1", other)
	caddy := kit.StartCaddy(t, options(etcd, "user", ""))
	caddy.WaitReady(t, 20*time.Second, mine)
}

// TestInstancesJoinAndLeave measures, from the registry's change to the first call that shows it.
func TestInstancesJoinAndLeave(t *testing.T) {
	const rounds, promise = 5, time.Second
	etcd := kit.EmbeddedEtcd(t)
	client := etcd.Client(t)
	defer client.Close()
	put(t, client, "user.rpc/0", testkit.StartBackend(t).Addr())
	caddy := kit.StartCaddy(t, options(etcd, "user.rpc", ""))
	kit.Eventually(t, 20*time.Second, "the first instance answers", func() error {
		_, err := whoAnswers(http.DefaultClient, caddy)
		return err
	})
	var joins, leaves []time.Duration
	for round := range rounds {
		backend := testkit.StartBackend(t)
		key := "user.rpc/" + strconv.Itoa(round+1)
		put(t, client, key, backend.Addr())
		joins = append(joins, kit.Eventually(t, 10*time.Second, "the new instance answers", func() error {
			return answeredBy(caddy, backend.Addr(), true)
		}))
		if _, err := client.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		leaves = append(leaves, kit.Eventually(t, 10*time.Second, "the old instance is left alone", func() error {
			return answeredBy(caddy, backend.Addr(), false)
		}))
	}
	t.Logf("join: %v; leave: %v", joins, leaves)
	if m := median(joins); m > promise {
		t.Errorf("an instance is used %v after its registration (median), not within %v", m, promise)
	}
	if m := median(leaves); m > promise {
		t.Errorf("an instance is left %v after its deregistration (median), not within %v", m, promise)
	}
}

// answeredBy checks whether, of some calls, one is answered by addr.
func answeredBy(caddy *kit.Caddy, addr string, want bool) error {
	got := false
	for range 12 {
		who, err := whoAnswers(http.DefaultClient, caddy)
		if err != nil {
			return err
		}
		got = got || who == addr
	}
	if got != want {
		return fmt.Errorf("%s among those who answer: %v", addr, got)
	}
	return nil
}

func put(t *testing.T, client *clientv3.Client, key, value string) {
	t.Helper()
	if _, err := client.Put(t.Context(), key, value); err != nil {
		t.Fatal(err)
	}
}
