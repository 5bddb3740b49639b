package pool

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/caddy-grpc/gateway/discovery"
)

// transport is the transport of all channels of the tests that do not choose one. The tests are run
// once with each (make test-unit).
var transport = flag.String("transport", TransportGRPC, "the transport of channels: grpc or wire")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	// patience is how long tests wait for what must happen. It limits a hang. No test asserts that
	// something is faster.
	patience = 10 * time.Second

	// methodEcho sends each message back.
	methodEcho = "/test.Service/Echo"
	// methodHang sends one message back. Then it neither reads nor ends.
	methodHang = "/test.Service/Hang"
	// methodFail fails with UNAVAILABLE at the server.
	methodFail = "/test.Service/Fail"
)

// backend is a real gRPC server on loopback that counts what reaches it.
type backend struct {
	addr    string
	server  *grpc.Server
	accepts atomic.Int64
	calls   atomic.Int64
	ended   atomic.Int64 // calls whose handler returned
	// probes counts calls of the health service, which the backend does not have. They do not count
	// elsewhere.
	probes atomic.Int64
	// delay is added to each message, in nanoseconds.
	delay   atomic.Int64
	fails   atomic.Pointer[failing]
	headers sync.Map    // of the last call, by name
	bounded atomic.Bool // the last call has a deadline
	stopped chan struct{}
}

// startBackend listens on addr, or on a free port if addr is empty. addr may be a Unix socket.
func startBackend(t testing.TB, addr string, opts ...grpc.ServerOption) *backend {
	t.Helper()
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	var (
		lis net.Listener
		err error
	)
	network, at := "tcp", addr
	if path, ok := discovery.UnixPath(addr); ok {
		network, at = "unix", path
	}
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if lis, err = net.Listen(network, at); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("listening on %s: %v", addr, err)
		}
	}
	b := &backend{addr: lis.Addr().String(), stopped: make(chan struct{})}
	if network == "unix" {
		b.addr = addr
	}
	b.server = grpc.NewServer(append(opts, grpc.ForceServerCodecV2(newCodec()), grpc.UnknownServiceHandler(b.serve))...)
	go func() {
		defer close(b.stopped)
		_ = b.server.Serve(countingListener{lis, &b.accepts})
	}()
	t.Cleanup(b.kill)
	return b
}

// kill closes the listener and every connection.
func (b *backend) kill() {
	b.server.Stop()
	<-b.stopped
}

// header returns a header of the last call.
func (b *backend) header(name string) string {
	if v, ok := b.headers.Load(name); ok {
		if values, ok := v.([]string); ok && len(values) > 0 {
			return values[0]
		}
	}
	return ""
}

func (b *backend) serve(_ any, s grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(s)
	if strings.HasPrefix(method, "/grpc.health.v1.") {
		b.probes.Add(1)
		return status.Error(codes.Unimplemented, "unknown service")
	}
	b.calls.Add(1)
	defer b.ended.Add(1)
	_, bounded := s.Context().Deadline()
	b.bounded.Store(bounded)
	md, _ := metadata.FromIncomingContext(s.Context())
	for k, v := range md {
		b.headers.Store(k, v)
	}
	if fails := b.fails.Load(); fails != nil {
		return fails.serve(s)
	}
	if method == methodFail {
		return status.Error(codes.Unavailable, "out of order")
	}
	for {
		var msg mem.BufferSlice
		err := s.RecvMsg(&msg)
		if err == io.EOF { //nolint:errorlint // bare by contract
			return nil
		}
		if err != nil {
			return err
		}
		if delay := time.Duration(b.delay.Load()); delay > 0 {
			select {
			case <-time.After(delay):
			case <-s.Context().Done():
				return s.Context().Err()
			}
		}
		if err := s.SendMsg(msg); err != nil {
			return err
		}
		if method == methodHang {
			<-s.Context().Done()
			return s.Context().Err()
		}
	}
}

type countingListener struct {
	net.Listener

	n *atomic.Int64
}

func (l countingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		l.n.Add(1)
	}
	return conn, err
}

// manualFeed is a feed that tests drive.
type manualFeed struct {
	mu   sync.Mutex
	last *discovery.State
	subs map[*func(discovery.State)]struct{}
}

func (m *manualFeed) Subscribe(fn func(discovery.State)) (cancel func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.subs == nil {
		m.subs = make(map[*func(discovery.State)]struct{})
	}
	m.subs[&fn] = struct{}{}
	if m.last != nil {
		fn(*m.last)
	}
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.subs, &fn)
	}
}

func (m *manualFeed) State() discovery.State {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.last == nil {
		return discovery.State{}
	}
	return *m.last
}

func (m *manualFeed) publish(s discovery.State) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last = &s
	for fn := range m.subs {
		(*fn)(s)
	}
}

// list publishes a synced list. Each address is also its ID.
func (m *manualFeed) list(addrs ...string) {
	m.publish(synced(instances(addrs...)...))
}

func synced(list ...discovery.Endpoint) discovery.State {
	return discovery.State{Synced: true, Endpoints: list}
}

func instances(addrs ...string) []discovery.Endpoint {
	list := make([]discovery.Endpoint, len(addrs))
	for i, a := range addrs {
		list[i] = discovery.Endpoint{ID: a, Addr: a}
	}
	return list
}

// openChannel opens a channel that ends with the test.
func openChannel(t testing.TB, s Settings, f Feed) *Channel {
	t.Helper()
	if s.Transport == "" {
		s.Transport = *transport
	}
	c, err := open("user.rpc", s, f, zap.NewNop(), newRandom(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = c.Shutdown(ctx)
	})
	return c
}

// ready waits until the channel has a connection.
func ready(t testing.TB, c *Channel) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := c.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
}

// eventually waits until a condition holds.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

func raw(text string) mem.BufferSlice { return mem.BufferSlice{mem.SliceBuffer(text)} }

// echo makes a unary call and returns the endpoint that answered.
func echo(ctx context.Context, c *Channel) (string, error) {
	cs, err := c.NewStream(ctx, &grpc.StreamDesc{}, methodEcho)
	if err != nil {
		return "", err
	}
	if err := cs.SendMsg(raw("hello")); err != nil {
		return "", err
	}
	var reply mem.BufferSlice
	if err := cs.RecvMsg(&reply); err != nil {
		return "", err
	}
	defer reply.Free()
	if got := string(reply.Materialize()); got != "hello" {
		return "", fmt.Errorf("reply is %q", got)
	}
	return endpointOf(cs), nil
}

func mustEcho(t testing.TB, c *Channel) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	addr, err := echo(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

func endpointOf(cs grpc.ClientStream) string {
	s, ok := cs.(interface{ Endpoint() string })
	if !ok {
		return ""
	}
	return s.Endpoint()
}

// hang starts a call that does not end by itself. It returns after the call has reached the
// backend.
func hang(t testing.TB, c *Channel) grpc.ClientStream {
	t.Helper()
	cs, err := c.NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, methodHang)
	if err != nil {
		t.Fatal(err)
	}
	if err := cs.SendMsg(raw("x")); err != nil {
		t.Fatal(err)
	}
	var reply mem.BufferSlice
	if err := cs.RecvMsg(&reply); err != nil {
		t.Fatal(err)
	}
	reply.Free()
	return cs
}

// endOf waits for the end of a stream.
func endOf(t testing.TB, cs grpc.ClientStream) error {
	t.Helper()
	end := make(chan error, 1)
	go func() {
		var reply mem.BufferSlice
		end <- cs.RecvMsg(&reply)
	}()
	select {
	case err := <-end:
		return err
	case <-time.After(patience):
		t.Fatal("the stream did not end")
		return nil
	}
}

// bare returns a plain grpc connection with the same codec, for comparison.
func bare(t testing.TB, addr string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(newCodec())))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func serverTLS(config *tls.Config) grpc.ServerOption { return grpc.Creds(credentials.NewTLS(config)) }

func wantUnavailable(t *testing.T, err error, reason Reason, message string) {
	t.Helper()
	var u *UnavailableError
	if !errors.As(err, &u) || u.Reason != reason {
		t.Fatalf("error is %v, want an UnavailableError of reason %d", err, reason)
	}
	if st := status.Convert(err); st.Code() != codes.Unavailable || st.Message() != message {
		t.Errorf("status is %v, want UNAVAILABLE %q", st, message)
	}
}

var bidi = &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}

// failing describes how a call fails.
type failing struct {
	code     codes.Code
	reads    bool   // true: a message first
	messages int    // that are sent first
	pushback string // grpc-retry-pushback-ms
}

func (f *failing) serve(s grpc.ServerStream) error {
	if f.pushback != "" {
		s.SetTrailer(metadata.Pairs("grpc-retry-pushback-ms", f.pushback))
	}
	if f.reads {
		var request mem.BufferSlice
		if err := s.RecvMsg(&request); err != nil {
			return err
		}
		request.Free()
	}
	for range f.messages {
		if err := s.SendMsg(raw("message")); err != nil {
			return err
		}
	}
	return status.Error(f.code, "out of order")
}
