package pool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
)

// refuser is an instance that refuses its first streams unread, and answers the others when they
// have ended.
type refuser struct {
	addr string
	// times is the number of streams that it refuses.
	times int
	// after is the number of messages of a stream that it waits for before it refuses. -1: it waits
	// for the end.
	after  int
	refuse func(s *script, id uint32)
	// stop makes it accept no more connections.
	stop func()
	// streams counts the streams that have begun.
	streams atomic.Int64

	mu sync.Mutex
	// bodies has what the streams sent that were answered.
	bodies [][]byte
}

func refuseStream(s *script, id uint32) { _ = s.WriteRSTStream(id, http2.ErrCodeRefusedStream) }

func sayGoodbye(s *script, _ uint32) { _ = s.WriteGoAway(0, http2.ErrCodeNo, nil) }

// start serves until the test ends.
func (r *refuser) start(t *testing.T) *refuser {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.addr = lis.Addr().String()
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			conn, err := lis.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { conn.Close() })
			conns.Go(func() { r.serve(conn) })
		}
	})
	r.stop = func() { lis.Close() }
	t.Cleanup(r.stop)
	return r
}

func (r *refuser) serve(conn net.Conn) {
	defer conn.Close()
	if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	s := &script{Framer: http2.NewFramer(conn, conn), conn: conn}
	s.enc = hpack.NewEncoder(&s.buf)
	_ = s.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 8 << 20})
	_ = s.WriteWindowUpdate(0, 1<<30)
	bodies, refused := make(map[uint32][]byte), make(map[uint32]bool)
	for {
		frame, err := s.ReadFrame()
		if err != nil {
			return
		}
		id, ended := frame.Header().StreamID, false
		switch f := frame.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				_ = s.WriteSettingsAck()
			}
			continue
		case *http2.PingFrame:
			_ = s.WritePing(true, f.Data)
			continue
		case *http2.HeadersFrame:
			bodies[id], refused[id] = nil, r.streams.Add(1) <= int64(r.times)
		case *http2.DataFrame:
			bodies[id] = append(bodies[id], f.Data()...)
			ended = f.StreamEnded()
		default:
			continue
		}
		switch isRefused, known := refused[id]; {
		case isRefused && (ended || r.after >= 0 && bytes.Count(bodies[id], []byte("message")) >= r.after):
			delete(refused, id)
			r.refuse(s, id)
		case known && !isRefused && ended:
			r.mu.Lock()
			r.bodies = append(r.bodies, bodies[id])
			r.mu.Unlock()
			s.header(id)
			s.message(id, 7)
			s.headers(id, true, "grpc-status: 0")
		}
	}
}

// A call that was refused unread is made again once, whatever its size and wherever it is when it
// is refused.
func TestRefusals(t *testing.T) {
	for _, tc := range []struct {
		name  string
		whole bool
		size  int
		after int
	}{
		{name: "a small whole call, at its end", whole: true, size: 10, after: -1},
		{name: "a large whole call, at its start", whole: true, size: 2 << 20},
		{name: "a small stream, at its end", size: 10, after: -1},
		{name: "a large stream, at its start", size: 2 << 20},
	} {
		for how, refuse := range map[string]func(*script, uint32){"REFUSED_STREAM": refuseStream, "GOAWAY": sayGoodbye} {
			for times := 1; times <= 2; times++ {
				t.Run(fmt.Sprintf("%s, %s, %d times", tc.name, how, times), func(t *testing.T) {
					r := (&refuser{times: times, after: tc.after, refuse: refuse}).start(t)
					c := openChannel(t, Settings{}, oneInstance(r.addr))
					ready(t, c)
					n, err := sendAll(t, c, tc.whole, 1, strings.Repeat("x", tc.size))
					if r.streams.Load() != 2 {
						t.Errorf("%d streams, want 2", r.streams.Load())
					}
					switch {
					case times == 1 && (err != nil || n != 7):
						t.Errorf("%d bytes, %v; want the answer", n, err)
					case times == 2 && (status.Code(err) != codes.Unavailable || originOf(err) == ""):
						t.Errorf("error is %v, want UNAVAILABLE of this process", err)
					case times == 2 && tc.after < 0 && errors.Is(err, errNotProcessed):
						t.Errorf("error is %v, want the reason of the second refusal", err)
					}
					s := c.Snapshot()
					if s.Leases != 0 || s.Picks != 2 {
						t.Errorf("%d leases, %d picks; want two picks", s.Leases, s.Picks)
					}
				})
			}
		}
	}
}

// One goroutine sends while another one receives, and either can find out first that the stream was
// refused. What was sent is sent again, once and in order.
func TestRefusedStreamsAreSentAgainInOrder(t *testing.T) {
	for _, tc := range []struct {
		messages, after int
		// lost is true if the stream may be lost, because not all of it is kept.
		lost bool
	}{
		{messages: 1, after: 0},
		{messages: 20, after: 0},
		{messages: 20, after: 1},
		{messages: 20, after: 10},
		{messages: 20, after: -1},
		{messages: 3 * replayMessages, after: replayMessages - 1, lost: true},
		{messages: 3 * replayMessages, after: replayMessages + 1, lost: true},
	} {
		t.Run(fmt.Sprintf("%d messages, refused after %d", tc.messages, tc.after), func(t *testing.T) {
			for range 20 {
				r := (&refuser{times: 1, after: tc.after, refuse: refuseStream}).start(t)
				c := openChannel(t, Settings{}, oneInstance(r.addr))
				ready(t, c)
				var want []byte
				for i := range tc.messages {
					text := fmt.Sprintf("message %d", i)
					want = append(append(want, 0, 0, 0, 0, byte(len(text))), text...)
				}
				n, err := sendWhileReceiving(t, c, tc.messages)
				switch {
				case err == nil && (n != 7 || r.streams.Load() != 2 || len(r.bodies) != 1 || !slices.Equal(r.bodies[0], want)):
					t.Fatalf("%d bytes, %d streams, the instance got %q", n, r.streams.Load(), r.bodies)
				case err != nil && (!tc.lost || status.Code(err) != codes.Unavailable || len(r.bodies) != 0):
					t.Fatalf("error is %v, the instance got %q", err, r.bodies)
				}
				if leases := c.Snapshot().Leases; leases != 0 {
					t.Fatalf("%d leases are left", leases)
				}
			}
		})
	}
}

// sendWhileReceiving sends numbered messages in one goroutine and receives in another.
func sendWhileReceiving(t *testing.T, c *Channel, messages int) (int, error) {
	t.Helper()
	cs, err := c.NewStream(t.Context(), bidi, methodEcho)
	if err != nil {
		return 0, err
	}
	var sender sync.WaitGroup
	defer sender.Wait()
	sender.Go(func() {
		for i := range messages {
			if cs.SendMsg(raw(fmt.Sprintf("message %d", i))) != nil {
				return // receiving says why
			}
		}
		_ = cs.CloseSend()
	})
	var reply mem.BufferSlice
	if err := cs.RecvMsg(&reply); err != nil {
		return 0, err
	}
	defer reply.Free()
	if err := endOf(t, cs); !errors.Is(err, io.EOF) {
		return reply.Len(), err
	}
	return reply.Len(), nil
}

// Messages that are kept for a second attempt go back to their pool, however the stream ends.
func TestKeptMessagesAreFreed(t *testing.T) {
	const messages = 5
	for _, tc := range []struct {
		name  string
		times int
		end   func(t *testing.T, r *refuser, c *Channel, cs grpc.ClientStream, cancel func())
	}{
		{name: "answered", end: func(t *testing.T, _ *refuser, _ *Channel, cs grpc.ClientStream, _ func()) {
			_ = cs.CloseSend()
			wantAnswer(t, cs)
		}},
		{name: "refused and sent again", times: 1, end: func(t *testing.T, _ *refuser, _ *Channel, cs grpc.ClientStream, _ func()) {
			_ = cs.CloseSend()
			wantAnswer(t, cs)
		}},
		{name: "refused and not sent again", times: 1, end: func(t *testing.T, r *refuser, _ *Channel, cs grpc.ClientStream, _ func()) {
			r.stop()
			_ = cs.CloseSend()
			for range 2 {
				wantUnavailable(t, endOf(t, cs), Unreachable, "no instance of the service can be reached: connection refused")
			}
		}},
		{name: "refused twice", times: 2, end: func(t *testing.T, _ *refuser, _ *Channel, cs grpc.ClientStream, _ func()) {
			_ = cs.CloseSend()
			if err := endOf(t, cs); status.Code(err) != codes.Unavailable {
				t.Errorf("error is %v", err)
			}
		}},
		{name: "left alone by its caller", end: func(_ *testing.T, _ *refuser, _ *Channel, _ grpc.ClientStream, cancel func()) { cancel() }},
		{name: "closed with the channel", end: func(t *testing.T, _ *refuser, c *Channel, _ grpc.ClientStream, _ func()) {
			ended, end := context.WithCancel(t.Context())
			end()
			_ = c.Shutdown(ended)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := (&refuser{times: tc.times, after: -1, refuse: sayGoodbye}).start(t)
			c := openChannel(t, Settings{}, oneInstance(r.addr))
			ready(t, c)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			cs, err := c.NewStream(ctx, bidi, methodEcho)
			if err != nil {
				t.Fatal(err)
			}
			pool := new(countingPool)
			for range messages {
				b := pool.Get(2 << 10) // smaller buffers are not pooled
				if err := cs.SendMsg(mem.BufferSlice{mem.NewBuffer(b, pool)}); err != nil {
					t.Fatal(err)
				}
			}
			tc.end(t, r, c, cs, cancel)
			eventually(t, "all messages are freed", func() bool { return pool.out.Load() == 0 })
		})
	}
}

func wantAnswer(t *testing.T, cs grpc.ClientStream) {
	t.Helper()
	var reply mem.BufferSlice
	if err := cs.RecvMsg(&reply); err != nil || reply.Len() != 7 {
		t.Errorf("%d bytes, %v; want the answer", reply.Len(), err)
	}
	reply.Free()
}
