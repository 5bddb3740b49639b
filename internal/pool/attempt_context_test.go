package pool

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestWholeCallEndsInTime(t *testing.T) {
	// The listener sends nothing, so the connection is never READY.
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	slow := startBackend(t, "")
	slow.delay.Store(int64(patience))
	f, g := &manualFeed{}, &manualFeed{}
	connecting, working := openChannel(t, Settings{}, f), openChannel(t, Settings{}, g)
	f.list(silent.Addr().String())
	g.list(slow.addr)
	ready(t, working)
	const soon = 50 * time.Millisecond
	later := func() time.Time { return time.Now().Add(patience) }
	for name, tc := range map[string]struct {
		deadline func() time.Time
		ctx      func() (context.Context, context.CancelFunc)
		want     codes.Code
	}{
		"its deadline": {
			func() time.Time { return time.Now().Add(soon) },
			func() (context.Context, context.CancelFunc) { return t.Context(), func() {} }, codes.DeadlineExceeded,
		},
		"a deadline that has passed": {
			func() time.Time { return time.Now().Add(-soon) },
			func() (context.Context, context.CancelFunc) { return t.Context(), func() {} }, codes.DeadlineExceeded,
		},
		"the deadline of its context": {
			later,
			func() (context.Context, context.CancelFunc) { return context.WithTimeout(t.Context(), soon) }, codes.DeadlineExceeded,
		},
		"its caller": {
			later,
			func() (context.Context, context.CancelFunc) {
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(soon, cancel)
				return ctx, cancel
			}, codes.Canceled,
		},
	} {
		for where, c := range map[string]*Channel{"while it waits for an instance": connecting, "while the instance works": working} {
			for safe, idempotent := range map[string]bool{"once": false, "again if need be": true} {
				t.Run(name+", "+where+", "+safe, func(t *testing.T) {
					ctx, cancel := tc.ctx()
					defer cancel()
					u := newCall("x")
					u.Deadline, u.Idempotent = tc.deadline(), idempotent
					err := c.Call(ctx, u)
					if status.Code(err) != tc.want {
						t.Errorf("error is %v, want %v", err, tc.want)
					}
				})
			}
		}
	}
}

func TestWholeCallTellsTheInstanceItsDeadline(t *testing.T) {
	b := startBackend(t, "")
	f := &manualFeed{}
	c := openChannel(t, Settings{}, f)
	f.list(b.addr)
	ready(t, c)
	for _, deadline := range []time.Time{{}, time.Now().Add(patience)} {
		u := newCall("x")
		u.Deadline, u.Idempotent = deadline, true
		if err := c.Call(t.Context(), u); err != nil {
			t.Fatal(err)
		}
		u.Response.Free()
		if got, want := b.bounded.Load(), !deadline.IsZero(); got != want {
			t.Errorf("deadline %v: the instance has one is %v", deadline, got)
		}
	}
}

// The context that ends a call is used again by other calls. It must not end them.
func TestCallsDoNotEndOneAnother(t *testing.T) {
	b := startBackend(t, "")
	b.delay.Store(int64(time.Millisecond))
	f := &manualFeed{}
	c := openChannel(t, Settings{EjectFailures: -1}, f)
	f.list(b.addr)
	ready(t, c)
	call := func(ctx context.Context, patience time.Duration) error {
		u := newCall("x")
		u.Deadline, u.Idempotent = time.Now().Add(patience), true
		err := c.Call(ctx, u)
		u.Response.Free()
		return err
	}
	var calls sync.WaitGroup
	for range 16 {
		calls.Go(func() {
			for i := range 60 {
				ctx, cancel := context.WithCancel(t.Context())
				switch i % 3 {
				case 0:
					// The deadline is about when the answer comes.
					_ = call(ctx, time.Millisecond+time.Duration(i)*10*time.Microsecond)
				case 1:
					time.AfterFunc(time.Millisecond+time.Duration(i)*10*time.Microsecond, cancel)
					_ = call(ctx, patience)
				default:
					if err := call(ctx, patience); err != nil {
						t.Errorf("a call that nothing ended: %v", err)
					}
				}
				cancel()
			}
		})
	}
	calls.Wait()
	if n := c.Snapshot().Leases; n != 0 {
		t.Errorf("%d leases were not returned", n)
	}
}

func TestNoOtherAttemptThatWouldBeTooLate(t *testing.T) {
	b := startBackend(t, "")
	b.fails.Store(&failing{code: codes.Unavailable})
	f := &manualFeed{}
	c := openChannel(t, Settings{RetryBackoffBase: time.Hour, RetryBackoffMax: time.Hour}, f)
	f.list(b.addr)
	ready(t, c)
	u := newCall("x")
	u.Deadline, u.Idempotent = time.Now().Add(patience), true
	err := c.Call(t.Context(), u)
	if status.Code(err) != codes.Unavailable {
		t.Errorf("error is %v, want that of the only attempt", err)
	}
	if s := c.Snapshot(); s.Retries != 0 || b.calls.Load() != 1 {
		t.Errorf("%d retries, %d calls", s.Retries, b.calls.Load())
	}
}
