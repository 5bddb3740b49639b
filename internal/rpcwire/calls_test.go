package rpcwire

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/codes"
)

var errCause = errors.New("the cause")

// How gRPC's interop tests for clients misbehave as a server (bad_server, http2 interop).
func TestBadServers(t *testing.T) {
	t.Run("goaway", func(t *testing.T) {
		// The server answers one call, and says that it takes no more. The client uses another
		// connection.
		inBubble(t, func(t *testing.T) {
			c, s, events := start(t, Options{})
			first := begin(t, c, Request{})
			s.send(goAway(1, http2.ErrCodeNo, ""), ok(1), message(1, "a"), trailer(1, "0"))
			if r := end(t, first); r.err != nil || r.text != "a" {
				t.Error(r.text, r.err)
			}
			err := c.Start(new(Call), &Request{Method: "/a/b", Unary: true})
			wantError(t, err, KindLost, codes.Unavailable, true)
			if len(events.draining) != 1 || events.closedWith().Reason != ReasonDrained {
				t.Error(events.draining, events.closedWith())
			}
			stop(t, c)
		})
	})
	for name, frames := range map[string][]func(*script){
		"rst_after_header": {ok(1), rst(1, http2.ErrCodeNo)},
		"rst_during_data":  {ok(1), data(1, false, framed("half of it")[:8]), rst(1, http2.ErrCodeNo)},
		"rst_after_data":   {ok(1), message(1, "all of it"), rst(1, http2.ErrCodeNo)},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				c, s, _ := start(t, Options{})
				ch := begin(t, c, Request{})
				s.send(frames...)
				wantError(t, end(t, ch).err, KindReset, codes.Internal, false)
				stop(t, c)
			})
		})
	}
	t.Run("rst_after_data of a stream", func(t *testing.T) {
		// What came before the reset is received first.
		inBubble(t, func(t *testing.T) {
			c, s, _ := start(t, Options{})
			call := new(Call)
			if err := c.Start(call, &Request{Method: "/a/b"}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			s.send(ok(1), message(1, "one"), message(1, "two"), rst(1, http2.ErrCodeNo))
			for _, want := range []string{"one", "two"} {
				m, err := call.Recv(t.Context())
				if err != nil || c.text(m) != want {
					t.Fatal(err)
				}
			}
			_, err := call.Recv(t.Context())
			wantError(t, err, KindReset, codes.Internal, false)
			stop(t, c)
		})
	})
	t.Run("ping", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			c, s, _ := start(t, Options{})
			ch := begin(t, c, Request{})
			s.frames()
			s.send(ping("before.."), ok(1), ping("between."), message(1, "a"), trailer(1, "0"), ping("after..."))
			var acks string
			for _, f := range s.frames(http2.FramePing) {
				if f.flags.Has(http2.FlagPingAck) {
					acks += string(f.payload)
				}
			}
			if acks != "before..between.after..." {
				t.Errorf("the answers are %q", acks)
			}
			if r := end(t, ch); r.err != nil {
				t.Error(r.err)
			}
			stop(t, c)
		})
	})
	t.Run("max_streams", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			c, s, events := start(t, Options{}, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1})
			var calls []<-chan result
			for range 15 {
				calls = append(calls, begin(t, c, Request{}))
			}
			for i, ch := range calls {
				id := uint32(2*i + 1)
				if n := len(s.frames(http2.FrameHeaders)); n != 1 {
					t.Fatalf("%d calls were written, want 1", n)
				}
				s.send(ok(id), message(id, "a"), trailer(id, "0"))
				if r := end(t, ch); r.err != nil {
					t.Error(i, r.err)
				}
			}
			s.send(settings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 7}))
			if len(events.limits) != 1 || events.limits[0] != 7 || c.StreamLimit() != 7 {
				t.Error(events.limits, c.StreamLimit())
			}
			stop(t, c)
		})
	})
	t.Run("max_streams after the first call", func(t *testing.T) {
		// As in gRPC's test, the limit comes later. It is below the number of open calls.
		inBubble(t, func(t *testing.T) {
			c, s, _ := start(t, Options{})
			first, second := begin(t, c, Request{}), begin(t, c, Request{})
			s.send(settings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1}))
			s.frames()
			third := begin(t, c, Request{})
			s.send(ok(1), message(1, "a"), trailer(1, "0"))
			end(t, first)
			if got := s.frames(http2.FrameHeaders); len(got) > 0 {
				t.Errorf("the client sent %v beside another call", got)
			}
			s.send(ok(3), message(3, "a"), trailer(3, "0"))
			end(t, second)
			s.send(ok(5), message(5, "a"), trailer(5, "0"))
			if r := end(t, third); r.err != nil {
				t.Error(r.err)
			}
			stop(t, c)
		})
	})
	t.Run("data_frame_padding", func(t *testing.T) {
		// Padding counts for the windows. There is more of it than the window of the stream has.
		inBubble(t, func(t *testing.T) {
			c, s, _ := start(t, Options{})
			ch := begin(t, c, Request{})
			s.send(ok(1))
			s.frames()
			window := 64 << 10
			for p := framed(strings.Repeat("text", 500)); len(p) > 0; p = p[5:] {
				payload := append(append([]byte{255}, p[:5]...), make([]byte, 255)...)
				if window -= len(payload); window < 0 {
					t.Fatal("the client does not let the peer send more")
				}
				s.send(rawFrame(http2.FrameData, http2.FlagDataPadded, 1, payload...))
				for _, f := range s.frames(http2.FrameWindowUpdate) {
					if f.stream == 1 {
						window += int(binary.BigEndian.Uint32(f.payload))
					}
				}
			}
			s.send(trailer(1, "0"))
			if r := end(t, ch); r.err != nil || r.text != strings.Repeat("text", 500) {
				t.Error(len(r.text), r.err)
			}
			stop(t, c)
		})
	})
}

// An answer may come before the request is complete. The rest is not sent (RFC 9113, section 8.1).
func TestAnswerBeforeTheRequestHasEnded(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c, s, _ := start(t, Options{})
		ch := begin(t, c, Request{Body: [][]byte{make([]byte, 1<<20)}})
		if got := len(s.data[1]); got != defaultWindow {
			t.Fatalf("the client sent %d bytes, the window has %d", got, defaultWindow)
		}
		s.frames()
		s.send(headers(1, true, ":status", "200", "content-type", "application/grpc", "grpc-status", "8", "grpc-message", "too large"))
		r := end(t, ch)
		if r.err != nil || r.call.Status() != (Status{codes.ResourceExhausted, "too large"}) {
			t.Error(r.err, r.call.Status())
		}
		got := s.frames(http2.FrameRSTStream, http2.FrameData)
		if len(got) != 1 || got[0].kind != http2.FrameRSTStream || binary.BigEndian.Uint32(got[0].payload) != uint32(http2.ErrCodeNo) {
			t.Errorf("the client sent %v, want RST_STREAM with NO_ERROR", got)
		}
		s.send(rst(1, http2.ErrCodeNo), windowUpdate(0, 1<<20), windowUpdate(1, 1<<20))
		if got := s.frames(http2.FrameData); len(got) > 0 {
			t.Errorf("the client sent %v after the end", got)
		}
		if c.Backlog() != 0 {
			t.Errorf("%d bytes wait", c.Backlog())
		}
		next := begin(t, c, Request{})
		s.send(ok(3), message(3, "a"), trailer(3, "0"))
		if r := end(t, next); r.err != nil {
			t.Error(r.err)
		}
		stop(t, c)
	})
}

// What may be resent: a call that was never written, that was refused, or that is above the last
// stream of a GOAWAY.
func TestUnprocessed(t *testing.T) {
	limit1 := http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1}
	tests := []struct {
		name   string
		limit  bool // the call waits for a stream
		frames []func(*script)
		kind   Kind
		want   bool
	}{
		{"refused", false, []func(*script){rst(1, http2.ErrCodeRefusedStream)}, KindReset, true},
		{"refused after a header", false, []func(*script){ok(1), rst(1, http2.ErrCodeRefusedStream)}, KindReset, false},
		{"refused after an informational response", false, []func(*script){headers(1, false, ":status", "103"), rst(1, http2.ErrCodeRefusedStream)}, KindReset, false},
		{"reset otherwise", false, []func(*script){rst(1, http2.ErrCodeEnhanceYourCalm)}, KindReset, false},
		{"GOAWAY before the call", false, []func(*script){goAway(0, http2.ErrCodeNo, "")}, KindDraining, true},
		{"GOAWAY with an error before the call", false, []func(*script){goAway(0, http2.ErrCodeProtocol, "")}, KindDraining, true},
		{"GOAWAY before the call, in spite of a header", false, []func(*script){ok(1), goAway(0, http2.ErrCodeNo, "")}, KindDraining, false},
		{"second GOAWAY before the call", false, []func(*script){goAway(1<<31-1, http2.ErrCodeNo, ""), goAway(0, http2.ErrCodeNo, "")}, KindDraining, true},
		{"GOAWAY after the call, then closed", false, []func(*script){goAway(1, http2.ErrCodeNo, ""), hangUp}, KindLost, false},
		{"closed", false, []func(*script){hangUp}, KindLost, false},
		{"waiting for a stream, closed", true, []func(*script){hangUp}, KindLost, true},
		{"waiting for a stream, GOAWAY", true, []func(*script){goAway(1, http2.ErrCodeNo, "")}, KindDraining, true},
		{"waiting for a stream, protocol error", true, []func(*script){data(0, false, nil)}, KindLost, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				c, s, _ := start(t, Options{}, limit1)
				ch := begin(t, c, Request{})
				if tt.limit {
					ch = begin(t, c, Request{})
				}
				s.send(tt.frames...)
				code := codes.Unavailable
				if tt.name == "reset otherwise" {
					code = codes.ResourceExhausted
				}
				wantError(t, end(t, ch).err, tt.kind, code, tt.want)
				stop(t, c)
			})
		})
	}
}

func hangUp(s *script) {
	s.flush()
	_ = s.nc.Close()
}

// Waiting for a stream ends with the deadline, with the context and with Cancel.
func TestWaitingForAStream(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c, s, _ := start(t, Options{}, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 0})
		ctx, cancel := context.WithCancelCause(t.Context())
		timeout, cancelTimeout := context.WithTimeout(t.Context(), time.Second)
		defer cancelTimeout()
		deadline := begin(t, c, Request{Deadline: time.Now().Add(time.Second)})
		cancelled := beginWith(ctx, c, Request{})
		timedOut := beginWith(timeout, c, Request{})
		byHand := new(Call)
		if err := c.Start(byHand, &Request{Method: "/a/b"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		cancel(errCause)
		if e := wantError(t, end(t, cancelled).err, KindCancelled, codes.Canceled, true); !errors.Is(e, errCause) {
			t.Errorf("the cause is %v", e.Cause)
		}
		byHand.Cancel(errCause)
		_, err := byHand.Recv(t.Context())
		wantError(t, err, KindCancelled, codes.Canceled, true)
		time.Sleep(999 * time.Millisecond)
		running(t, deadline)
		time.Sleep(20 * time.Millisecond)
		wantError(t, end(t, deadline).err, KindDeadline, codes.DeadlineExceeded, true)
		wantError(t, end(t, timedOut).err, KindDeadline, codes.DeadlineExceeded, true)
		s.send(settings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 10}))
		if got := s.frames(http2.FrameHeaders, http2.FrameData, http2.FrameRSTStream); len(got) > 0 {
			t.Errorf("the client sent %v for calls that have ended", got)
		}
		stop(t, c)
	})
}

// The end of a call that was written is told to the peer with RST_STREAM.
func TestCancelAndDeadlineOfWrittenCalls(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c, s, _ := start(t, Options{})
		ctx, cancel := context.WithCancel(t.Context())
		cancelled := beginWith(ctx, c, Request{})
		late := begin(t, c, Request{Deadline: time.Now().Add(time.Second)})
		s.frames()
		cancel()
		wantError(t, end(t, cancelled).err, KindCancelled, codes.Canceled, false)
		checkReset(t, s, 1, http2.ErrCodeCancel)
		time.Sleep(1100 * time.Millisecond)
		wantError(t, end(t, late).err, KindDeadline, codes.DeadlineExceeded, false)
		checkReset(t, s, 3, http2.ErrCodeCancel)
		// What the peer sends for them is ignored, and the header table stays in order.
		s.send(headers(1, false, ":status", "200", "content-type", "application/grpc", "new", "entry"), message(1, "a"), trailer(1, "0"))
		next := begin(t, c, Request{})
		s.send(headers(5, false, ":status", "200", "content-type", "application/grpc", "new", "entry"), message(5, "a"), trailer(5, "0"))
		r := end(t, next)
		if header, _ := r.call.ResponseHeader(); r.err != nil || value(header, "new") != "entry" {
			t.Error(r.err, header)
		}
		stop(t, c)
	})
}

func checkReset(t *testing.T, s *script, id uint32, code http2.ErrCode) {
	t.Helper()
	got := s.frames(http2.FrameRSTStream)
	if len(got) != 1 || got[0].stream != id || binary.BigEndian.Uint32(got[0].payload) != uint32(code) {
		t.Errorf("the client sent %v, want RST_STREAM of stream %d with %s", got, id, code)
	}
}

// A server that notices the deadline first resets the stream with CANCEL. Proxies before it make
// something else of that.
func TestDeadlineNoticedByThePeer(t *testing.T) {
	tests := []struct {
		name   string
		frames []func(*script)
	}{
		{"gRPC", []func(*script){rst(1, http2.ErrCodeCancel)}},
		{"nghttpx", []func(*script){rst(1, http2.ErrCodeInternal)}},
		{"HAProxy", []func(*script){rst(1, http2.ErrCodeRefusedStream)}},
		{"HAProxy after the header", []func(*script){ok(1), data(1, true, nil)}},
		{"nginx", []func(*script){headers(1, false, ":status", "502", "content-type", "text/html"), data(1, true, []byte("Bad Gateway"))}},
		{"nginx after the header", []func(*script){ok(1), message(1, "a"), rst(1, http2.ErrCodeInternal)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				c, s, _ := start(t, Options{})
				ch := begin(t, c, Request{Deadline: time.Now().Add(1001 * time.Millisecond)})
				time.Sleep(1001 * time.Millisecond) // the wheel has not noticed yet
				s.send(tt.frames...)
				wantError(t, end(t, ch).err, KindDeadline, codes.DeadlineExceeded, false)
				stop(t, c)
			})
		})
	}
}

// A call can be started again when it has ended, also on another connection, and nothing of the
// earlier call is left.
func TestCallsAreUsedAgain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c1, s1, _ := start(t, Options{})
		c2, s2, _ := start(t, Options{})
		call := new(Call)
		run := func(c *Conn, s *script, id uint32, frames ...func(*script)) (string, error) {
			var text string
			var err error
			done := make(chan struct{})
			go func() {
				defer close(done)
				text, err = unary(t.Context(), c, call, Request{Method: "/a/b", Body: [][]byte{{1}}})
			}()
			synctest.Wait()
			s.send(frames...)
			<-done
			return text, err
		}
		if text, err := run(c1, s1, 1, ok(1), message(1, "one"), trailer(1, "5", "x", "y", "grpc-message", "m")); err != nil || text != "(none)" || call.Status().Code != codes.NotFound {
			t.Error(text, err, call.Status())
		}
		if text, err := run(c2, s2, 1, ok(1), message(1, "two"), trailer(1, "0")); err != nil || text != "two" || call.Status() != (Status{}) || len(call.Trailer()) != 0 {
			t.Error(text, err, call.Status(), call.Trailer())
		}
		if _, err := run(c2, s2, 3, rst(3, http2.ErrCodeInternal)); err == nil {
			t.Error("no error")
		}
		if text, err := run(c1, s1, 3, ok(3), message(3, "three"), trailer(3, "0")); err != nil || text != "three" {
			t.Error(text, err)
		}
		stop(t, c1)
		stop(t, c2)
	})
}

func TestStreamEndsWithoutMessages(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c, s, _ := start(t, Options{})
		call := new(Call)
		if err := c.Start(call, &Request{Method: "/a/b"}); err != nil {
			t.Fatal(err)
		}
		call.CloseSend()
		call.CloseSend()
		synctest.Wait()
		if got := s.frames(http2.FrameData); len(got) != 1 || got[0].length != 0 || !got[0].flags.Has(http2.FlagDataEndStream) {
			t.Errorf("the client sent %v, want one empty DATA frame that ends the stream", got)
		}
		s.send(headers(1, true, ":status", "200", "content-type", "application/grpc", "grpc-status", "12"))
		if header, err := call.Header(t.Context()); header != nil || err != nil {
			t.Error(header, err)
		}
		if _, err := call.Recv(t.Context()); !errors.Is(err, io.EOF) || call.Status().Code != codes.Unimplemented {
			t.Error(err, call.Status())
		}
		stop(t, c)
	})
}

func TestRequestsThatCannotBeSent(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c, s, _ := start(t, Options{}, http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: 1000})
		s.frames()
		for name, tt := range map[string]struct {
			request Request
			kind    Kind
			code    codes.Code
		}{
			"no method":           {Request{}, KindInvalid, codes.Internal},
			"method with newline": {Request{Method: "/a\nb"}, KindInvalid, codes.Internal},
			"authority":           {Request{Method: "/a/b", Authority: "a\x00"}, KindInvalid, codes.Internal},
			"upper case":          {Request{Method: "/a/b", Metadata: []Field{{"A", "b"}}}, KindInvalid, codes.Internal},
			"empty name":          {Request{Method: "/a/b", Metadata: []Field{{"", "b"}}}, KindInvalid, codes.Internal},
			"binary value":        {Request{Method: "/a/b", Metadata: []Field{{"a", "\xff"}}}, KindInvalid, codes.Internal},
			"too large":           {Request{Method: "/a/b", Metadata: []Field{{"a", strings.Repeat("b", 1000)}}}, KindRequestTooLarge, codes.Internal},
			"late":                {Request{Method: "/a/b", Deadline: time.Now().Add(-1)}, KindDeadline, codes.DeadlineExceeded},
		} {
			call := new(Call)
			tt.request.Unary = true
			err := c.Start(call, &tt.request)
			wantError(t, err, tt.kind, tt.code, true)
			if _, again := call.Wait(t.Context()); !errors.Is(again, err) {
				t.Errorf("%s: Wait returns %v, want the error of Start", name, again)
			}
		}
		if got := s.frames(http2.FrameHeaders); len(got) > 0 {
			t.Errorf("the client sent %v", got)
		}
		stop(t, c)
	})
}
