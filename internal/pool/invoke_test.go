package pool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/caddy-grpc/gateway/internal/unary"
)

// newCall returns a call of methodEcho.
func newCall(text string) *unary.Call {
	buf := []byte(text)
	return &unary.Call{Method: methodEcho, Request: &buf, Buffers: mem.DefaultBufferPool()}
}

func TestWholeCallTellsItsInstance(t *testing.T) {
	bad, good := startBackend(t, ""), startBackend(t, "")
	bad.fails.Store(&failing{code: codes.Unavailable})
	f := &manualFeed{}
	c := openChannel(t, Settings{Balance: BalanceRoundRobin, RetryBackoffBase: time.Millisecond, EjectFailures: -1}, f)
	f.list(bad.addr, good.addr)
	eventually(t, "both are ready", func() bool { return readyEndpoints(c) == 2 })
	for range 4 {
		u := newCall("x")
		u.Idempotent = true
		err := c.Call(t.Context(), u)
		if got := bytes.Join(u.Response.AppendParts(nil), nil); err != nil || string(got) != "x" {
			t.Errorf("reply is %q, %v", got, err)
		}
		u.Response.Free()
		if u.Endpoint != good.addr {
			t.Errorf("the instance is %q, want %q", u.Endpoint, good.addr)
		}
		if len(u.Header.Get("content-type")) == 0 {
			t.Errorf("header is %v", u.Header)
		}
	}
	if n := c.Snapshot().Retries; n == 0 {
		t.Error("no call met the bad instance first")
	}
}

// The object of a call is used again. Nothing of a call that was answered may show in one that
// never reaches an instance.
func TestWholeCallKnowsNothingOfOtherCalls(t *testing.T) {
	b := startBackend(t, "")
	f := oneInstance(b.addr)
	c := openChannel(t, Settings{}, f)
	ready(t, c)
	for range 10 {
		u := newCall("before")
		u.Metadata, u.Idempotent = []string{"from", "before"}, true
		if err := c.Call(t.Context(), u); err != nil {
			t.Fatal(err)
		}
		u.Response.Free()
	}
	b.headers.Clear()
	u := newCall("x")
	if err := c.Call(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	u.Response.Free()
	if from := b.header("from"); from != "" {
		t.Errorf("the request has the metadata %q of another", from)
	}
	f.list()
	eventually(t, "the instance is gone", func() bool { return readyEndpoints(c) == 0 })
	for _, idempotent := range []bool{false, true} {
		u := newCall("x")
		u.Idempotent = idempotent
		if err := c.Call(t.Context(), u); status.Code(err) != codes.Unavailable {
			t.Errorf("error is %v, want UNAVAILABLE", err)
		}
		if u.Header != nil || u.Trailer != nil || u.Endpoint != "" || u.Response.Len() != 0 {
			t.Errorf("header %v, trailer %v, instance %q, %d bytes", u.Header, u.Trailer, u.Endpoint, u.Response.Len())
		}
	}
}

// Nothing of a call of Invoke shows in a call of Call, which uses its object again.
func TestCallAfterInvoke(t *testing.T) {
	b := startBackend(t, "")
	c := openChannel(t, Settings{Transport: TransportWire}, oneInstance(b.addr))
	ready(t, c)
	for range 20 {
		finished := 0
		options := []grpc.CallOption{grpc.MaxCallRecvMsgSize(10), grpc.OnFinish(func(error) { finished++ }), Idempotent()}
		var reply mem.BufferSlice
		ctx := metadata.NewOutgoingContext(t.Context(), metadata.Pairs("from", "invoke"))
		if err := Uncounted(c).Invoke(ctx, methodEcho, raw("x"), &reply, options...); err != nil {
			t.Fatal(err)
		}
		reply.Free()
		picks := c.Snapshot().Picks
		b.headers.Clear()
		u := newCall("a request of more than ten bytes")
		u.Metadata = []string{"from", "call"}
		if err := c.Call(t.Context(), u); err != nil {
			t.Fatal(err)
		}
		u.Response.Free()
		if from := b.header("from"); from != "call" {
			t.Errorf("the metadata is that of %q", from)
		}
		if n := c.Snapshot().Picks - picks; n != 1 || finished != 1 {
			t.Errorf("%d picks, want that of the call; %d ends, want that of Invoke", n, finished)
		}
	}
}

// An attempt that never reaches an instance has no header, even if the one before had one.
func TestLastAttemptHasItsOwnHeader(t *testing.T) {
	f := new(manualFeed)
	addr := startScript(t, func(s *script, id uint32) {
		f.list()
		s.header(id)
		s.headers(id, true, "grpc-status: 14")
	})
	c := openChannel(t, Settings{RetryBackoffBase: 200 * time.Millisecond, RetryBackoffMax: 200 * time.Millisecond}, f)
	f.list(addr)
	ready(t, c)
	u := newCall("x")
	u.Idempotent = true
	err := c.Call(t.Context(), u)
	var none *UnavailableError
	if !errors.As(err, &none) || u.Header != nil || u.Trailer != nil {
		t.Errorf("error is %v, header %v, trailer %v", err, u.Header, u.Trailer)
	}
	if u.Endpoint != addr {
		t.Errorf("the last instance that had the call is %q, want %q", u.Endpoint, addr)
	}
}

// Whole calls give their requests back, and once only, whatever becomes of them. If an instance
// fails without reading, grpc may drop the request instead (http2_client.go and controlbuf.go of
// grpc-go 1.85.0: DATA of a stream that was cleaned up). Then the garbage collector takes it.
func TestWholeCallGivesItsRequestBack(t *testing.T) {
	b := startBackend(t, "")
	c := openChannel(t, Settings{RetryBackoffBase: time.Millisecond}, oneInstance(b.addr))
	ready(t, c)
	wire := openChannel(t, Settings{RetryBackoffBase: time.Millisecond, Transport: TransportWire}, oneInstance(b.addr))
	ready(t, wire)
	empty := openChannel(t, Settings{}, new(manualFeed))
	closed := openChannel(t, Settings{}, new(manualFeed))
	if err := closed.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	past := time.Now().Add(-time.Second)
	for name, tc := range map[string]struct {
		channel  *Channel
		ctx      context.Context
		deadline time.Time
		fails    *failing
		want     codes.Code
	}{
		"answered":                  {channel: c, ctx: t.Context()},
		"failed":                    {channel: c, ctx: t.Context(), fails: &failing{code: codes.NotFound, reads: true}, want: codes.NotFound},
		"failed again and again":    {channel: c, ctx: t.Context(), fails: &failing{code: codes.Unavailable, reads: true}, want: codes.Unavailable},
		"failed unread":             {channel: wire, ctx: t.Context(), fails: &failing{code: codes.NotFound}, want: codes.NotFound},
		"failed unread again":       {channel: wire, ctx: t.Context(), fails: &failing{code: codes.Unavailable}, want: codes.Unavailable},
		"its caller had gone":       {channel: c, ctx: gone, want: codes.Canceled},
		"its deadline had passed":   {channel: c, ctx: t.Context(), deadline: past, want: codes.DeadlineExceeded},
		"no instance is known":      {channel: empty, ctx: t.Context(), want: codes.Unavailable},
		"after the end of the pool": {channel: closed, ctx: t.Context(), want: codes.Unavailable},
	} {
		for _, idempotent := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, idempotent %v", name, idempotent), func(t *testing.T) {
				b.fails.Store(tc.fails)
				pool := new(countingPool)
				u := &unary.Call{Method: methodEcho, Request: pool.Get(10_000), Buffers: pool, Idempotent: idempotent, Deadline: tc.deadline}
				if err := tc.channel.Call(tc.ctx, u); status.Code(err) != tc.want {
					t.Errorf("error is %v, want %v", err, tc.want)
				}
				u.Response.Free()
				eventually(t, "the request is given back", func() bool { return pool.out.Load() == 0 })
			})
		}
	}
}

// A request that never reaches an instance is also freed, and its lease is returned.
func TestWholeCallWithoutAnInstance(t *testing.T) {
	f := &manualFeed{}
	c := openChannel(t, Settings{}, f)
	f.list()
	pool := &countingPool{}
	data := make([]byte, 10_000)
	for _, opts := range [][]grpc.CallOption{nil, {Idempotent()}} {
		err := c.Invoke(t.Context(), methodEcho, mem.BufferSlice{mem.Copy(data, pool)}, &mem.BufferSlice{}, opts...)
		if status.Code(err) != codes.Unavailable {
			t.Errorf("error is %v, want UNAVAILABLE", err)
		}
	}
	if n := pool.out.Load(); n != 0 {
		t.Errorf("%d buffers were not freed", n)
	}
	if n := c.Snapshot().Leases; n != 0 {
		t.Errorf("%d leases were not returned", n)
	}
}

// What Invoke says of the answer is that of the call, even if it has none.
func TestInvokeForgetsWhatWasBefore(t *testing.T) {
	f := &manualFeed{}
	c := openChannel(t, Settings{}, f)
	f.list()
	header, trailer := metadata.Pairs("from", "before"), metadata.Pairs("from", "before")
	err := c.Invoke(t.Context(), methodEcho, raw("x"), &mem.BufferSlice{}, Idempotent(), grpc.Header(&header), grpc.Trailer(&trailer))
	if status.Code(err) != codes.Unavailable {
		t.Errorf("error is %v, want UNAVAILABLE", err)
	}
	if header != nil || trailer != nil {
		t.Errorf("header %v and trailer %v are left", header, trailer)
	}
}
