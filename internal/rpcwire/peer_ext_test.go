package rpcwire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
)

func TestUnaryCall(t *testing.T) {
	c := dial(t, startEcho(t).addr, Options{Buffers: mem.DefaultBufferPool()})
	call := new(Call)
	for _, size := range []int{0, 1, 100, 16<<10 - 5, 16 << 10, 64<<10 - 5, 64 << 10, 100_000, 1 << 20, 4 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			body := strings.Repeat("x", size)
			got, err := unary(t.Context(), c, call, Request{
				Method: methodEcho, Body: [][]byte{[]byte(body[:size/3]), []byte(body[size/3:])}, Deadline: time.Now().Add(time.Minute),
				Metadata: []Field{{"who", "me"}, {"some-bin", "\x00\x01\xff"}, {"who", "you"}, {"te", "dropped"}},
			})
			if err != nil {
				t.Fatal(err)
			}
			if got != body {
				t.Errorf("the answer has %d bytes, want %d", len(got), size)
			}
			header, ok := call.ResponseHeader()
			if !ok || value(header, "from") != "header" || value(header, "who") != "me" || value(header, "some-bin") != "\x00\x01\xff" {
				t.Errorf("the header is %q", header)
			}
			if value(call.Trailer(), "from") != "trailer" || value(call.Trailer(), "bytes-bin") != "\x00\xff," {
				t.Errorf("the trailer is %q", call.Trailer())
			}
			if call.Status() != (Status{}) {
				t.Errorf("the status is %v", call.Status())
			}
		})
	}
}

func TestStatusOfThePeer(t *testing.T) {
	c := dial(t, startEcho(t).addr, Options{})
	call := new(Call)
	got, err := unary(t.Context(), c, call, Request{Method: methodFail, Body: [][]byte{[]byte("x")}})
	if err != nil || got != "(none)" {
		t.Fatal(got, err)
	}
	if want := (Status{codes.FailedPrecondition, "50 % of ünicode\nis lost"}); call.Status() != want {
		t.Errorf("the status is %v, want %v", call.Status(), want)
	}
	if !call.Written() || !call.Answered() {
		t.Error("the call was not written, or not answered")
	}
}

func TestFramedBody(t *testing.T) {
	c := dial(t, startEcho(t).addr, Options{})
	got, err := unary(t.Context(), c, new(Call), Request{Method: methodEcho, Framed: true, Body: [][]byte{{0, 0, 0}, {0, 2, 'h'}, {'i'}}})
	if err != nil || got != "hi" {
		t.Fatal(got, err)
	}
}

func TestServerStream(t *testing.T) {
	c := dial(t, startEcho(t).addr, Options{Buffers: mem.DefaultBufferPool()})
	for _, size := range []int{0, 10, 20_000, 300_000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			call := new(Call)
			times := min(2000, 1+20<<20/(size+1))
			if err := c.Start(call, &Request{Method: methodRepeat, Metadata: []Field{{"times", fmt.Sprint(times)}}}); err != nil {
				t.Fatal(err)
			}
			msg := bytes.Repeat([]byte("y"), size)
			if err := call.Send(t.Context(), false, msg); err != nil {
				t.Fatal(err)
			}
			call.CloseSend()
			header, err := call.Header(t.Context())
			if err != nil || value(header, "from") != "header" {
				t.Fatal(header, err)
			}
			for i := range times {
				m, err := call.Recv(t.Context())
				if err != nil {
					t.Fatal(i, err)
				}
				if got := c.text(m); got != string(msg) {
					t.Fatalf("message %d has %d bytes, want %d", i, len(got), size)
				}
			}
			if m, err := call.Recv(t.Context()); !errors.Is(err, io.EOF) {
				t.Fatal(m, err)
			}
			if call.Status().Code != codes.OK || value(call.Trailer(), "from") != "trailer" {
				t.Error(call.Status(), call.Trailer())
			}
		})
	}
}

func TestClientStream(t *testing.T) {
	c := dial(t, startEcho(t).addr, Options{})
	for _, size := range []int{0, 10, 20_000, 300_000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			call := new(Call)
			if err := c.Start(call, &Request{Method: methodCollect}); err != nil {
				t.Fatal(err)
			}
			times := min(2000, 1+20<<20/(size+1))
			msg := make([]byte, size)
			for range times {
				if err := call.Send(t.Context(), false, msg); err != nil {
					t.Fatal(err)
				}
				for i := range msg {
					msg[i]++ // it belongs to the caller again
				}
			}
			call.CloseSend()
			m, err := call.Recv(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got := c.text(m); got != fmt.Sprint(times*size) {
				t.Errorf("the server got %s bytes, want %d", got, times*size)
			}
			if _, err := call.Recv(t.Context()); !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			if err := call.Send(t.Context(), false, msg); !errors.Is(err, io.EOF) {
				t.Errorf("Send after the end returns %v, want EOF", err)
			}
		})
	}
}

// The sender and the receiver of a stream are two goroutines. Neither window may deadlock.
func TestBidirectionalStream(t *testing.T) {
	c := dial(t, startEcho(t).addr, Options{Buffers: mem.DefaultBufferPool()})
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(n), 1))
			call := new(Call)
			if err := c.Start(call, &Request{Method: methodEcho}); err != nil {
				t.Error(err)
				return
			}
			var sizes []int
			for range 200 {
				sizes = append(sizes, random.IntN(1<<random.IntN(18)))
			}
			wg.Go(func() {
				for i, size := range sizes {
					if err := call.Send(t.Context(), false, bytes.Repeat([]byte{byte(i)}, size)); err != nil {
						t.Error(i, err)
					}
				}
				call.CloseSend()
			})
			for i, size := range sizes {
				m, err := call.Recv(t.Context())
				if err != nil {
					t.Error(i, err)
					return
				}
				if got := c.text(m); got != strings.Repeat(string([]byte{byte(i)}), size) {
					t.Errorf("message %d has %d bytes, want %d", i, len(got), size)
				}
			}
			if _, err := call.Recv(t.Context()); !errors.Is(err, io.EOF) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestManyConcurrentCalls(t *testing.T) {
	for name, limit := range map[string]uint32{"no limit": 0, "10 streams": 10, "1 stream": 1} {
		t.Run(name, func(t *testing.T) {
			var opts []grpc.ServerOption
			if limit > 0 {
				opts = append(opts, grpc.MaxConcurrentStreams(limit))
			}
			c := dial(t, startEcho(t, opts...).addr, Options{Buffers: mem.DefaultBufferPool()})
			if limit > 0 && c.StreamLimit() != limit {
				t.Errorf("the limit is %d", c.StreamLimit())
			}
			var wg sync.WaitGroup
			for n := range 200 {
				wg.Go(func() {
					call := new(Call)
					for i := range 20 {
						body := strings.Repeat(fmt.Sprint(n, ",", i, ";"), 1+(n*i)%3000)
						got, err := unary(t.Context(), c, call, Request{Method: methodEcho, Body: [][]byte{[]byte(body)}, Deadline: time.Now().Add(time.Minute)})
						if err != nil || got != body {
							t.Errorf("%d bytes sent, %d received: %v", len(body), len(got), err)
							return
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

// Calls are cancelled at random moments. The others must not notice.
func TestCancelAtRandomMoments(t *testing.T) {
	c := dial(t, startEcho(t, grpc.MaxConcurrentStreams(20)).addr, Options{Buffers: mem.DefaultBufferPool()})
	var wg sync.WaitGroup
	var ok, cancelled atomic.Int64
	for n := range 64 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(n), 2))
			call := new(Call)
			for range 100 {
				body := strings.Repeat("z", random.IntN(1<<random.IntN(19)))
				ctx, cancel := context.WithCancel(t.Context())
				if n%2 == 0 {
					time.AfterFunc(time.Duration(random.IntN(2000))*time.Microsecond, cancel)
				}
				got, err := unary(ctx, c, call, Request{Method: methodEcho, Body: [][]byte{[]byte(body)}})
				cancel()
				var e *Error
				switch {
				case err == nil && got == body:
					ok.Add(1)
				case errors.As(err, &e) && e.Kind == KindCancelled && n%2 == 0:
					cancelled.Add(1)
				default:
					t.Errorf("%d bytes sent, %d received: %v", len(body), len(got), err)
					return
				}
			}
		})
	}
	wg.Wait()
	if ok.Load() == 0 || cancelled.Load() == 0 {
		t.Errorf("%d calls ended well, %d were cancelled", ok.Load(), cancelled.Load())
	}
}

// A server that stops and starts again loses calls, but none may hang or be answered wrongly.
func TestServerRestarts(t *testing.T) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := lis.Addr().String()
	for _, graceful := range []bool{false, true} {
		t.Run(fmt.Sprint("graceful=", graceful), func(t *testing.T) {
			if lis == nil {
				if lis, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
					t.Fatal(err)
				}
				addr = lis.Addr().String()
			}
			s := serveEcho(t, lis)
			lis = nil
			events := new(recorder)
			c := dial(t, addr, Options{Events: events})
			var wg sync.WaitGroup
			var ok, lost atomic.Int64
			for range 32 {
				wg.Go(func() {
					call := new(Call)
					for {
						got, err := unary(t.Context(), c, call, Request{Method: methodEcho, Body: [][]byte{[]byte("hello")}})
						var e *Error
						switch {
						case err == nil && got == "hello":
							ok.Add(1)
						case err == nil && call.Status().Code == codes.Unavailable && !graceful:
							lost.Add(1)
						case errors.As(err, &e) && (e.Kind == KindLost || e.Kind == KindDraining):
							if graceful && !e.Unprocessed {
								t.Errorf("a graceful stop lost a call: %v", err)
							}
							return
						default:
							t.Errorf("unexpected: %q, %v, %v", got, err, call.Status())
							return
						}
					}
				})
			}
			eventually(t, "calls are made", func() bool { return ok.Load() > 500 })
			if graceful {
				s.server.GracefulStop()
			} else {
				s.server.Stop()
			}
			wg.Wait()
			<-c.Done()
			if events.closedWith() == nil {
				t.Error("nobody was told that the connection has closed")
			}
			if graceful && len(events.draining) != 1 {
				t.Errorf("draining was told %d times", len(events.draining))
			}
		})
	}
}
