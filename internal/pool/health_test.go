package pool

import (
	"context"
	"errors"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap/zaptest/observer"
	"google.golang.org/grpc"
	grpcbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
)

// fakeWatch is a Watch stream of a fakeSub. It gives the answers that it is told to. Each is a
// status of the health protocol, or an error that ends the stream.
type fakeWatch struct {
	grpc.ClientStream

	ctx     context.Context
	service string
	answers chan any
}

func (s *fakeSub) GetOrBuildProducer(b grpcbalancer.ProducerBuilder) (grpcbalancer.Producer, func()) {
	return b.Build(fakeHealthConn{s})
}

type fakeHealthConn struct{ sub *fakeSub }

func (c fakeHealthConn) Invoke(ctx context.Context, method string, _, _ any, _ ...grpc.CallOption) error {
	if method != "/grpc.health.v1.Health/Check" {
		return errors.New("called " + method)
	}
	g := c.sub.grpc
	g.mu.Lock()
	g.probes[c.sub.addr]++
	frozen, lost := g.frozen[c.sub.addr], c.sub.lost
	g.mu.Unlock()
	if frozen {
		select {
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		case <-lost:
			return status.Error(codes.Unavailable, "the connection is gone")
		}
	}
	c.sub.conn.endpoint.reads.Add(1)
	return status.Error(codes.Unimplemented, "unknown service")
}

func (c fakeHealthConn) NewStream(ctx context.Context, _ *grpc.StreamDesc, method string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	if method != "/grpc.health.v1.Health/Watch" {
		return nil, errors.New("called " + method)
	}
	g := c.sub.grpc
	g.mu.Lock()
	defer g.mu.Unlock()
	w := &fakeWatch{ctx: ctx, answers: make(chan any)}
	g.watches[c.sub.addr] = append(g.watches[c.sub.addr], w)
	return w, nil
}

func (w *fakeWatch) SendMsg(m any) error {
	req, _ := m.(*healthpb.HealthCheckRequest)
	w.service = req.GetService()
	return nil
}

func (*fakeWatch) CloseSend() error { return nil }

func (w *fakeWatch) RecvMsg(m any) error {
	select {
	case <-w.ctx.Done():
		return status.FromContextError(w.ctx.Err()).Err()
	case a := <-w.answers:
		if err, ok := a.(error); ok {
			return err
		}
		resp, _ := m.(*healthpb.HealthCheckResponse)
		resp.Status, _ = a.(healthpb.HealthCheckResponse_ServingStatus)
		return nil
	}
}

// answer makes the last watch of an address answer.
func (g *fakeGRPC) answer(addr string, a any) {
	synctest.Wait()
	g.mu.Lock()
	w := g.watches[addr][len(g.watches[addr])-1]
	g.mu.Unlock()
	w.answers <- a
	synctest.Wait()
}

func (g *fakeGRPC) watched(addr string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.watches[addr])
}

// picked returns the endpoints that 64 calls go to.
func (g *fakeGRPC) picked(t *testing.T) (addrs []string) {
	t.Helper()
	for range 64 {
		addr, done, err := g.pick(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		done(grpcbalancer.DoneInfo{BytesSent: true})
		if !slices.Contains(addrs, addr) {
			addrs = append(addrs, addr)
		}
	}
	slices.Sort(addrs)
	return addrs
}

const (
	serving    = healthpb.HealthCheckResponse_SERVING
	notServing = healthpb.HealthCheckResponse_NOT_SERVING
)

// There are two instances. b is healthy, and a gives the answers of the case.
func TestHealthCheck(t *testing.T) {
	broken := status.Error(codes.Unavailable, "stream idle timeout")
	type answers []any // in order; a duration is a pause
	tests := []struct {
		name    string
		a       answers
		state   string
		health  string
		gets    bool // a gets calls
		streams int
	}{
		{"no answer yet", nil, "CONNECTING", "no answer yet", false, 1},
		{"SERVING", answers{serving}, "READY", "SERVING", true, 1},
		{"NOT_SERVING", answers{notServing}, "unhealthy", "NOT_SERVING", false, 1},
		{"SERVICE_UNKNOWN", answers{healthpb.HealthCheckResponse_SERVICE_UNKNOWN}, "unhealthy", "SERVICE_UNKNOWN", false, 1},
		{"UNKNOWN", answers{healthpb.HealthCheckResponse_UNKNOWN}, "unhealthy", "UNKNOWN", false, 1},
		{"UNIMPLEMENTED", answers{status.Error(codes.Unimplemented, "unknown service"), time.Hour}, "READY", healthUnimplemented, true, 1},
		{"not serving any more", answers{serving, notServing}, "unhealthy", "NOT_SERVING", false, 1},
		{"serving again", answers{notServing, serving}, "READY", "SERVING", true, 1},
		{"the stream ends", answers{serving, broken}, "READY", "SERVING", true, 1},
		{"the stream ends and is made again", answers{serving, broken, time.Second, serving}, "READY", "SERVING", true, 2},
		{"the stream ends, and so does the next one", answers{serving, broken, time.Second, broken}, "unhealthy", "watching the health: " + broken.Error(), false, 2},
		{"the stream ends while not serving", answers{notServing, broken, time.Second}, "unhealthy", "NOT_SERVING", false, 2},
		{"an error first", answers{broken}, "unhealthy", "watching the health: " + broken.Error(), false, 1},
		{"an error first, then SERVING", answers{broken, time.Second, serving}, "READY", "SERVING", true, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, g := startBalancer(t, Settings{HealthCheck: true, HealthService: "user.v1.UserService"})
				g.open = true
				b.list("a", "b")
				g.answer("b", serving)
				for _, a := range tt.a {
					if d, ok := a.(time.Duration); ok {
						time.Sleep(d)
						continue
					}
					g.answer("a", a)
				}
				time.Sleep(flushEvery)
				synctest.Wait()
				e := b.snapshot().Endpoints[0]
				if string(e.State) != tt.state || e.Health != tt.health {
					t.Errorf("state is %s, health %q; want %s, %q", e.State, e.Health, tt.state, tt.health)
				}
				if got := slices.Contains(g.picked(t), "a"); got != tt.gets {
					t.Errorf("it gets calls: %v, want %v", got, tt.gets)
				}
				if n := g.watched("a"); n != tt.streams {
					t.Errorf("%d streams, want %d", n, tt.streams)
				}
				if got := g.watches["a"][0].service; got != "user.v1.UserService" {
					t.Errorf("asked for %q", got)
				}
				checkBooks(t, b)
			})
		})
	}
}

// The time of a state begins again when only the health changes.
func TestHealthSetsTheTimeOfTheState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, g := startBalancer(t, Settings{HealthCheck: true})
		g.open = true
		b.list("a")
		for _, status := range []healthpb.HealthCheckResponse_ServingStatus{serving, notServing, serving} {
			time.Sleep(time.Minute)
			changed := time.Now()
			g.answer("a", status)
			time.Sleep(time.Second)
			if e := b.snapshot().Endpoints[0]; !e.Since.Equal(changed) {
				t.Errorf("%v since %v, want %v", e.State, e.Since, changed)
			}
		}
	})
}

func TestHealthIsNotAskedForUnlessConfigured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, g := startBalancer(t, Settings{})
		g.open = true
		b.list("a")
		time.Sleep(time.Second)
		if n := g.watched("a"); n != 0 || b.states() != "a READY" {
			t.Errorf("%d watches, states %s", n, b.states())
		}
	})
}

func TestWithoutHealthyInstancesCallsFailAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, g := startBalancer(t, Settings{HealthCheck: true})
		g.open = true
		b.list("a", "b")
		g.answer("a", notServing)
		if _, _, err := g.pick(t.Context()); !errors.Is(err, grpcbalancer.ErrNoSubConnAvailable) {
			t.Errorf("while b has not answered the call ended with %v, want it to wait", err)
		}
		g.answer("b", notServing)
		time.Sleep(flushEvery)
		synctest.Wait()
		_, _, err := g.pick(t.Context())
		if st := status.Convert(err); st.Code() != codes.Unavailable || st.Message() != "no instance of the service is healthy" {
			t.Errorf("the call ended with %v", st)
		}
		if want := "service user.rpc: no instance of the service is healthy: health check: NOT_SERVING"; err == nil || err.Error() != want {
			t.Errorf("for operators: %v, want %s", err, want)
		}
	})
}

// Each connection has its own watch, and a new connection gets a new one. The watch of an old
// connection ends with it, because a server that stops gracefully waits for that.
func TestHealthWatchLivesWithItsConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, g := startBalancer(t, Settings{HealthCheck: true})
		g.open = true
		b.list("a")
		g.answer("a", serving)
		time.Sleep(time.Minute)
		g.sub("a").lose()
		synctest.Wait()
		if g.watches["a"][0].ctx.Err() == nil {
			t.Error("the watch of a connection that is gone goes on")
		}
		if got := b.states(); got != "a CONNECTING" {
			t.Errorf("before the new connection has answered: %s", got)
		}
		g.answer("a", serving)
		if got := b.states(); got != "a READY" || g.watched("a") != 2 {
			t.Errorf("after it: %s, %d watches", got, g.watched("a"))
		}
		b.list()
		time.Sleep(time.Minute)
		if g.watches["a"][1].ctx.Err() == nil {
			t.Error("the watch of an instance that was removed goes on")
		}
	})
}

func TestHealthWatchBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, g := startBalancer(t, Settings{HealthCheck: true})
		g.open = true
		b.list("a")
		for range 100 {
			g.answer("a", status.Error(codes.Internal, "broken"))
			for before := g.watched("a"); g.watched("a") == before; {
				time.Sleep(100 * time.Millisecond)
				synctest.Wait()
			}
		}
		if took, low := b.clock(), int64(90*healthBackoffMax*4/5); took < low {
			t.Errorf("a hundred attempts took %v", time.Duration(took))
		}
	})
}

func TestLogTellsOfHealth(t *testing.T) {
	logged(t, Settings{HealthCheck: true}, func(b *balancer, g *fakeGRPC, logs *observer.ObservedLogs) {
		g.open = true
		b.list("a", "b", "c")
		time.Sleep(time.Second)
		logs.TakeAll()
		g.answer("a", notServing)
		g.answer("a", notServing)
		g.answer("a", serving)
		g.answer("b", status.Error(codes.Unimplemented, ""))
		g.answer("c", status.Error(codes.Unimplemented, ""))
		var got []string
		for _, e := range logs.All() {
			got = append(got, e.Level.String()+" "+e.Message)
		}
		want := []string{
			"warn instance is not healthy; it gets no new calls until its health check says SERVING",
			"info instance is healthy again",
			"warn instance does not implement grpc.health.v1; such instances count as healthy; this message appears once",
		}
		if !slices.Equal(got, want) {
			t.Errorf("log is %q, want %q", got, want)
		}
	})
}

// healthyBackend is a backend with grpc-go's own health server.
func healthyBackend(t *testing.T) (*backend, *health.Server) {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &backend{addr: lis.Addr().String(), stopped: make(chan struct{})}
	b.server = grpc.NewServer(grpc.ForceServerCodecV2(newCodec()), grpc.UnknownServiceHandler(b.serve))
	hs := health.NewServer()
	healthpb.RegisterHealthServer(b.server, hs)
	go func() {
		defer close(b.stopped)
		_ = b.server.Serve(lis)
	}()
	t.Cleanup(b.kill)
	return b, hs
}

// This test uses real connections and grpc-go's health server. Calls in flight are not cut, and a
// graceful stop does not wait for the watch.
func TestHealthOfRealServers(t *testing.T) {
	a, healthOfA := healthyBackend(t)
	b, _ := healthyBackend(t)
	f := &manualFeed{}
	c := openChannel(t, Settings{HealthCheck: true}, f)
	f.list(a.addr)
	ready(t, c)
	cs, err := c.NewStream(t.Context(), bidi, methodEcho)
	if err != nil {
		t.Fatal(err)
	}
	echoOn := func() {
		t.Helper()
		if err := cs.SendMsg(raw("hello")); err != nil {
			t.Fatal(err)
		}
		var reply mem.BufferSlice
		if err := cs.RecvMsg(&reply); err != nil {
			t.Fatal(err)
		}
		reply.Free()
	}
	echoOn()
	f.list(a.addr, b.addr)
	eventually(t, "b is healthy", func() bool { return stateOf(c, b.addr) == "READY" })
	healthOfA.SetServingStatus("", notServing)
	eventually(t, "a is unhealthy", func() bool { return stateOf(c, a.addr) == "unhealthy" })
	for range 20 {
		if got := mustEcho(t, c); got != b.addr {
			t.Fatalf("a call went to %s", got)
		}
	}
	echoOn()
	healthOfA.SetServingStatus("", serving)
	eventually(t, "a is healthy", func() bool { return stateOf(c, a.addr) == "READY" })
	if err := cs.CloseSend(); err != nil {
		t.Fatal(err)
	}
	_ = endOf(t, cs)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		a.server.GracefulStop()
	}()
	select {
	case <-stopped:
	case <-time.After(patience):
		t.Fatal("the server cannot stop")
	}
}
