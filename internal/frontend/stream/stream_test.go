package stream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/frontend/envelope"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// script is an RPC that a test plays by hand.
type script struct {
	ctx    context.Context
	cancel context.CancelFunc
	header chan metadata.MD
	events chan any // a string is a message, an error is the end
	drain  *frontend.Drain

	// together says that messages that have come can be received at once.
	together bool

	received int
	ended    bool // Recv has returned an error
}

func newScript(t *testing.T) *script {
	s := &script{header: make(chan metadata.MD, 1), events: make(chan any, 100), drain: frontend.NewDrain()}
	s.ctx, s.cancel = context.WithCancel(t.Context())
	return s
}

func (s *script) Context() context.Context { return s.ctx }
func (s *script) Close()                   { s.cancel() }

func (s *script) Header() metadata.MD {
	select {
	case md := <-s.header:
		return md
	case <-s.ctx.Done():
		return nil
	}
}

func (s *script) Recv() (mem.BufferSlice, error) {
	select {
	case e := <-s.events:
		if err, ok := e.(error); ok {
			s.ended = true
			return nil, err
		}
		s.received++
		return mem.BufferSlice{mem.SliceBuffer(e.(string))}, nil
	case <-s.ctx.Done():
		s.ended = true
		return nil, frontend.Errorf(codes.Canceled, "cancelled")
	}
}

func (s *script) RecvWaiting(dst []byte, limit int) (framed []byte, messages int) {
	if !s.together {
		return dst, 0
	}
	for len(dst) < limit {
		select {
		case e := <-s.events:
			text, ok := e.(string)
			if !ok {
				s.events <- e // it is the last one
				return dst, messages
			}
			dst = envelope.Seal(append(envelope.Begin(dst), text...), len(dst), 0, envelope.Identity)
			s.received++
			messages++
		default:
			return dst, messages
		}
	}
	return dst, messages
}

// record is a Sink that notes what is called.
type record struct {
	rpc   *script
	early bool
	calls []string
	fail  error         // of Write
	block chan struct{} // what Write waits for, if not nil

	readTrailer bool // Finish or Refuse came before the end of the RPC was received
}

func (r *record) notef(format string, args ...any) {
	r.calls = append(r.calls, fmt.Sprintf(format, args...))
}

func (r *record) Room(size int) int { return size + 1 }

func (r *record) Append(dst []byte, msg [][]byte, n uint64) ([]byte, error) {
	text := string(bytes.Join(msg, nil))
	if text == "bad" {
		return dst, errors.New("no form")
	}
	return append(append(dst, text...), ','), nil
}

func (r *record) Early() bool             { return r.early }
func (r *record) Open(header metadata.MD) { r.notef("open %s", strings.Join(header.Get("h"), "")) }
func (r *record) Flush() error            { r.notef("flush"); return nil }
func (r *record) Beat() error             { r.notef("beat"); return nil }

func (r *record) Write(batch []byte, ends []int) error {
	r.notef("write %s", batch)
	if r.block != nil {
		<-r.block
	}
	return r.fail
}

func (r *record) Refuse(header metadata.MD, err *frontend.Error) error {
	r.readTrailer = r.readTrailer || !r.rpc.ended
	r.notef("refuse %s%s", strings.Join(header.Get("h"), ""), frontend.CodeName(err.Code()))
	return err
}

func (r *record) Finish(batch *[]byte, ends []int, err *frontend.Error) error {
	r.readTrailer = r.readTrailer || !r.rpc.ended
	if err != nil {
		r.notef("finish %s%s", *batch, frontend.CodeName(err.Code()))
		return nil
	}
	r.notef("finish %s", *batch)
	return nil
}

// play runs a stream in a bubble with fake time: do is what the service and the server do
// meanwhile.
func play(t *testing.T, settings func(*Settings, *record), do func(s *script), want ...string) frontend.Info {
	t.Helper()
	playWith(t, true, settings, do, want)
	return playWith(t, false, settings, do, want)
}

func playWith(t *testing.T, together bool, settings func(*Settings, *record), do func(s *script), want []string) frontend.Info {
	t.Helper()
	var info frontend.Info
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t)
		s.together = together
		r := &record{rpc: s}
		set := Settings{Source: s, Sink: r, Info: &info, Limit: 1 << 10, Drain: s.drain}
		if settings != nil {
			settings(&set, r)
		}
		q := New(set)
		go do(s)
		_ = q.Run()
		q.Stop()
		if !slices.Equal(r.calls, want) {
			t.Errorf("together=%t: got  %q\nwant %q", together, r.calls, want)
		}
		if r.readTrailer {
			t.Error("the trailer metadata was read while the RPC went on")
		}
	})
	return info
}

// step lets everything happen that can.
func step() { time.Sleep(time.Millisecond) }

func TestStream(t *testing.T) {
	grace := func(set *Settings, r *record) { set.HeaderGrace, r.early = time.Second, true }
	header := metadata.Pairs("h", "v ")
	gone := frontend.Errorf(codes.NotFound, "gone")
	for _, tc := range []struct {
		name     string
		settings func(*Settings, *record)
		do       func(s *script)
		want     []string
		code     codes.Code
	}{
		{name: "each message of a quiet stream is written at once", do: func(s *script) {
			s.header <- header
			for i := range 3 {
				s.events <- fmt.Sprint(i)
				step()
			}
			s.events <- io.EOF
		}, want: []string{"open v ", "write 0,", "write 1,", "write 2,", "finish "}},
		{name: "a stream without messages is opened", do: func(s *script) {
			s.header <- header
			s.events <- io.EOF
		}, want: []string{"open v ", "finish "}},
		{name: "an error before the first message is an answer of its own", do: func(s *script) {
			s.header <- header
			s.events <- gone
		}, want: []string{"refuse v NOT_FOUND"}, code: codes.NotFound},
		{name: "an error after a message ends the stream", do: func(s *script) {
			s.header <- header
			s.events <- "a"
			step()
			s.events <- gone
		}, want: []string{"open v ", "write a,", "finish NOT_FOUND"}, code: codes.NotFound},
		{name: "a message that cannot be encoded ends the RPC", do: func(s *script) {
			s.header <- header
			s.events <- "a"
			step()
			s.events <- "bad"
			s.events <- "b"
		}, want: []string{"open v ", "write a,", "finish INTERNAL"}, code: codes.Internal},
		{name: "a header alone is written where the sink allows it", settings: func(_ *Settings, r *record) { r.early = true }, do: func(s *script) {
			s.header <- header
			step()
			s.events <- "a"
			step()
			s.events <- io.EOF
		}, want: []string{"open v ", "flush", "write a,", "finish "}},
		{name: "a header alone waits for a message to go with", settings: grace, do: func(s *script) {
			s.header <- header
			time.Sleep(999 * time.Millisecond)
			s.events <- "a"
			time.Sleep(time.Minute)
			s.events <- io.EOF
		}, want: []string{"open v ", "write a,", "finish "}},
		{name: "a header alone waits for an error, which is then an answer of its own", settings: grace, do: func(s *script) {
			s.header <- header
			time.Sleep(999 * time.Millisecond)
			s.events <- gone
		}, want: []string{"refuse v NOT_FOUND"}, code: codes.NotFound},
		{name: "a header alone does not wait for long", settings: grace, do: func(s *script) {
			s.header <- header
			time.Sleep(1001 * time.Millisecond)
			s.events <- gone
		}, want: []string{"open v ", "flush", "finish NOT_FOUND"}, code: codes.NotFound},
		{name: "a header that never goes alone", settings: func(set *Settings, _ *record) { set.HeaderGrace = time.Second }, do: func(s *script) {
			s.header <- header
			time.Sleep(time.Minute)
			s.events <- gone
		}, want: []string{"refuse v NOT_FOUND"}, code: codes.NotFound},
		{name: "a service that sends nothing, not even a header, and a sink without heartbeats", settings: func(set *Settings, r *record) {
			set.Quiet, r.early = 10*time.Second, true
		}, do: func(s *script) {
			time.Sleep(time.Minute)
			s.header <- header
			s.events <- "a"
			time.Sleep(time.Minute)
			s.events <- io.EOF
		}, want: []string{"open ", "flush", "write a,", "finish "}},
		{name: "a method that answers once", settings: func(set *Settings, _ *record) { set.Single = true }, do: func(s *script) {
			s.header <- header
			s.ended = true
			s.events <- "a"
			s.events <- "never received"
		}, want: []string{"open v ", "finish a,"}},
		{name: "heartbeats come while nothing is written", settings: func(set *Settings, _ *record) { set.Quiet, set.Beats = 10*time.Second, true }, do: func(s *script) {
			s.header <- header
			s.events <- "a"
			time.Sleep(9 * time.Second)
			s.events <- "b"
			time.Sleep(25 * time.Second)
			s.events <- io.EOF
		}, want: []string{"open v ", "write a,", "write b,", "beat", "beat", "finish "}},
		{name: "the first heartbeat does not wait for header metadata", settings: func(set *Settings, _ *record) { set.Quiet, set.Beats = 10*time.Second, true }, do: func(s *script) {
			time.Sleep(11 * time.Second)
			s.header <- header
			s.events <- gone
		}, want: []string{"open ", "flush", "beat", "finish NOT_FOUND"}, code: codes.NotFound},
		{name: "the client leaves", settings: func(_ *Settings, r *record) { r.fail = io.ErrClosedPipe }, do: func(s *script) {
			s.header <- header
			s.events <- "a"
		}, want: []string{"open v ", "write a,"}, code: codes.Canceled},
		{name: "the client has enough", settings: func(_ *Settings, r *record) { r.fail = ErrEnough }, do: func(s *script) {
			s.header <- header
			s.events <- "a"
		}, want: []string{"open v ", "write a,"}},
		{name: "the server stops", settings: func(set *Settings, _ *record) { set.CloseDelay = time.Minute }, do: func(s *script) {
			s.header <- header
			s.events <- "a"
			step()
			s.drain.Close()
			time.Sleep(59 * time.Second)
			s.events <- "b"
		}, want: []string{"open v ", "write a,", "write b,", "finish UNAVAILABLE"}, code: codes.Unavailable},
		{name: "an explanation replaces the error", settings: func(set *Settings, _ *record) { set.Explain = func(error) error { return gone } }, do: func(s *script) {
			s.events <- frontend.Errorf(codes.Canceled, "cancelled")
			s.header <- header
		}, want: []string{"refuse v NOT_FOUND"}, code: codes.NotFound},
	} {
		t.Run(tc.name, func(t *testing.T) {
			info := play(t, tc.settings, tc.do, tc.want...)
			if info.Code != tc.code {
				t.Errorf("it is noted as %s, want %s", info.Code, tc.code)
			}
		})
	}
}

func TestMessagesThatWaitAreWrittenInOneGo(t *testing.T) {
	var block chan struct{}
	play(t, func(_ *Settings, r *record) {
		block = make(chan struct{})
		r.block = block
	}, func(s *script) {
		s.header <- metadata.MD{}
		for i := range 10 {
			s.events <- fmt.Sprint(i)
			step()
		}
		close(block)
		step()
		s.events <- io.EOF
	}, "open ", "write 0,", "write 1,2,3,4,5,6,7,8,9,", "finish ")
}

func TestSlowReaderStopsTheReceiving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t)
		r := &record{rpc: s, block: make(chan struct{})}
		q := New(Settings{Source: s, Sink: r, Info: &frontend.Info{}, Limit: 1 << 10})
		ran := make(chan struct{})
		go func() {
			defer close(ran)
			_ = q.Run()
		}()
		s.header <- nil
		message := strings.Repeat("x", 99)
		s.events <- message
		synctest.Wait() // The writer is stuck with the first message.
		for range 50 {
			s.events <- message
		}
		synctest.Wait()
		if want := 1 + 11; s.received != want {
			t.Errorf("%d messages were received, want %d: what is written and 1 KiB", s.received, want)
		}
		// The client leaves: what has come meanwhile is thrown away up to the end of the RPC.
		s.cancel()
		r.fail = io.ErrClosedPipe
		close(r.block)
		<-ran
		q.Stop()
		if !s.ended {
			t.Error("the RPC was not received to its end")
		}
	})
}

// TestReceivingAtOnceIsBounded: a slow reader stops it as well. No more than before is encoded.
func TestReceivingAtOnceIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t)
		s.together = true
		q := New(Settings{Source: s, Sink: &record{rpc: s}, Info: &frontend.Info{}, Limit: 1 << 10})
		s.header <- nil
		message := strings.Repeat("x", 95)
		for range 100 {
			s.events <- message
		}
		synctest.Wait()
		if want := 1 + 30; s.received != want {
			t.Errorf("%d messages were received, want %d: one, and %d bytes", s.received, want, maxWaiting)
		}
		var got string
		for _, want := range []int{11, 11, 9 + 2, 11} { // 1 KiB, also at the end of a batch
			part := string(*q.take().buf)
			if n := strings.Count(part, ","); n != want {
				t.Errorf("%d messages wait, want %d", n, want)
			}
			got += part
			synctest.Wait()
		}
		if got != strings.Repeat(message+",", 44) {
			t.Errorf("got %q", got)
		}
		q.Stop()
		if !s.ended {
			t.Error("the RPC was not received to its end")
		}
	})
}

// TestBadMessageAmongOthers: the messages before it are written, and those after it are not.
func TestBadMessageAmongOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t)
		s.together = true
		for _, e := range []any{"1", "2", "bad", "3", io.EOF} {
			s.events <- e
		}
		s.header <- nil
		q := New(Settings{Source: s, Sink: &record{rpc: s}, Info: &frontend.Info{}, Limit: 1 << 10})
		synctest.Wait()
		if b := q.take(); string(*b.buf) != "1,2," || !b.over || b.err == nil {
			t.Errorf("got %s, over %t, %v", *b.buf, b.over, b.err)
		}
		q.Stop()
	})
}

// empty is a Sink whose messages have no bytes.
type empty struct{ *record }

func (empty) Append(dst []byte, _ [][]byte, _ uint64) ([]byte, error) { return dst, nil }

func TestEmptyMessages(t *testing.T) {
	for _, together := range []bool{false, true} {
		t.Run(fmt.Sprint("together=", together), func(t *testing.T) { testEmptyMessages(t, together) })
	}
}

func testEmptyMessages(t *testing.T, together bool) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t)
		s.together = together
		s.events = make(chan any, 2*maxEnds)
		q := New(Settings{Source: s, Sink: empty{&record{rpc: s}}, Info: &frontend.Info{}, Limit: 1 << 10, KeepEnds: true})
		s.header <- nil
		s.events <- ""
		synctest.Wait()
		if b := q.take(); b.buf == nil || !slices.Equal(b.ends, []int{0}) {
			t.Errorf("an empty message is lost where each is written on its own: %+v", b)
		}
		for range 2 * maxEnds {
			s.events <- ""
		}
		synctest.Wait()
		if got := len(q.take().ends); got != maxEnds {
			t.Errorf("%d empty messages wait, want %d", got, maxEnds)
		}
		q.Stop()
	})
}

func TestQuietStreamHoldsNoBuffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t)
		q := New(Settings{Source: s, Sink: &record{rpc: s}, Info: &frontend.Info{}, Limit: 1 << 10, KeepEnds: true})
		s.header <- nil
		s.events <- "a"
		s.events <- "bc"
		synctest.Wait()
		if b := q.take(); string(*b.buf) != "a,bc," || !slices.Equal(b.ends, []int{2, 5}) {
			t.Errorf("got %s %v", *b.buf, b.ends)
		}
		if b := q.take(); b.buf != nil || q.pending != nil || q.ends != nil {
			t.Error("it holds a buffer")
		}
		s.events <- "bad"
		synctest.Wait()
		if b := q.take(); b.buf != nil || !b.over {
			t.Error("a message that cannot be encoded leaves a buffer")
		}
		q.Stop()
	})
}

// panicking is an RPC whose receiving panics.
type panicking struct{ *script }

func (panicking) Recv() (mem.BufferSlice, error) { panic("received") }

func TestPanicOfTheReceiverReachesTheHandler(t *testing.T) {
	s := newScript(t)
	s.header <- nil
	s.ended = true
	r := &record{rpc: s}
	q := New(Settings{Source: panicking{s}, Sink: r, Info: &frontend.Info{}, Limit: 1 << 10})
	_ = q.Run()
	if want := []string{"refuse INTERNAL"}; !slices.Equal(r.calls, want) {
		t.Errorf("got %q, want %q", r.calls, want)
	}
	defer func() {
		if recover() != "received" {
			t.Error("Stop does not panic")
		}
	}()
	q.Stop()
}
