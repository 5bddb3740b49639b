package pool

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"

	"github.com/caddy-grpc/gateway/discovery"
)

func TestCallsGoToTheInstanceThatIsListed(t *testing.T) {
	b := startBackend(t, "")
	f := &manualFeed{}
	c := openChannel(t, Settings{}, f)
	f.list(b.addr)
	if got := mustEcho(t, c); got != b.addr {
		t.Errorf("endpoint is %q, want %q", got, b.addr)
	}
	s := c.Snapshot()
	if len(s.Endpoints) != 1 || s.Endpoints[0].State != "READY" || s.Endpoints[0].Picks != 1 || s.Endpoints[0].Connects != 1 || s.Connects != 1 {
		t.Errorf("snapshot is %+v", s)
	}
}

func TestEveryInstanceIsConnectedBeforeTheFirstCall(t *testing.T) {
	var backends []*backend
	var addrs []string
	for range 5 {
		b := startBackend(t, "")
		backends, addrs = append(backends, b), append(addrs, b.addr)
	}
	f := &manualFeed{}
	f.list(addrs...)
	openChannel(t, Settings{}, f)
	for _, b := range backends {
		eventually(t, "a connection to each", func() bool { return b.accepts.Load() == 1 })
	}
}

func TestUnavailableAtOnce(t *testing.T) {
	tests := map[string]struct {
		state   *discovery.State
		reason  Reason
		message string
	}{
		"nothing published":   {nil, NotKnownYet, "no instance of the service is known yet"},
		"published, unsynced": {&discovery.State{Err: errors.New("etcd is down")}, NotKnownYet, "no instance of the service is known yet"},
		"empty list":          {&discovery.State{Synced: true}, NoInstances, "the service has no instances"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := &manualFeed{}
			c := openChannel(t, Settings{}, f)
			if tt.state != nil {
				f.publish(*tt.state)
			}
			_, err := echo(t.Context(), c)
			wantUnavailable(t, err, tt.reason, tt.message)
			if err := c.Invoke(t.Context(), methodEcho, raw("x"), &mem.BufferSlice{}); status.Code(err) != codes.Unavailable {
				t.Errorf("Invoke: %v", err)
			}
			if n := c.Snapshot().Leases; n != 0 {
				t.Errorf("%d leases are left", n)
			}
		})
	}
}

func TestRefusedEverywhereNamesNoAddress(t *testing.T) {
	b := startBackend(t, "")
	b.kill()
	f := &manualFeed{}
	c := openChannel(t, Settings{}, f)
	f.list(b.addr)
	_, err := echo(t.Context(), c)
	wantUnavailable(t, err, Unreachable, "no instance of the service can be reached: connection refused")
	if !strings.Contains(err.Error(), b.addr) {
		t.Errorf("operators are not told the address: %v", err)
	}
	s := c.Snapshot()
	if e := s.Endpoints[0]; !strings.Contains(e.LastError, "refused") || s.LastError == "" {
		t.Errorf("snapshot does not say why: %+v", s)
	}
}

func TestCallWaitsWhileConnecting(t *testing.T) {
	// The listener accepts and sends nothing. So the handshake hangs until the connect timeout.
	lis := silentListener(t)
	f := &manualFeed{}
	c := openChannel(t, Settings{ConnectTimeout: time.Minute}, f)
	f.list(lis)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := echo(ctx, c); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("error is %v, want DEADLINE_EXCEEDED", err)
	}
	// Another instance comes up, and a waiting call goes there.
	result := make(chan error, 1)
	go func() {
		_, err := echo(t.Context(), c)
		result <- err
	}()
	b := startBackend(t, "")
	f.list(lis, b.addr)
	select {
	case err := <-result:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("the call still waits")
	}
}

func TestRestartedInstanceIsFoundAgain(t *testing.T) {
	b := startBackend(t, "")
	f := &manualFeed{}
	c := openChannel(t, Settings{BackoffBase: 10 * time.Millisecond}, f)
	f.list(b.addr)
	mustEcho(t, c)
	b.kill()
	eventually(t, "the call fails", func() bool {
		_, err := echo(t.Context(), c)
		return status.Code(err) == codes.Unavailable
	})
	again := startBackend(t, b.addr)
	eventually(t, "the call succeeds", func() bool {
		_, err := echo(t.Context(), c)
		return err == nil
	})
	if again.calls.Load() == 0 {
		t.Error("the call went elsewhere")
	}
}

func TestKilledInstanceIsLeftForTheOther(t *testing.T) {
	a, b := startBackend(t, ""), startBackend(t, "")
	f := &manualFeed{}
	c := openChannel(t, Settings{}, f)
	f.list(a.addr, b.addr)
	eventually(t, "both are ready", func() bool { return readyEndpoints(c) == 2 })
	a.kill()
	eventually(t, "one is left", func() bool { return readyEndpoints(c) == 1 })
	for range 50 {
		if got := mustEcho(t, c); got != b.addr {
			t.Fatalf("call went to %s", got)
		}
	}
}

func readyEndpoints(c *Channel) (n int) {
	c.balancer.lock()
	late := c.balancer.dirty // calls use a picker that is a few milliseconds older
	c.balancer.publishAndUnlock()
	if late {
		return 0
	}
	for _, e := range c.Snapshot().Endpoints {
		if e.State == "READY" {
			n++
		}
	}
	return n
}

func TestLostConnectionNamesNoAddress(t *testing.T) {
	b := startBackend(t, "")
	f := &manualFeed{}
	c := openChannel(t, Settings{}, f)
	f.list(b.addr)
	cs := hang(t, c)
	b.kill()
	err := endOf(t, cs)
	var lost *LostError
	if !errors.As(err, &lost) || lost.Address != b.addr || lost.Drained {
		t.Fatalf("error is %v, want a LostError of %s", err, b.addr)
	}
	st := status.Convert(err)
	if st.Code() != codes.Unavailable || strings.Contains(st.Message(), "127.0.0.1") || !strings.HasPrefix(st.Message(), "the connection to the instance was lost: connection ") {
		t.Errorf("status is %v", st)
	}
	if e := c.Snapshot().Endpoints[0]; e.Failures != 1 || e.InFlight != 0 {
		t.Errorf("snapshot is %+v", e)
	}
}

func TestServersOwnUnavailablePasses(t *testing.T) {
	b := startBackend(t, "")
	f := &manualFeed{}
	c := openChannel(t, Settings{}, f)
	f.list(b.addr)
	err := c.Invoke(t.Context(), methodFail, raw("x"), &mem.BufferSlice{})
	if st := status.Convert(err); st.Code() != codes.Unavailable || st.Message() != "out of order" {
		t.Errorf("status is %v", st)
	}
	if n := b.calls.Load(); n != 1 {
		t.Errorf("called %d times, want once", n)
	}
	if e := c.Snapshot().Endpoints[0]; e.Failures != 1 {
		t.Errorf("failures are %d, want 1", e.Failures)
	}
}

func TestCallersCancellationIsTheirs(t *testing.T) {
	b := startBackend(t, "")
	f := &manualFeed{}
	c := openChannel(t, Settings{}, f)
	f.list(b.addr)
	ctx, cancel := context.WithCancel(t.Context())
	cs, err := c.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, methodHang)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := endOf(t, cs); status.Code(err) != codes.Canceled {
		t.Errorf("error is %v, want CANCELLED", err)
	}
	eventually(t, "the lease is returned", func() bool { return c.Snapshot().Leases == 0 })
	if e := c.Snapshot().Endpoints[0]; e.Failures != 0 || e.InFlight != 0 {
		t.Errorf("snapshot is %+v", e)
	}
}

func TestWaitReadySaysWhyNot(t *testing.T) {
	down := startBackend(t, "")
	down.kill()
	tests := map[string]struct {
		state discovery.State
		want  string
	}{
		"unknown":     {discovery.State{}, "no instance of the service is known yet"},
		"empty":       {discovery.State{Synced: true}, "the service has no instances"},
		"unreachable": {synced(instances(down.addr)...), "connection refused"},
		"connecting":  {synced(instances(silentListener(t))...), "1 instances, none of them connected yet"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := &manualFeed{}
			f.publish(tt.state)
			c := openChannel(t, Settings{}, f)
			eventually(t, tt.want, func() bool {
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
				defer cancel()
				err := c.WaitReady(ctx)
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Fatalf("error is %v", err)
				}
				return strings.Contains(err.Error(), tt.want)
			})
		})
	}
}

func TestOnEndpointReadyTellsOfNewAndReplacedInstances(t *testing.T) {
	a, b := startBackend(t, ""), startBackend(t, "")
	f := &manualFeed{}
	c := openChannel(t, Settings{BackoffBase: 10 * time.Millisecond}, f)
	told := make(chan string, 10)
	stop := c.OnEndpointReady(func(addr string) { told <- addr })
	next := func() string {
		t.Helper()
		select {
		case addr := <-told:
			return addr
		case <-time.After(patience):
			t.Fatal("nobody was told")
			return ""
		}
	}
	f.list(a.addr)
	if got := next(); got != a.addr {
		t.Errorf("told of %s, want %s", got, a.addr)
	}
	f.list(a.addr, b.addr)
	if got := next(); got != b.addr {
		t.Errorf("told of %s, want %s", got, b.addr)
	}
	a.kill()
	startBackend(t, a.addr)
	if got := next(); got != a.addr {
		t.Errorf("told of %s, want %s", got, a.addr)
	}
	stop()
	b.kill()
	startBackend(t, b.addr)
	eventually(t, "it is back", func() bool { return readyEndpoints(c) == 2 })
	select {
	case addr := <-told:
		t.Errorf("told of %s after stop", addr)
	default:
	}
}

// stateOf returns the state of an endpoint, or "" if there is no such endpoint.
func stateOf(c *Channel, addr string) string {
	for _, e := range c.Snapshot().Endpoints {
		if e.Address == addr {
			return string(e.State)
		}
	}
	return ""
}

// A call that is over before it begins never reaches an instance. Grpc would send it, and might
// return its answer, depending on who is first.
func TestCallsThatAreOverBeforeTheyBegin(t *testing.T) {
	b := startBackend(t, "")
	c := openChannel(t, Settings{}, oneInstance(b.addr))
	ready(t, c)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	for want, ctx := range map[codes.Code]context.Context{codes.Canceled: gone, codes.DeadlineExceeded: late} {
		for name, call := range map[string]func() error{
			"whole call": func() error { return c.Call(ctx, newCall("x")) },
			"idempotent call": func() error {
				u := newCall("x")
				u.Idempotent = true
				return c.Call(ctx, u)
			},
			"stream": func() error {
				_, err := c.NewStream(ctx, bidi, methodEcho)
				return err
			},
			"idempotent stream": func() error {
				_, err := c.NewStream(ctx, bidi, methodEcho, Idempotent())
				return err
			},
		} {
			t.Run(fmt.Sprintf("%s, %s", name, want), func(t *testing.T) {
				for range 20 {
					err := call()
					if status.Code(err) != want || !strings.HasPrefix(originOf(err), "CallError") {
						t.Errorf("error is %v, want %s of this process", err, want)
					}
				}
			})
		}
	}
	s := c.Snapshot()
	if b.calls.Load() != 0 || s.Picks != 0 {
		t.Errorf("%d calls came, %d picks, want none", b.calls.Load(), s.Picks)
	}
	if s.Leases != 0 {
		t.Errorf("%d leases were not returned", s.Leases)
	}
}
