package pool

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"

	"github.com/caddy-grpc/gateway/internal/testkit"
)

// frozenPair returns a channel to two real instances. A proxy in front of the first one can hold
// back every byte.
func frozenPair(t *testing.T) (c *Channel, frozen, good *backend, proxy *testkit.Proxy) {
	t.Helper()
	frozen, good = startBackend(t, ""), startBackend(t, "")
	proxy = testkit.StartProxy(t, frozen.addr)
	f := &manualFeed{}
	c = openChannel(t, Settings{Balance: BalanceRoundRobin}, f)
	f.list(proxy.Addr(), good.addr)
	eventually(t, "both are ready", func() bool { return readyEndpoints(c) == 2 })
	return c, frozen, good, proxy
}

func TestCallsAtFrozenInstance(t *testing.T) {
	t.Parallel()
	c, frozen, good, proxy := frozenPair(t)
	var streams []grpc.ClientStream
	for range 2 {
		streams = append(streams, hang(t, c)) // one of them at the instance that freezes
	}
	var chats []grpc.ClientStream
	for range 2 {
		cs, err := c.NewStream(t.Context(), bidi, methodEcho)
		if err != nil {
			t.Fatal(err)
		}
		chats = append(chats, cs)
	}
	time.Sleep(50 * time.Millisecond)
	proxy.BlackHole()
	executed := frozen.calls.Load() + good.calls.Load()
	c.budget.spent.Store(1 << 20) // the budget must not matter

	var wg sync.WaitGroup
	const each = 10
	failed := make(chan error, each)
	for range each {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		wg.Go(func() {
			var reply mem.BufferSlice
			if err := c.Invoke(ctx, methodEcho, raw("safe"), &reply, Idempotent()); err != nil || string(reply.Materialize()) != "safe" {
				t.Errorf("a safe call: %q, %v", reply.Materialize(), err)
			}
			reply.Free()
		})
		wg.Go(func() {
			cs, err := c.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, methodEcho, Idempotent())
			if err == nil {
				err = cs.SendMsg(raw("safe"))
			}
			var reply mem.BufferSlice
			if err == nil {
				err = cs.RecvMsg(&reply)
			}
			if err != nil || string(reply.Materialize()) != "safe" {
				t.Errorf("a safe stream: %q, %v", reply.Materialize(), err)
			}
			reply.Free()
		})
		wg.Go(func() {
			var reply mem.BufferSlice
			if err := c.Invoke(ctx, methodEcho, raw("unsafe"), &reply); err != nil {
				failed <- err
			}
			reply.Free()
		})
	}
	eventually(t, "it is ejected", func() bool { return stateOf(c, proxy.Addr()) == "ejected" })
	wg.Wait()
	if n := len(failed); n == 0 || n > each {
		t.Errorf("%d of %d unsafe calls failed, want those at the frozen instance", n, each)
	}
	for range len(failed) {
		if err := <-failed; status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("an unsafe call failed with %v; it should have waited", err)
		}
	}
	if c.Snapshot().Retries == 0 {
		t.Error("no call was made again: nothing is shown")
	}

	proxy.Heal()
	eventually(t, "it is back", func() bool { return readyEndpoints(c) == 2 })
	// Every unsafe call was executed at most once. Some safe ones were executed twice, because the
	// instance found their attempts in the pipe.
	if n := frozen.calls.Load() + good.calls.Load() - executed; n > 3*each+int64(c.Snapshot().Retries) {
		t.Errorf("%d executions of %d calls and %d retries", n, 3*each, c.Snapshot().Retries)
	}
	for _, cs := range chats {
		if err := cs.SendMsg(raw("still here")); err != nil {
			t.Fatal(err)
		}
		var reply mem.BufferSlice
		if err := cs.RecvMsg(&reply); err != nil {
			t.Errorf("a stream that was open broke: %v", err)
		}
		reply.Free()
		_ = cs.CloseSend()
		_ = endOf(t, cs)
	}
	for _, cs := range streams {
		if err := cs.Context().Err(); err != nil {
			t.Errorf("a stream that had delivered something ended: %v", err)
		}
	}
}

func TestSlowCallsAreNotMadeAgain(t *testing.T) {
	t.Parallel()
	c, slow, good, _ := frozenPair(t)
	for _, b := range []*backend{slow, good} {
		b.delay.Store(int64(stalledWithin + time.Second))
	}
	before := slow.calls.Load() + good.calls.Load()
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			var reply mem.BufferSlice
			if err := c.Invoke(t.Context(), methodEcho, raw("x"), &reply, Idempotent()); err != nil {
				t.Error(err)
			}
			reply.Free()
		})
	}
	wg.Wait()
	if n := slow.calls.Load() + good.calls.Load() - before; n != 2 {
		t.Errorf("2 calls were executed %d times", n)
	}
	if s := c.Snapshot(); s.Ejections != 0 || s.Retries != 0 {
		t.Errorf("%d ejections, %d retries", s.Ejections, s.Retries)
	}
	if a, b := slow.probes.Load(), good.probes.Load(); a != 1 || b != 1 {
		t.Errorf("asked %d and %d times, want once each", a, b)
	}
}

// The error of an attempt that was given up is seen only if no other attempt can follow.
func TestErrorOfGivenUpAttempt(t *testing.T) {
	l := &lease{Context: context.Background(), channel: &Channel{}}
	l.endpoint.Store(&endpoint{addr: "10.0.0.1:1"})
	l.fate.Store(fateGivenUp)
	err := l.explain(status.FromContextError(context.Canceled).Err(), func() bool { return false })
	var lost *LostError
	if !errors.As(err, &lost) || lost.Address != "10.0.0.1:1" {
		t.Fatalf("error is %v, want a LostError", err)
	}
	if st := status.Convert(err); st.Code() != codes.Unavailable || st.Message() != "the instance does not answer" {
		t.Errorf("status is %v", st)
	}
}

// An attempt that can be ended alone has the same errors as others. This is true even if its
// context ends before its error is read.
func TestErrorsOfAttemptsThatOthersMayFollow(t *testing.T) {
	calls := map[string]func(ctx context.Context, c *Channel) error{
		"Invoke": func(ctx context.Context, c *Channel) error {
			return c.Invoke(ctx, methodEcho, raw("x"), &mem.BufferSlice{}, Idempotent())
		},
		"NewStream": func(ctx context.Context, c *Channel) error {
			cs, err := c.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, methodEcho, Idempotent())
			if err != nil {
				return err
			}
			if err := cs.SendMsg(raw("x")); err != nil {
				return err
			}
			return cs.RecvMsg(&mem.BufferSlice{})
		},
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			for end, want := range map[string]codes.Code{"the channel": codes.Unavailable, "the caller": codes.Canceled} {
				b := startBackend(t, "")
				b.delay.Store(int64(time.Second))
				f := &manualFeed{}
				c := openChannel(t, Settings{Linger: time.Millisecond, DrainTimeout: 100 * time.Millisecond}, f)
				f.list(b.addr)
				ready(t, c)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				ended := make(chan error, 1)
				go func() { ended <- call(ctx, c) }()
				eventually(t, "it is called", func() bool { return b.calls.Load() == 1 })
				if end == "the caller" {
					cancel()
				} else {
					c.Retire()
				}
				err := <-ended
				if status.Code(err) != want {
					t.Errorf("ended by %s: %v, want %v", end, err, want)
				}
			}
		})
	}
}
