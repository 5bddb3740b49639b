// Package testkit has the fakes and real servers that the tests of this module share: a gRPC
// backend that does what a test tells it to and counts what it did, and a discovery source that a
// test drives by hand. It is for tests only: nothing that is compiled into the gateway imports it.
package testkit

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionv1alpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"

	"github.com/caddy-grpc/gateway/discovery"
	"github.com/caddy-grpc/gateway/internal/freeport"
	"github.com/caddy-grpc/gateway/internal/testkit/testpb"
)

// Option changes how a Backend is made.
type Option func(*options)

type options struct {
	addr        string
	tls         *tls.Config
	v1, v1alpha bool
	rules       bool
	noServices  bool
	server      []grpc.ServerOption
	register    []func(grpc.ServiceRegistrar)
}

// WithAddress sets the address to listen on. The default is a free port of 127.0.0.1.
func WithAddress(addr string) Option { return func(o *options) { o.addr = addr } }

// WithTLS makes the backend speak TLS.
func WithTLS(c *tls.Config) Option { return func(o *options) { o.tls = c } }

// WithReflection says which versions of server reflection are served. The default is both.
func WithReflection(v1, v1alpha bool) Option {
	return func(o *options) { o.v1, o.v1alpha = v1, v1alpha }
}

// WithoutServices leaves out Library and Echo, for tests that register something else.
func WithoutServices() Option { return func(o *options) { o.noServices = true } }

// WithServerOptions adds options of grpc.NewServer. Interceptors are to be added by the Chain
// functions.
func WithServerOptions(opts ...grpc.ServerOption) Option {
	return func(o *options) { o.server = append(o.server, opts...) }
}

// WithRegister has fn register further services each time the backend starts.
func WithRegister(fn func(grpc.ServiceRegistrar)) Option {
	return func(o *options) { o.register = append(o.register, fn) }
}

// Backend is a real gRPC server on a real TCP or Unix socket with the services of testpb and
// grpc.health.v1. It can be stopped and started again at the same address; its counters go on. Safe
// for concurrent use.
type Backend struct {
	opts    options
	library *library

	accepted, open, calls, inFlight atomic.Int64

	mu         sync.Mutex
	addr       string // "" before the first Start
	server     *grpc.Server
	health     *health.Server
	served     chan struct{} // closed when the accept loop has ended
	executions map[string]int
}

// NewBackend makes a backend, without starting it.
func NewBackend(opts ...Option) *Backend {
	b := &Backend{
		opts:       options{v1: true, v1alpha: true},
		executions: map[string]int{},
	}
	b.library = newLibrary(b)
	for _, o := range opts {
		o(&b.opts)
	}
	return b
}

// StartBackend makes and starts a backend that lives as long as the test.
func StartBackend(t testing.TB, opts ...Option) *Backend {
	t.Helper()
	b := NewBackend(opts...)
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Stop)
	return b
}

// Start listens and serves in the background. After a stop it listens at the address it had before.
func (b *Backend) Start() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.server != nil {
		return errors.New("start backend: it is running")
	}
	addr := cmp.Or(b.addr, b.opts.addr)
	if addr == "" {
		var err error
		// Not port 0: it must be free when the backend starts again.
		if addr, err = freeport.Addr(); err != nil {
			return fmt.Errorf("start backend: %w", err)
		}
	}
	path, isUnix := discovery.UnixPath(addr)
	network, at := "tcp", addr
	if isUnix {
		network, at = "unix", path
	}
	l, err := net.Listen(network, at)
	if err != nil {
		return fmt.Errorf("start backend: %w", err)
	}
	if b.addr = addr; !isUnix {
		b.addr = l.Addr().String()
	}
	b.server, b.health = b.newServer()
	b.served = make(chan struct{})
	go func(s *grpc.Server, served chan struct{}) {
		defer close(served)
		_ = s.Serve(&countingListener{Listener: l, b: b})
	}(b.server, b.served)
	return nil
}

func (b *Backend) newServer() (*grpc.Server, *health.Server) {
	opts := []grpc.ServerOption{
		grpc.WaitForHandlers(true),
		grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
			defer b.count()()
			return h(ctx, req)
		}),
		grpc.ChainStreamInterceptor(func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, h grpc.StreamHandler) error {
			defer b.count()()
			return h(srv, ss)
		}),
	}
	if b.opts.tls != nil {
		opts = append(opts, grpc.Creds(credentials.NewTLS(b.opts.tls)))
	}
	s := grpc.NewServer(append(opts, b.opts.server...)...)
	if !b.opts.noServices {
		testpb.RegisterLibraryServer(s, b.library)
		testpb.RegisterEchoServer(s, &echo{b: b})
	}
	hs := health.NewServer()
	healthpb.RegisterHealthServer(s, hs)
	for _, fn := range b.opts.register {
		fn(s)
	}
	described := reflection.ServerOptions{Services: s}
	if b.opts.rules {
		described.DescriptorResolver = ruled{}
	}
	if b.opts.v1 {
		reflectionv1.RegisterServerReflectionServer(s, reflection.NewServerV1(described))
	}
	if b.opts.v1alpha {
		reflectionv1alpha.RegisterServerReflectionServer(s, reflection.NewServer(described))
	}
	return s, hs
}

func (b *Backend) count() (done func()) {
	b.calls.Add(1)
	b.inFlight.Add(1)
	return func() { b.inFlight.Add(-1) }
}

// Stop closes the listener and all connections at once, and waits until the handlers have returned.
// It does nothing to a backend that is not running.
func (b *Backend) Stop() { b.stop((*grpc.Server).Stop) }

// GracefulStop sends GOAWAY and waits for the calls in flight.
func (b *Backend) GracefulStop() { b.stop((*grpc.Server).GracefulStop) }

func (b *Backend) stop(how func(*grpc.Server)) {
	b.mu.Lock()
	s, hs, served := b.server, b.health, b.served
	b.mu.Unlock()
	if s == nil {
		return
	}
	hs.Shutdown() // Ends the Watch streams, which a graceful stop would wait for.
	how(s)
	<-served
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.server == s {
		b.server = nil
	}
}

// Addr is the address it listens on, host:port; "" before the first Start.
func (b *Backend) Addr() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.addr
}

// SetHealth sets what grpc.health.v1 answers for a service ("" is the server as a whole), until the
// next Start.
func (b *Backend) SetHealth(service string, serving bool) {
	b.mu.Lock()
	hs := b.health
	b.mu.Unlock()
	st := healthpb.HealthCheckResponse_NOT_SERVING
	if serving {
		st = healthpb.HealthCheckResponse_SERVING
	}
	if hs != nil {
		hs.SetServingStatus(service, st)
	}
}

// Executions is how often a handler began to work on a request whose Script has this id. For
// methods whose requests carry no Script the id is taken from the request metadata "x-script-id".
func (b *Backend) Executions(id string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.executions[id]
}

// AllExecutions is a copy of all counts by id.
func (b *Backend) AllExecutions() map[string]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make(map[string]int, len(b.executions))
	for id, n := range b.executions {
		all[id] = n
	}
	return all
}

func (b *Backend) executed(id string) {
	if id == "" {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.executions[id]++
}

// Accepted is the number of TCP connections accepted since the backend was made.
func (b *Backend) Accepted() int { return int(b.accepted.Load()) }

// Open is the number of TCP connections open now, as far as the backend knows.
func (b *Backend) Open() int { return int(b.open.Load()) }

// Calls is the number of RPCs received, of any service.
func (b *Backend) Calls() int { return int(b.calls.Load()) }

// InFlight is the number of RPCs being handled now.
func (b *Backend) InFlight() int { return int(b.inFlight.Load()) }

type countingListener struct {
	net.Listener
	b *Backend
}

func (l *countingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.b.accepted.Add(1)
	l.b.open.Add(1)
	return &countedConn{Conn: c, closed: func() { l.b.open.Add(-1) }}, nil
}

type countedConn struct {
	net.Conn
	once   sync.Once
	closed func()
}

func (c *countedConn) Close() error {
	c.once.Do(c.closed)
	return c.Conn.Close()
}
