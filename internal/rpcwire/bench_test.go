package rpcwire

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
)

// BenchmarkUnary compares a call with one of grpc.ClientConn.Invoke with a raw codec, in one run.
// The server is in the same process. It does as little as it can, but its share is in both numbers,
// so the ratio understates the difference. Besides ns/op it reports the CPU time per call, which
// counts on a machine that is not idle.
func BenchmarkUnary(b *testing.B) {
	addr := startCanned(b)
	body := make([]byte, 100)
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(raw{})), grpc.WithStaticStreamWindowSize(64<<10), grpc.WithStaticConnWindowSize(8<<20))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	c := dial(b, addr, Options{Buffers: mem.DefaultBufferPool()})
	calls := sync.Pool{New: func() any { return new(Call) }}
	for _, callers := range []int{1, 64, 512} {
		b.Run(fmt.Sprintf("callers=%d/client=grpc", callers), func(b *testing.B) {
			concurrently(b, callers, func(ctx context.Context) error {
				var reply []byte
				return conn.Invoke(ctx, methodEcho, &body, &reply)
			})
		})
		b.Run(fmt.Sprintf("callers=%d/client=rpcwire", callers), func(b *testing.B) {
			bodies := [][]byte{body}
			concurrently(b, callers, func(ctx context.Context) error {
				call := calls.Get().(*Call)
				defer calls.Put(call)
				if err := c.Start(call, &Request{Method: methodEcho, Unary: true, Body: bodies}); err != nil {
					return err
				}
				m, err := call.Wait(ctx)
				c.putBack(m)
				return err
			})
		})
	}
}

// BenchmarkStream receives streams of 1,000 messages.
func BenchmarkStream(b *testing.B) {
	addr := startEcho(b).addr
	body := make([]byte, 100)
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(raw{})), grpc.WithStaticStreamWindowSize(64<<10), grpc.WithStaticConnWindowSize(8<<20))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	c := dial(b, addr, Options{Buffers: mem.DefaultBufferPool()})
	b.Run("client=grpc", func(b *testing.B) {
		concurrently(b, 8, func(ctx context.Context) error {
			s, err := conn.NewStream(ctxWith(ctx, "times", "1000"), &grpc.StreamDesc{ServerStreams: true}, methodRepeat)
			if err != nil {
				return err
			}
			_ = s.SendMsg(&body)
			_ = s.CloseSend()
			for {
				var m []byte
				if err := s.RecvMsg(&m); err != nil {
					return ignoreEOF(err)
				}
			}
		})
	})
	b.Run("client=rpcwire", func(b *testing.B) {
		concurrently(b, 8, func(ctx context.Context) error {
			call := new(Call)
			if err := c.Start(call, &Request{Method: methodRepeat, Metadata: []Field{{"times", "1000"}}}); err != nil {
				return err
			}
			_ = call.Send(ctx, false, body)
			call.CloseSend()
			for {
				m, err := call.Recv(ctx)
				if err != nil {
					return ignoreEOF(err)
				}
				c.putBack(m)
			}
		})
	})
}

// freeList is a pool of buffers for one goroutine at a time.
type freeList struct {
	mu   sync.Mutex
	free []*[]byte
}

func (l *freeList) Get(n int) *[]byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, buf := range l.free {
		if cap(*buf) >= n && cap(*buf) <= 4*n {
			l.free = slices.Delete(l.free, i, i+1)
			*buf = (*buf)[:n]
			return buf
		}
	}
	buf := make([]byte, n)
	return &buf
}

func (l *freeList) Put(buf *[]byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.free = append(l.free, buf)
}

// A unary call allocates nothing, neither here nor in the goroutines of the connection.
func TestUnaryCallAllocatesNothing(t *testing.T) {
	c := dial(t, startCanned(t), Options{Buffers: &freeList{}})
	call, bodies := new(Call), [][]byte{make([]byte, 100)}
	metadata := []Field{{"x-constant", "value"}}
	once := func() {
		r := Request{Method: methodEcho, Unary: true, Body: bodies, Deadline: time.Now().Add(time.Minute), Metadata: metadata}
		if err := c.Start(call, &r); err != nil {
			t.Fatal(err)
		}
		m, err := call.Wait(context.Background())
		if err != nil || len(*m.Buf) == 0 {
			t.Fatal(m, err)
		}
		c.putBack(m)
	}
	if n := testing.AllocsPerRun(500, once); n > 0 {
		t.Errorf("a call allocates %v times", n)
	}
}

// concurrently makes b.N calls from a number of goroutines.
func concurrently(b *testing.B, callers int, call func(context.Context) error) {
	b.Helper()
	b.ReportAllocs()
	var next atomic.Int64
	var wg sync.WaitGroup
	before := cpuTime()
	for range callers {
		wg.Go(func() {
			for next.Add(1) <= int64(b.N) {
				if err := call(b.Context()); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(cpuTime()-before)/float64(b.N), "cpu-ns/op")
}

// cpuTime is the CPU time of this process so far.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// startCanned starts a server that answers every call with the same bytes. It knows of HTTP/2 only
// what it needs for that.
func startCanned(b testing.TB) string {
	b.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			nc, err := lis.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { serveCanned(nc) })
			b.Cleanup(func() { nc.Close() })
		}
	})
	b.Cleanup(func() { lis.Close() })
	return lis.Addr().String()
}

func serveCanned(nc net.Conn) {
	in := bufio.NewReaderSize(nc, 64<<10)
	if _, err := in.Discard(len(http2.ClientPreface)); err != nil {
		return
	}
	// As from grpc-go, the first answer puts its fields into the table, and the others have
	// indices.
	var hbuf bytes.Buffer
	henc := hpack.NewEncoder(&hbuf)
	block := func(fields ...string) []byte {
		hbuf.Reset()
		for i := 0; i < len(fields); i += 2 {
			_ = henc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
		}
		return bytes.Clone(hbuf.Bytes())
	}
	var header, trailer []byte
	answers := 0
	answer := framed("the answer to a small call, which is a little longer than the question")
	out := appendFrameHeader(nil, 0, http2.FrameSettings, 0, 0)
	out = appendWindowUpdate(out, 0, 1<<30)
	var head [frameHeaderSize]byte
	received := 0
	for {
		if in.Buffered() < frameHeaderSize && len(out) > 0 {
			if _, err := nc.Write(out); err != nil {
				return
			}
			out = out[:0]
		}
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return
		}
		h := parseFrameHeader(head[:])
		if _, err := in.Discard(h.length); err != nil {
			return
		}
		switch {
		case h.kind == http2.FrameSettings && !h.flags.Has(http2.FlagSettingsAck):
			out = appendFrameHeader(out, 0, http2.FrameSettings, http2.FlagSettingsAck, 0)
		case h.kind == http2.FrameData:
			if received += h.length; received > 1<<20 {
				out = appendWindowUpdate(out, 0, uint32(received))
				received = 0
			}
			if !h.flags.Has(http2.FlagDataEndStream) {
				continue
			}
			if answers++; answers <= 2 {
				header = block(":status", "200", "content-type", "application/grpc")
				trailer = block("grpc-status", "0", "grpc-message", "")
			}
			out = append(appendFrameHeader(out, len(header), http2.FrameHeaders, http2.FlagHeadersEndHeaders, h.stream), header...)
			out = append(appendFrameHeader(out, len(answer), http2.FrameData, 0, h.stream), answer...)
			out = append(appendFrameHeader(out, len(trailer), http2.FrameHeaders, http2.FlagHeadersEndHeaders|http2.FlagHeadersEndStream, h.stream), trailer...)
		}
	}
}

func ctxWith(ctx context.Context, name, value string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, name, value)
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
