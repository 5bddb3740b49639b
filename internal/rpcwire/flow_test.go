package rpcwire

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/codes"
)

func initialWindow(n uint32) http2.Setting {
	return http2.Setting{ID: http2.SettingInitialWindowSize, Val: n}
}

// sent describes the DATA frames that the client sent: stream, size, and a dot at the end.
func (s *script) sent() string {
	var list []string
	for _, f := range s.frames(http2.FrameData) {
		text := fmt.Sprintf("%d:%d", f.stream, f.length)
		if f.flags.Has(http2.FlagDataEndStream) {
			text += "."
		}
		list = append(list, text)
	}
	return strings.Join(list, " ")
}

func (s *script) wantSent(want string) {
	s.t.Helper()
	if got := s.sent(); got != want {
		s.t.Errorf("the client sent %q, want %q", got, want)
	}
}

// A window may have fewer bytes than gRPC's prefix, and it may become negative.
func TestSmallWindows(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c, s, _ := start(t, Options{}, initialWindow(3))
		ch := begin(t, c, Request{Body: [][]byte{[]byte("abc"), nil, []byte("defghij")}})
		s.wantSent("1:3")
		s.send(windowUpdate(1, 1))
		s.wantSent("1:1")
		s.send(windowUpdate(1, 3))
		s.wantSent("1:3")
		s.send(settings(initialWindow(1))) // 3 were used: the window is -2 beyond what was given
		s.send(windowUpdate(1, 2))
		s.wantSent("")
		s.send(windowUpdate(1, 1))
		s.wantSent("1:1")
		s.send(settings(initialWindow(1000)))
		s.wantSent("1:7.")
		if got := string(s.data[1]); got != "\x00\x00\x00\x00\x0aabcdefghij" {
			t.Errorf("the server got %q", got)
		}
		s.send(ok(1), message(1, "a"), trailer(1, "0"))
		if r := end(t, ch); r.err != nil {
			t.Error(r.err)
		}
		stop(t, c)
	})
}

// The client may use the window to the last byte, and the end of a request needs no window.
func TestEndOfARequestNeedsNoWindow(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c, s, _ := start(t, Options{}, initialWindow(1<<20))
		first := begin(t, c, Request{Body: [][]byte{make([]byte, defaultWindow-5)}})
		s.wantSent("1:16384 1:16384 1:16384 1:16383.")
		call := new(Call)
		if err := c.Start(call, &Request{Method: "/a/b"}); err != nil {
			t.Fatal(err)
		}
		blocked := begin(t, c, Request{})
		s.wantSent("")
		call.CloseSend()
		s.wantSent("3:0.")
		s.send(windowUpdate(0, 100))
		s.wantSent("5:12.")
		call.Cancel(nil)
		s.send(rst(1, 0), rst(5, 0))
		end(t, first)
		end(t, blocked)
		stop(t, c)
	})
}

// Large requests take turns of 16 KiB, and new calls do not wait for all of them.
func TestTurns(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c, s, _ := start(t, Options{}, initialWindow(1<<20), http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 0})
		large := [][]byte{make([]byte, 40_000)}
		first, second := begin(t, c, Request{Body: large}), begin(t, c, Request{Body: large})
		small := begin(t, c, Request{Body: [][]byte{[]byte("small")}})
		s.send(windowUpdate(0, 1<<20), settings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 100}))
		var order []string
		s.mu.Lock()
		for _, f := range s.got {
			switch f.kind {
			case http2.FrameHeaders:
				order = append(order, fmt.Sprint("h", f.stream))
			case http2.FrameData:
				order = append(order, fmt.Sprint("d", f.stream))
			}
		}
		s.mu.Unlock()
		if got, want := strings.Join(order, " "), "h1 h3 h5 d1 d3 d5 d1 d3 d1 d3"; got != want {
			t.Errorf("the order is %s, want %s", got, want)
		}
		for i, ch := range []<-chan result{first, second, small} {
			s.send(rst(uint32(2*i+1), 0))
			end(t, ch)
		}
		stop(t, c)
	})
}

// A large request that was written in part does not hold up a small call that comes later.
func TestSmallCallDuringALargeOne(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c, s, _ := start(t, Options{}, initialWindow(1<<20))
		large := begin(t, c, Request{Body: [][]byte{make([]byte, 1<<20)}})
		s.frames()
		small := begin(t, c, Request{Body: [][]byte{[]byte("small")}})
		s.send(windowUpdate(0, 20_000))
		s.wantSent("1:16384 3:10. 1:3606")
		s.send(rst(1, 0), rst(3, 0))
		end(t, large)
		end(t, small)
		stop(t, c)
	})
}

// A connection has a large buffer while it writes large requests. It has none when it is idle, and
// none for small calls. The next request is written out of the same buffer.
func TestLargeBufferOfTheWriter(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c, s, _ := start(t, Options{}, initialWindow(1<<20))
		for id := uint32(1); id < 9; id += 4 {
			small := begin(t, c, Request{Body: [][]byte{make([]byte, turn/2)}})
			if c.large != nil {
				t.Error("there is a large buffer for a small call")
			}
			s.frames()
			s.send(rst(id, 0))
			end(t, small)

			body := make([]byte, 5*turn)
			for i := range body {
				body[i] = byte(i / 100)
			}
			large := begin(t, c, Request{Body: [][]byte{body[:turn+7], body[turn+7:]}, Unary: true})
			if c.large == nil {
				t.Error("there is no large buffer for a large request")
			}
			var got []byte
			for range 10 {
				for _, f := range s.frames(http2.FrameData) {
					got = append(got, f.payload...)
				}
				s.send(windowUpdate(0, turn))
			}
			if !bytes.Equal(got[min(prefixSize, len(got)):], body) {
				t.Errorf("%d bytes of the request were written, or others", len(got))
			}
			s.send(windowUpdate(0, turn), rst(id+2, 0))
			end(t, large)
			if c.large != nil {
				t.Error("an idle connection has a large buffer")
			}
		}
		stop(t, c)
	})
}

// Send copies small messages and returns. It waits while too much is copied, and for large ones.
func TestSendWaits(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c, s, _ := start(t, Options{}, initialWindow(0))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		call := new(Call)
		if err := c.Start(call, &Request{Method: "/a/b"}); err != nil {
			t.Fatal(err)
		}
		var sent []int
		var sendErr error
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := range 8 {
				msg := bytes.Repeat([]byte{byte(i)}, 10_000)
				if sendErr = call.Send(ctx, false, msg); sendErr != nil {
					return
				}
				clear(msg) // it belongs to the sender
				sent = append(sent, i)
			}
			sendErr = call.Send(ctx, false, make([]byte, 100_000))
		}()
		synctest.Wait()
		if len(sent) != 6 { // 6 x 10,005 bytes are below 64 KiB
			t.Errorf("%d messages were copied", len(sent))
		}
		s.send(windowUpdate(1, 70_035), windowUpdate(0, 1<<20))
		if len(sent) != 8 {
			t.Errorf("%d messages were sent", len(sent))
		}
		s.send(windowUpdate(1, 50_000))
		want := new(bytes.Buffer)
		for i := range 8 {
			want.Write(framed(strings.Repeat(string([]byte{byte(i)}), 10_000)))
		}
		if got := s.data[1]; len(got) != 120_035 || !bytes.HasPrefix(got, want.Bytes()) {
			t.Errorf("the server got %d bytes, or not those that were sent", len(got))
		}
		cancel()
		<-done
		if sendErr == nil {
			t.Error("Send did not notice the end of the call")
		}
		_, err := call.Recv(t.Context())
		wantError(t, err, KindCancelled, codes.Canceled, false)
		stop(t, c)
	})
}

// updates returns the increments of the client's WINDOW_UPDATE frames for a stream.
func (s *script) updates(id uint32) (list []int) {
	for _, f := range s.frames(http2.FrameWindowUpdate) {
		if f.stream == id {
			list = append(list, int(binary.BigEndian.Uint32(f.payload)))
		}
	}
	return list
}

// A stream that nobody reads holds at most its window. What is received is given back in pieces of
// a quarter.
func TestReceiveWindowOfAStream(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c, s, _ := start(t, Options{StreamWindow: 40_000})
		call := new(Call)
		if err := c.Start(call, &Request{Method: "/a/b"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		s.frames()
		s.send(ok(1), times(8, message(1, strings.Repeat("m", 4995)))) // 8 x 5,000 bytes
		if got := s.updates(1); got != nil {
			t.Errorf("nobody has read, and the client allows %v", got)
		}
		for i := range 4 {
			m, err := call.Recv(t.Context())
			if err != nil || len(c.text(m)) != 4995 {
				t.Fatal(err)
			}
			want := []int(nil)
			if i%2 == 1 {
				want = []int{10_000}
			}
			if got := s.updates(1); !slices.Equal(got, want) {
				t.Errorf("after %d messages the client allows %v, want %v", i+1, got, want)
			}
		}
		s.send(times(4, message(1, strings.Repeat("m", 4995))))
		s.send(data(1, false, []byte{0})) // one byte too many
		checkReset(t, s, 1, http2.ErrCodeFlowControl)
		for range 8 {
			if _, err := call.Recv(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		_, err := call.Recv(t.Context())
		wantError(t, err, KindNotGRPC, codes.Internal, false)
		stop(t, c)
	})
}

// Messages that are received without waiting are given back to the window as others are. After the
// end of the stream they are still there, and after a cancellation they are not.
func TestRecvWaiting(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c, s, _ := start(t, Options{StreamWindow: 8_000})
		call := new(Call)
		if err := c.Start(call, &Request{Method: "/a/b"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		s.frames()
		if got, n := call.RecvWaiting(nil, 1); len(got) != 0 || n != 0 {
			t.Errorf("nothing has come, and %d messages were received", n)
		}
		small, large := strings.Repeat("m", 995), strings.Repeat("l", smallMessage+1)
		s.send(ok(1), times(4, message(1, small)), message(1, large), message(1, small))
		got, n := call.RecvWaiting([]byte("<"), 2_000)
		if want := "<" + strings.Repeat(string(framed(small)), 2); string(got) != want || n != 2 {
			t.Errorf("received %d messages with %d bytes, want 2 with %d", n, len(got), len(want))
		}
		if got := s.updates(1); !slices.Equal(got, []int{2_000}) {
			t.Errorf("the client allows %v", got)
		}
		s.send(trailer(1, "0"))
		for range 2 {
			if got, n := call.RecvWaiting(nil, 1_000); len(got) != 1_000 || n != 1 {
				t.Errorf("received %d messages with %d bytes after the end, want 1 with 1,000", n, len(got))
			}
		}
		if _, n := call.RecvWaiting(nil, 1_000); n != 0 {
			t.Errorf("received %d messages, of which the first is large", n)
		}
		if m, err := call.Recv(t.Context()); err != nil || c.text(m) != large {
			t.Errorf("the large message: %v", err)
		}
		if got, n := call.RecvWaiting(nil, 5_000); len(got) != 1_000 || n != 1 {
			t.Errorf("received %d messages with %d bytes after the end, want 1 with 1,000", n, len(got))
		}
		if _, err := call.Recv(t.Context()); !errors.Is(err, io.EOF) {
			t.Errorf("the end is %v", err)
		}

		if err := c.Start(call, &Request{Method: "/a/b"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		s.send(ok(3), message(3, small))
		call.Cancel(nil)
		if got, n := call.RecvWaiting(nil, 5_000); len(got) != 0 || n != 0 {
			t.Errorf("received %d messages after the cancellation", n)
		}
		stop(t, c)
	})
}

// A message that is larger than the window arrives in one go when it is waited for, and only then.
func TestWindowIsWidenedForAMessage(t *testing.T) {
	const size = 1_000_000
	for _, isUnary := range []bool{false, true} {
		t.Run(fmt.Sprint("unary=", isUnary), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				c, s, _ := start(t, Options{StreamWindow: 40_000})
				call := new(Call)
				if err := c.Start(call, &Request{Method: "/a/b", Unary: isUnary}); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				s.frames()
				whole := framed(strings.Repeat("w", size))
				s.send(ok(1), data(1, false, whole[:10_000]))
				before := s.updates(1)
				var text string
				done := make(chan struct{})
				go func() {
					defer close(done)
					receive := call.Recv
					if isUnary {
						receive = call.Wait
					}
					m, err := receive(t.Context())
					if err != nil {
						t.Error(err)
					}
					text = c.text(m)
				}()
				updates := slices.Concat(before, s.updates(1))
				if want := []int{size + prefixSize - 40_000}; !slices.Equal(updates, want) || isUnary != (before != nil) {
					t.Errorf("the client allows %v (%v before it was waited for), want %v", updates, before, want)
				}
				for rest := whole[10_000:]; len(rest) > 0; rest = rest[min(len(rest), maxFrame):] {
					s.send(data(1, false, rest[:min(len(rest), maxFrame)]))
				}
				s.send(trailer(1, "0"))
				<-done
				if len(text) != size {
					t.Errorf("the message has %d bytes", len(text))
				}
				stop(t, c)
			})
		})
	}
}

// The window of the connection is given back when a quarter of it was used, even for streams that
// nobody reads and streams that have ended.
func TestReceiveWindowOfTheConnection(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c, s, _ := start(t, Options{ConnWindow: 80_000})
		ch := begin(t, c, Request{})
		call := new(Call)
		if err := c.Start(call, &Request{Method: "/a/b"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		s.frames()
		s.send(rst(1, 0))
		end(t, ch)
		s.send(times(10, data(1, false, make([]byte, 1000))), ok(3), times(9, message(3, strings.Repeat("m", 995))))
		if got := s.updates(0); got != nil {
			t.Errorf("the client allows %v", got)
		}
		s.send(rawFrame(http2.FrameData, http2.FlagDataPadded, 3, append([]byte{200}, make([]byte, 999)...)...))
		if got := s.updates(0); !slices.Equal(got, []int{20_000}) {
			t.Errorf("the client allows %v, want 20000", got)
		}
		call.Cancel(nil)
		stop(t, c)
	})
}

func TestPeerIgnoresTheWindowOfTheConnection(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c, s, events := start(t, Options{ConnWindow: defaultWindow, StreamWindow: 1 << 20})
		ch := begin(t, c, Request{})
		c.mu.Lock()
		c.unacked = -1 << 20 // the client gives nothing back
		c.mu.Unlock()
		s.send(ok(1), data(1, false, framed(strings.Repeat("x", 60_000))[:10_000]), times(3, data(1, false, make([]byte, 16384))), data(1, false, make([]byte, 10_000)))
		end(t, ch)
		if e := events.closedWith(); e == nil || e.Code != http2.ErrCodeFlowControl {
			t.Errorf("the connection closed with %v", e)
		}
		stop(t, c)
	})
}

// A prefix alone does not make the client hold what it announces.
func TestBuffersGrowWithTheMessage(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		buffers := &countingBuffers{}
		c, s, _ := start(t, Options{Buffers: buffers})
		ch := begin(t, c, Request{})
		s.send(ok(1), data(1, false, []byte{0, 0, 0x40, 0, 0})) // 4 MiB
		if buffers.held() != firstPart {
			t.Errorf("%d bytes are held for a prefix", buffers.held())
		}
		for range 5 {
			s.send(data(1, false, make([]byte, maxFrame)))
		}
		if want := growBy*firstPart + readBufferSize; buffers.held() != want {
			t.Errorf("%d bytes are held for 80 KiB, want %d", buffers.held(), want)
		}
		s.send(rst(1, 0))
		end(t, ch)
		if buffers.held() != 0 { // an idle connection needs no large buffer
			t.Errorf("%d bytes are held after the call", buffers.held())
		}
		stop(t, c)
	})
}

// countingBuffers counts what was not given back.
type countingBuffers struct{ n atomic.Int64 }

func (b *countingBuffers) held() int { return int(b.n.Load()) }

func (b *countingBuffers) Get(n int) *[]byte {
	b.n.Add(int64(n))
	buf := make([]byte, n)
	return &buf
}

func (b *countingBuffers) Put(buf *[]byte) { b.n.Add(-int64(len(*buf))) }

// Buffers go back however a stream ends.
func TestBuffersGoBack(t *testing.T) {
	ends := map[string]func(c *Conn, s *script, call *Call){
		"received": func(c *Conn, _ *script, call *Call) {
			for range 3 {
				m, err := call.Recv(context.Background())
				if err != nil {
					return
				}
				c.putBack(m)
			}
			call.Cancel(nil)
		},
		"received at once": func(_ *Conn, _ *script, call *Call) {
			call.RecvWaiting(nil, 1<<20)
			call.Cancel(nil)
		},
		"cancelled": func(_ *Conn, _ *script, call *Call) { call.Cancel(nil) },
		"closed":    func(c *Conn, _ *script, call *Call) { c.Close("") },
		"reset":     func(_ *Conn, s *script, call *Call) { s.send(rst(1, 0)) },
		"ended":     func(_ *Conn, s *script, call *Call) { s.send(trailer(1, "0")) },
		"deadline":  func(_ *Conn, s *script, call *Call) { time.Sleep(time.Hour) },
	}
	for name, finish := range ends {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				buffers := &countingBuffers{}
				c, s, _ := start(t, Options{Buffers: buffers})
				call := new(Call)
				if err := c.Start(call, &Request{Method: "/a/b", Deadline: time.Now().Add(time.Minute)}); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				s.send(ok(1), times(3, message(1, "abc")), data(1, false, framed("half of a message")[:10]))
				finish(c, s, call)
				synctest.Wait()
				if name == "cancelled" || name == "deadline" { // the caller does not want them
					if n := buffers.held(); n != 0 {
						t.Errorf("%d bytes are held", n)
					}
					if _, err := call.Recv(t.Context()); wantErrorType(t, err).Kind == KindLost {
						t.Error(err)
					}
				}
				// Starting it again gives back what nobody received.
				_ = c.Start(call, &Request{Method: "bad"})
				if buffers.held() != 0 {
					t.Errorf("%d bytes are held", buffers.held())
				}
				stop(t, c)
			})
		})
	}
}
