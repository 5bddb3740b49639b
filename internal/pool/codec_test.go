package pool

import (
	"bytes"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func TestRawAndProtoMessagesShareAChannel(t *testing.T) {
	b := startBackend(t, "")
	f := &manualFeed{}
	c := openChannel(t, Settings{}, f)
	f.list(b.addr)
	reply := &wrapperspb.StringValue{}
	if err := c.Invoke(t.Context(), methodEcho, wrapperspb.String("proto"), reply); err != nil || reply.GetValue() != "proto" {
		t.Errorf("reply is %v, %v", reply, err)
	}
	var rawReply mem.BufferSlice
	if err := c.Invoke(t.Context(), methodEcho, raw("raw"), &rawReply); err != nil || string(rawReply.Materialize()) != "raw" {
		t.Errorf("reply is %q, %v", rawReply.Materialize(), err)
	}
	rawReply.Free()
	if got := b.header("content-type"); got != "application/grpc" {
		t.Errorf("content type is %q", got)
	}
}

// With and without retries grpc frees what is sent. A buffer is used again if the sender keeps no
// reference to it.
func TestSentMessagesAreFreed(t *testing.T) {
	b := startBackend(t, "")
	f := &manualFeed{}
	c := openChannel(t, Settings{}, f)
	f.list(b.addr)
	for name, opts := range map[string][]grpc.CallOption{"once": nil, "may be retried": {Idempotent()}} {
		t.Run(name, func(t *testing.T) {
			pool := &countingPool{}
			data := bytes.Repeat([]byte("0123456789"), 1000)
			for range 3 {
				var reply mem.BufferSlice
				if err := c.Invoke(t.Context(), methodEcho, mem.BufferSlice{mem.Copy(data, pool)}, &reply, opts...); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(reply.Materialize(), data) {
					t.Error("the reply is not what was sent")
				}
				reply.Free()
			}
			eventually(t, "all buffers come back", func() bool { return pool.out.Load() == 0 })
		})
	}
}

// countingPool counts its buffers that are in use.
type countingPool struct{ out atomic.Int64 }

func (p *countingPool) Get(n int) *[]byte {
	p.out.Add(1)
	buf := make([]byte, n)
	return &buf
}

func (p *countingPool) Put(*[]byte) { p.out.Add(-1) }

func TestMaxReceiveSize(t *testing.T) {
	b := startBackend(t, "")
	f := &manualFeed{}
	c := openChannel(t, Settings{MaxReceiveSize: 1000}, f)
	f.list(b.addr)
	for _, tt := range []struct {
		size int
		want codes.Code
	}{{1000, codes.OK}, {1001, codes.ResourceExhausted}} {
		var reply mem.BufferSlice
		err := c.Invoke(t.Context(), methodEcho, raw(strings.Repeat("x", tt.size)), &reply)
		reply.Free()
		if got := status.Code(err); got != tt.want {
			t.Errorf("%d bytes: %v, want %v", tt.size, err, tt.want)
		}
	}
}

func TestCodecRefusesWhatItDoesNotKnow(t *testing.T) {
	if _, err := newCodec().Marshal("text"); err == nil {
		t.Error("a string was marshalled")
	}
	var text string
	if err := newCodec().Unmarshal(raw("x"), &text); err == nil {
		t.Error("a string was unmarshalled")
	}
}
