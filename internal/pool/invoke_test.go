package pool

import (
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// toldEndpoint is an option that notes which instances it is told.
type toldEndpoint struct {
	grpc.EmptyCallOption

	addrs *[]string
}

func (o toldEndpoint) SetEndpoint(addr string) { *o.addrs = append(*o.addrs, addr) }

func TestWholeCallTellsItsInstances(t *testing.T) {
	bad, good := startBackend(t, ""), startBackend(t, "")
	bad.fails.Store(&failing{code: codes.Unavailable})
	f := &manualFeed{}
	c := openChannel(t, Settings{Balance: BalanceRoundRobin, RetryBackoffBase: time.Millisecond, EjectFailures: -1}, f)
	f.list(bad.addr, good.addr)
	eventually(t, "both are ready", func() bool { return readyEndpoints(c) == 2 })
	retried := false
	for range 4 {
		var (
			addrs   []string
			header  metadata.MD
			trailer metadata.MD
			reply   mem.BufferSlice
		)
		err := c.Invoke(t.Context(), methodEcho, raw("x"), &reply, Idempotent(), toldEndpoint{addrs: &addrs}, grpc.Header(&header), grpc.Trailer(&trailer))
		if err != nil || string(reply.Materialize()) != "x" {
			t.Errorf("reply is %q, %v", reply.Materialize(), err)
		}
		reply.Free()
		switch {
		case len(addrs) == 0 || addrs[len(addrs)-1] != good.addr:
			t.Errorf("told of %v, want %s at last", addrs, good.addr)
		case len(addrs) > 1:
			retried = true
		}
		if len(header.Get("content-type")) == 0 {
			t.Errorf("header is %v", header)
		}
	}
	if !retried {
		t.Error("no call met the bad instance first")
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

// If an attempt never reaches an instance, the metadata of an earlier attempt must not be returned
// for it.
func TestWholeCallForgetsTheMetadataOfEarlierAttempts(t *testing.T) {
	f := &manualFeed{}
	c := openChannel(t, Settings{}, f)
	f.list()
	header, trailer := metadata.Pairs("from", "before"), metadata.Pairs("from", "before")
	addr := []string{}
	err := c.Invoke(t.Context(), methodEcho, raw("x"), &mem.BufferSlice{}, Idempotent(), grpc.Header(&header), grpc.Trailer(&trailer), toldEndpoint{addrs: &addr})
	if status.Code(err) != codes.Unavailable {
		t.Errorf("error is %v, want UNAVAILABLE", err)
	}
	if header != nil || trailer != nil || len(addr) > 0 {
		t.Errorf("header %v, trailer %v, instances %q are left", header, trailer, addr)
	}
}
