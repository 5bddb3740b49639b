package pool

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func TestRetries(t *testing.T) {
	unary, serverStream := &grpc.StreamDesc{}, &grpc.StreamDesc{ServerStreams: true}
	safe := []grpc.CallOption{Idempotent()}
	tests := []struct {
		name     string
		settings Settings
		fails    failing // at every instance
		desc     *grpc.StreamDesc
		opts     []grpc.CallOption
		calls    int64
		retries  uint64
	}{
		{"safe", Settings{}, failing{code: codes.Unavailable}, unary, safe, 3, 2},
		{"unsafe", Settings{}, failing{code: codes.Unavailable}, unary, nil, 1, 0},
		{"safe, five attempts", Settings{RetryAttempts: 5}, failing{code: codes.Unavailable}, unary, safe, 5, 4},
		{"safe, switched off", Settings{RetryAttempts: 1}, failing{code: codes.Unavailable}, unary, safe, 1, 0},
		{"safe, another code", Settings{}, failing{code: codes.Internal}, unary, safe, 1, 0},
		{"safe, the server says no", Settings{}, failing{code: codes.Unavailable, pushback: "-1"}, unary, safe, 1, 0},
		{"safe, the server says when", Settings{}, failing{code: codes.Unavailable, pushback: "1"}, unary, safe, 3, 2},
		{"server stream", Settings{}, failing{code: codes.Unavailable}, serverStream, safe, 3, 2},
		{"server stream that has begun", Settings{}, failing{code: codes.Unavailable, messages: 1}, serverStream, safe, 1, 0},
		{"client stream", Settings{}, failing{code: codes.Unavailable}, bidi, safe, 1, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.desc == unary {
				t.Run("whole call", func(t *testing.T) {
					checkRetries(t, tt.settings, tt.fails, tt.calls, tt.retries, func(c *Channel) error {
						var msg mem.BufferSlice
						err := c.Invoke(t.Context(), methodEcho, raw("x"), &msg, tt.opts...)
						msg.Free()
						return err
					})
				})
			}
			checkRetries(t, tt.settings, tt.fails, tt.calls, tt.retries, func(c *Channel) error {
				cs, err := c.NewStream(t.Context(), tt.desc, methodEcho, tt.opts...)
				if err != nil {
					t.Fatal(err)
				}
				_ = cs.SendMsg(raw("x"))
				_ = cs.CloseSend()
				for err == nil {
					var msg mem.BufferSlice
					if err = cs.RecvMsg(&msg); err == nil {
						msg.Free()
					}
				}
				return err
			})
		})
	}
}

// checkRetries makes a call that fails at both instances.
func checkRetries(t *testing.T, settings Settings, fails failing, calls int64, retries uint64, call func(*Channel) error) {
	t.Helper()
	settings.RetryBackoffBase = time.Millisecond
	a, b := startBackend(t, ""), startBackend(t, "")
	a.fails.Store(&fails)
	b.fails.Store(&fails)
	f := &manualFeed{}
	c := openChannel(t, settings, f)
	f.list(a.addr, b.addr)
	eventually(t, "both are ready", func() bool { return readyEndpoints(c) == 2 })
	if st := status.Convert(call(c)); st.Code() != fails.code || st.Message() != "out of order" {
		t.Errorf("error is %v, want the instance's own", st)
	}
	if n := a.calls.Load() + b.calls.Load(); n != calls {
		t.Errorf("%d calls were made, want %d", n, calls)
	}
	if n := c.Snapshot().Retries; n != retries {
		t.Errorf("%d retries are counted, want %d", n, retries)
	}
}

func TestRetriesGoElsewhere(t *testing.T) {
	for _, policy := range []string{BalanceP2C, BalanceRoundRobin} {
		t.Run(policy, func(t *testing.T) {
			a, b, good := startBackend(t, ""), startBackend(t, ""), startBackend(t, "")
			for _, bad := range []*backend{a, b} {
				bad.fails.Store(&failing{code: codes.Unavailable})
			}
			f := &manualFeed{}
			c := openChannel(t, Settings{Balance: policy, RetryBackoffBase: time.Millisecond, EjectFailures: -1}, f)
			f.list(a.addr, b.addr, good.addr)
			eventually(t, "all are ready", func() bool { return readyEndpoints(c) == 3 })
			for i := range 50 {
				// Three attempts are enough if none goes to the same instance twice.
				cs, err := c.NewStream(t.Context(), &grpc.StreamDesc{}, methodEcho, Idempotent())
				if err != nil {
					t.Fatal(err)
				}
				text := fmt.Sprint("request ", i)
				if err := cs.SendMsg(raw(text)); err != nil {
					t.Fatal(err)
				}
				if md, err := cs.Header(); err != nil || len(md.Get("content-type")) == 0 {
					t.Errorf("header is %v, %v", md, err)
				}
				var reply mem.BufferSlice
				if err := cs.RecvMsg(&reply); err != nil || string(reply.Materialize()) != text {
					t.Errorf("reply is %q, %v; want %q", reply.Materialize(), err, text)
				}
				reply.Free()
				if got := endpointOf(cs); got != good.addr {
					t.Errorf("endpoint is %s, want %s", got, good.addr)
				}
			}
			if a.calls.Load() == 0 || b.calls.Load() == 0 {
				t.Error("the bad ones were never asked")
			}
		})
	}
}

func TestRetriedRequestIsTheSame(t *testing.T) {
	bad, good := startBackend(t, ""), startBackend(t, "")
	bad.fails.Store(&failing{code: codes.Unavailable})
	f := &manualFeed{}
	c := openChannel(t, Settings{Balance: BalanceRoundRobin, RetryBackoffBase: time.Millisecond, EjectFailures: -1}, f)
	f.list(bad.addr, good.addr)
	eventually(t, "both are ready", func() bool { return readyEndpoints(c) == 2 })
	for i := range 20 {
		text := fmt.Sprint("request ", i)
		var reply mem.BufferSlice
		if err := c.Invoke(t.Context(), methodEcho, raw(text), &reply, Idempotent()); err != nil || string(reply.Materialize()) != text {
			t.Errorf("reply is %q, %v; want %q", reply.Materialize(), err, text)
		}
		reply.Free()
		message := &wrapperspb.StringValue{}
		if err := c.Invoke(t.Context(), methodEcho, wrapperspb.String(text), message, Idempotent()); err != nil || message.GetValue() != text {
			t.Errorf("reply is %v, %v; want %q", message, err, text)
		}
	}
}

func TestRetriesStayWithinTheirBudget(t *testing.T) {
	var b retryBudget
	retries := 0
	for range 10_000 {
		b.call()
		for range 2 {
			if b.take() {
				retries++
			}
		}
	}
	if retries < 2000 || retries > 2101 {
		t.Errorf("%d retries for 10,000 calls that fail, want a fifth and a hundred", retries)
	}
	for range 1000 {
		b.call()
	}
	if !b.take() {
		t.Error("the budget does not recover")
	}
}

func TestAnEmptyServiceIsNotRetried(t *testing.T) {
	f := &manualFeed{}
	c := openChannel(t, Settings{RetryBackoffBase: time.Hour}, f)
	f.list()
	_, err := c.NewStream(t.Context(), &grpc.StreamDesc{}, methodEcho, Idempotent())
	wantUnavailable(t, err, NoInstances, "the service has no instances")
}

func TestCancelledWhileWaitingForARetry(t *testing.T) {
	b := startBackend(t, "")
	b.fails.Store(&failing{code: codes.Unavailable})
	f := &manualFeed{}
	c := openChannel(t, Settings{RetryBackoffBase: time.Hour}, f)
	f.list(b.addr)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := c.Invoke(ctx, methodEcho, raw("x"), &mem.BufferSlice{}, Idempotent()); err == nil {
		t.Error("no error")
	}
	if n := c.Snapshot().Leases; n != 0 {
		t.Errorf("%d leases are left", n)
	}
}

// Instances are killed and restarted under load. Safe calls never fail. The instances execute no
// more calls than were made or retried.
func TestKilledInstancesUnderLoad(t *testing.T) {
	backends := []*backend{startBackend(t, ""), startBackend(t, ""), startBackend(t, "")}
	var addrs []string
	for _, b := range backends {
		addrs = append(addrs, b.addr)
	}
	f := &manualFeed{}
	c := openChannel(t, Settings{BackoffBase: 10 * time.Millisecond}, f)
	f.list(addrs...)
	eventually(t, "all are ready", func() bool { return readyEndpoints(c) == 3 })
	var (
		wg                     sync.WaitGroup
		stop                   = make(chan struct{})
		safe, unsafe, failures atomic.Int64
	)
	work := func(count *atomic.Int64, opts ...grpc.CallOption) {
		for {
			select {
			case <-stop:
				return
			default:
			}
			count.Add(1)
			var reply mem.BufferSlice
			err := c.Invoke(t.Context(), methodEcho, raw("x"), &reply, opts...)
			reply.Free()
			switch {
			case err == nil:
			case len(opts) > 0:
				t.Errorf("a safe call failed: %v", err)
			case status.Code(err) != codes.Unavailable:
				t.Errorf("an unsafe call failed with %v", err)
			default:
				failures.Add(1)
			}
		}
	}
	for range 4 {
		wg.Go(func() { work(&safe, Idempotent()) })
		wg.Go(func() { work(&unsafe) })
	}
	var executed int64
	for i := range 6 {
		time.Sleep(100 * time.Millisecond)
		b := backends[i%3]
		b.kill()
		executed += b.calls.Load()
		backends[i%3] = startBackend(t, b.addr)
		eventually(t, "it is back", func() bool { return readyEndpoints(c) == 3 })
	}
	close(stop)
	wg.Wait()
	for _, b := range backends {
		executed += b.calls.Load()
	}
	if most := safe.Load() + unsafe.Load() + int64(c.Snapshot().Retries); executed > most {
		t.Errorf("%d executions of %d calls and retries", executed, most)
	}
	t.Logf("%d safe calls, %d unsafe ones of which %d failed, %d retries", safe.Load(), unsafe.Load(), failures.Load(), c.Snapshot().Retries)
}

// One goroutine waits for the response before another one sends the request, like the two sides of
// a WebSocket.
func TestResponseIsAwaitedWhileTheRequestIsSent(t *testing.T) {
	b := startBackend(t, "")
	f := &manualFeed{}
	c := openChannel(t, Settings{}, f)
	f.list(b.addr)
	eventually(t, "it is ready", func() bool { return readyEndpoints(c) == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	cs, err := c.NewStream(ctx, &grpc.StreamDesc{}, methodEcho, Idempotent())
	if err != nil {
		t.Fatal(err)
	}
	received := make(chan error, 1)
	go func() {
		_, _ = cs.Header()
		var reply mem.BufferSlice
		err := cs.RecvMsg(&reply)
		reply.Free()
		received <- err
	}()
	time.Sleep(20 * time.Millisecond) // the receiver waits by now, or the test shows nothing
	if err := cs.SendMsg(raw("late")); err != nil {
		t.Fatal(err)
	}
	if err := <-received; err != nil {
		t.Error(err)
	}
}

func TestRetryPushback(t *testing.T) {
	b := newBalancer("s", Settings{}, nil, newRandom(1))
	a := attempts{channel: &Channel{balancer: b}, made: 1}
	for asked, want := range map[string]time.Duration{
		"0": 0, "1500": 1500 * time.Millisecond,
		"-1": -1, "soon": -1, strconv.Itoa(math.MaxInt64): -1, // not to be made again
	} {
		d, ok := a.wait(&Settings{}, metadata.Pairs("grpc-retry-pushback-ms", asked))
		if ok != (want >= 0) || ok && d != want {
			t.Errorf("%s: %s, %t; want %s", asked, d, ok, want)
		}
	}
}

// A call does not wait for a retry that could begin only after the deadline of the context.
func TestRetryAfterTheDeadlineIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := Settings{}.withDefaults()
		if err != nil {
			t.Fatal(err)
		}
		a := attempts{channel: &Channel{balancer: newBalancer("s", s, nil, newRandom(1))}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		again := a.again(ctx, new(lease), status.Error(codes.Unavailable, ""), metadata.Pairs("grpc-retry-pushback-ms", "2000"))
		if again || time.Since(began) > 0 || a.channel.budget.used.Load() > 0 {
			t.Errorf("%t after %s, %d of the budget used", again, time.Since(began), a.channel.budget.used.Load())
		}
	})
}
