package pool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
)

// countBuffers makes the links of a channel count the buffers of received messages. It must be
// called before the first connection.
func countBuffers(c *Channel) *countingPool {
	pool := new(countingPool)
	c.balancer.buffers = pool
	return pool
}

// TestWireCallsEndAtEachMoment cancels calls wherever they may be. Nothing may be left of them.
func TestWireCallsEndAtEachMoment(t *testing.T) {
	large := strings.Repeat("x", 1<<20)
	answer := func(s *script, id uint32) {
		s.header(id)
		s.message(id, 4<<10)
	}
	for _, tc := range []struct {
		name     string
		respond  func(s *script, id uint32)
		settings []http2.Setting
		// make makes the call. It calls reached when the call is where it is to be cancelled.
		make func(ctx context.Context, c *Channel, reached func()) error
	}{
		{name: "a whole call that has no stream", settings: []http2.Setting{{ID: http2.SettingMaxConcurrentStreams, Val: 0}},
			make: func(ctx context.Context, c *Channel, reached func()) error {
				reached()
				return c.Invoke(ctx, methodEcho, raw("x"), new(mem.BufferSlice))
			}},
		{name: "a stream that has no stream", settings: []http2.Setting{{ID: http2.SettingMaxConcurrentStreams, Val: 0}},
			make: func(ctx context.Context, c *Channel, reached func()) error {
				cs, err := c.NewStream(ctx, bidi, methodEcho)
				if err != nil {
					return err
				}
				for range replayMessages + 1 { // the last one waits
					go reached()
					if err := cs.SendMsg(raw("x")); err != nil {
						break
					}
				}
				return cs.RecvMsg(new(mem.BufferSlice))
			}},
		{name: "a whole call that waits for the window", settings: []http2.Setting{{ID: http2.SettingInitialWindowSize, Val: 100}},
			make: func(ctx context.Context, c *Channel, reached func()) error {
				go reached()
				return c.Invoke(ctx, methodEcho, raw(large), new(mem.BufferSlice))
			}},
		{name: "a stream that waits for the window", settings: []http2.Setting{{ID: http2.SettingInitialWindowSize, Val: 100}},
			make: func(ctx context.Context, c *Channel, reached func()) error {
				cs, err := c.NewStream(ctx, bidi, methodEcho)
				if err != nil {
					return err
				}
				go reached()
				if err := cs.SendMsg(raw(large)); !errors.Is(err, io.EOF) {
					return fmt.Errorf("sending: %w", err)
				}
				return cs.RecvMsg(new(mem.BufferSlice))
			}},
		{name: "a whole call that waits for its answer", respond: func(s *script, id uint32) { s.header(id) },
			make: func(ctx context.Context, c *Channel, reached func()) error {
				go reached()
				return c.Invoke(ctx, methodEcho, raw("x"), new(mem.BufferSlice))
			}},
		{name: "a whole call that has its answer and no status", respond: answer,
			make: func(ctx context.Context, c *Channel, reached func()) error {
				go reached()
				return c.Invoke(ctx, methodEcho, raw("x"), new(mem.BufferSlice))
			}},
		{name: "a stream with a message that nobody has received", respond: answer,
			make: func(ctx context.Context, c *Channel, reached func()) error {
				cs, err := c.NewStream(ctx, bidi, methodEcho)
				if err != nil {
					return err
				}
				_, _ = cs.SendMsg(raw("x")), cs.CloseSend()
				if _, err := cs.Header(); err != nil {
					return err
				}
				reached()
				<-ctx.Done()
				eventually(t, "the stream is over", func() bool { return c.Snapshot().Leases == 0 })
				return cs.RecvMsg(new(mem.BufferSlice))
			}},
		{name: "a stream between two messages", respond: answer,
			make: func(ctx context.Context, c *Channel, reached func()) error {
				cs, err := c.NewStream(ctx, bidi, methodEcho)
				if err != nil {
					return err
				}
				_, _ = cs.SendMsg(raw("x")), cs.CloseSend()
				var reply mem.BufferSlice
				if err := cs.RecvMsg(&reply); err != nil {
					return err
				}
				reply.Free()
				go reached()
				return cs.RecvMsg(&reply)
			}},
		{name: "in the middle of a message", respond: func(s *script, id uint32) {
			s.header(id)
			_ = s.WriteData(id, false, append([]byte{0, 0, 0, 16, 0}, make([]byte, 2000)...))
		},
			make: func(ctx context.Context, c *Channel, reached func()) error {
				cs, err := c.NewStream(ctx, bidi, methodEcho)
				if err != nil {
					return err
				}
				_, _ = cs.SendMsg(raw("x")), cs.CloseSend()
				go reached()
				return cs.RecvMsg(new(mem.BufferSlice))
			}},
	} {
		for how, ends := range map[string]struct {
			delay time.Duration
			code  codes.Code
		}{"cancelled": {0, codes.Canceled}, "cancelled later": {20 * time.Millisecond, codes.Canceled}, "deadline": {-1, codes.DeadlineExceeded}} {
			t.Run(tc.name+", "+how, func(t *testing.T) {
				respond := tc.respond
				if respond == nil {
					respond = func(*script, uint32) {}
				}
				addr := startScript(t, respond, tc.settings...)
				f := new(manualFeed)
				c := openChannel(t, Settings{Transport: TransportWire, EjectFailures: -1}, f)
				buffers := countBuffers(c)
				f.list(addr)
				ready(t, c)
				ctx, cancel := context.WithCancel(t.Context())
				if how == "deadline" {
					ctx, cancel = context.WithTimeout(t.Context(), 30*time.Millisecond)
				}
				defer cancel()
				err := tc.make(ctx, c, func() {
					if ends.delay >= 0 {
						time.Sleep(ends.delay)
						cancel()
					}
				})
				if status.Code(err) != ends.code || !strings.HasPrefix(originOf(err), "CallError") {
					t.Errorf("error is %v, want %s of this process", err, ends.code)
				}
				wantNothingLeft(t, c, buffers)
			})
		}
	}
}

// wantNothingLeft checks that calls have left nothing. The read buffer of a connection is the only
// one in use.
func wantNothingLeft(t *testing.T, c *Channel, buffers *countingPool) {
	t.Helper()
	eventually(t, "no lease, no call and no buffer is left", func() bool {
		s := c.Snapshot()
		c.balancer.wireStreams.mu.Lock()
		streams := len(c.balancer.wireStreams.open)
		c.balancer.wireStreams.mu.Unlock()
		return s.Leases == 0 && s.Endpoints[0].InFlight == 0 && streams == 0 && buffers.out.Load() <= int64(s.Endpoints[0].Connections)
	})
	closeNow(c)
	if n := buffers.out.Load(); n != 0 {
		t.Errorf("%d buffers are in use after the end", n)
	}
}

// Messages that were received and freed leave no buffers, whatever the kind of call.
func TestWireBuffersComeBack(t *testing.T) {
	b := startBackend(t, "")
	f := new(manualFeed)
	c := openChannel(t, Settings{Transport: TransportWire}, f)
	buffers := countBuffers(c)
	f.list(b.addr)
	ready(t, c)
	for _, n := range []int{2 << 10, 64 << 10, 1 << 20} {
		if got, err := sendAll(t, c, true, 1, strings.Repeat("x", n)); got != n || err != nil {
			t.Fatal(got, err)
		}
		cs, err := c.NewStream(t.Context(), bidi, methodEcho)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			_ = cs.SendMsg(raw(strings.Repeat("x", n)))
			var reply mem.BufferSlice
			if err := cs.RecvMsg(&reply); err != nil || reply.Len() != n {
				t.Fatal(reply.Len(), err)
			}
			reply.Free()
		}
		_ = cs.CloseSend()
		if err := endOf(t, cs); !errors.Is(err, io.EOF) {
			t.Error(err)
		}
	}
	wantNothingLeft(t, c, buffers)
}

// A peer that says goodbye finishes what it has, and what it does not take goes elsewhere.
func TestWireGoAwayWhileCallsAreInFlight(t *testing.T) {
	var streams atomic.Int64
	release := make(chan struct{})
	addr := startScript(t, func(s *script, id uint32) {
		switch streams.Add(1) {
		case 1:
			s.header(id)
		case 2:
			_ = s.WriteGoAway(id-2, http2.ErrCodeNo, nil) // takes the first, refuses the second
			go func() {
				<-release
				s.message(id-2, 7)
				s.headers(id-2, true, "grpc-status: 0")
			}()
		default: // on another connection
			s.header(id)
			s.message(id, 9)
			s.headers(id, true, "grpc-status: 0")
		}
	})
	c := openWire(t, Settings{}, addr)
	first := make(chan int, 1)
	go func() {
		n, err := sendAll(t, c, false, 1, "first")
		if err != nil {
			t.Error(err)
		}
		first <- n
	}()
	eventually(t, "the first call is there", func() bool { return streams.Load() == 1 })
	if n, err := sendAll(t, c, true, 1, "second"); n != 9 || err != nil {
		t.Errorf("the refused call: %d bytes, %v", n, err)
	}
	if e := c.Snapshot().Endpoints[0]; e.Connects != 2 || e.InFlight != 1 {
		t.Errorf("%d connections, %d calls in flight; want another connection beside the call", e.Connects, e.InFlight)
	}
	close(release)
	if n := <-first; n != 7 {
		t.Errorf("the first call got %d bytes", n)
	}
}

// TestWireStreamsThatWaitAreNotLost: streams that wait for a free stream while connections say
// goodbye again and again were never written. So they are made elsewhere, however often that
// happens and however much they have sent.
func TestWireStreamsThatWaitAreNotLost(t *testing.T) {
	for _, messages := range []int{1, replayMessages, 3 * replayMessages} {
		t.Run(fmt.Sprint(messages), func(t *testing.T) {
			var conns atomic.Int64
			addr := startScript(t, func(s *script, id uint32) {
				if conns.Add(1) <= 5 {
					_ = s.WriteGoAway(id, http2.ErrCodeNo, nil)
				}
				s.header(id)
				s.message(id, 7)
				s.headers(id, true, "grpc-status: 0")
			}, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 8 << 20})
			c := openWire(t, Settings{MaxConnections: 1, EjectFailures: -1}, addr)
			failed := make(chan error, 8)
			for range cap(failed) {
				go func() {
					n, err := sendAll(t, c, false, messages, "message")
					if err == nil && n != 7 {
						err = fmt.Errorf("%d bytes", n)
					}
					failed <- err
				}()
			}
			for range cap(failed) {
				if err := <-failed; err != nil {
					t.Error(err)
				}
			}
			if e := c.Snapshot().Endpoints[0]; e.Connects < 6 {
				t.Errorf("only %d connections were needed", e.Connects)
			}
		})
	}
}

// Nobody receives from these streams any more, and their contexts do not end. The end of the
// channel ends them.
func TestWireStreamsEndWithTheirChannel(t *testing.T) {
	b := startBackend(t, "")
	c := openWire(t, Settings{}, b.addr)
	var streams []grpc.ClientStream
	for range 3 {
		streams = append(streams, hang(t, c))
	}
	b.kill() // the connection is lost first
	eventually(t, "the connection is gone", func() bool { return readyEndpoints(c) == 0 })
	if n := c.Snapshot().Leases; n != 3 {
		t.Errorf("%d leases, want those of the streams", n)
	}
	closeNow(c)
	if n := c.Snapshot().Leases; n != 0 {
		t.Errorf("%d leases are left", n)
	}
	for _, cs := range streams {
		if err := endOf(t, cs); status.Code(err) != codes.Unavailable {
			t.Errorf("a stream ended with %v", err)
		}
		if err := cs.SendMsg(raw("x")); !errors.Is(err, io.EOF) {
			t.Errorf("sending after the end: %v", err)
		}
	}
}

// Misuse of a stream is an error, and not a message too many.
func TestWireStreamMisuse(t *testing.T) {
	b := startBackend(t, "")
	c := openWire(t, Settings{}, b.addr)
	cs, err := c.NewStream(t.Context(), bidi, methodEcho)
	if err != nil {
		t.Fatal(err)
	}
	if err := cs.SendMsg("not a message"); status.Code(err) != codes.Internal {
		t.Errorf("what cannot be encoded: %v", err)
	}
	_ = cs.CloseSend()
	if err := cs.SendMsg(raw("x")); status.Code(err) != codes.Internal {
		t.Errorf("a message after the last: %v", err)
	}
	if err := endOf(t, cs); !errors.Is(err, io.EOF) {
		t.Errorf("the stream ended with %v", err)
	}
	if err := c.Invoke(t.Context(), methodEcho, "not a message", new(mem.BufferSlice)); status.Code(err) != codes.Internal {
		t.Errorf("a whole call that cannot be encoded: %v", err)
	}
	if err := c.Invoke(t.Context(), methodEcho, raw("x"), "not a message"); status.Code(err) != codes.Internal {
		t.Errorf("a whole call whose answer cannot be decoded: %v", err)
	}
	if s := c.Snapshot(); s.Leases != 0 || s.Endpoints[0].InFlight != 0 || s.Picks != 2 {
		t.Errorf("%d leases, %d calls in flight, %d picks; want two picks", s.Leases, s.Endpoints[0].InFlight, s.Picks)
	}
}
