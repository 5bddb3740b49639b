package rpcwire

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
)

// BenchmarkUnary compares a call with one of grpc.ClientConn.Invoke with a raw codec. Both have the
// same server, in the same process. So the difference of the two is what the client saves, and the
// ratio understates it.
func BenchmarkUnary(b *testing.B) {
	server := startEcho(b)
	body := make([]byte, 100)
	conn, err := grpc.NewClient("passthrough:///"+server.addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(raw{})), grpc.WithStaticStreamWindowSize(64<<10), grpc.WithStaticConnWindowSize(8<<20))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	c := dial(b, server.addr, Options{Buffers: mem.DefaultBufferPool()})
	calls := sync.Pool{New: func() any { return new(Call) }}
	for _, callers := range []int{1, 64, 512} {
		b.Run(fmt.Sprintf("callers=%d/client=grpc", callers), func(b *testing.B) {
			concurrently(b, callers, func(ctx context.Context) error {
				var reply []byte
				ctx, cancel := context.WithTimeout(ctx, time.Minute)
				defer cancel()
				return conn.Invoke(ctx, methodEcho, &body, &reply)
			})
		})
		b.Run(fmt.Sprintf("callers=%d/client=rpcwire", callers), func(b *testing.B) {
			bodies := [][]byte{body}
			concurrently(b, callers, func(ctx context.Context) error {
				call := calls.Get().(*Call)
				defer calls.Put(call)
				r := Request{Method: methodEcho, Unary: true, Body: bodies, Deadline: time.Now().Add(time.Minute)}
				if err := c.Start(call, &r); err != nil {
					return err
				}
				m, err := call.Wait(ctx)
				c.putBack(m)
				return err
			})
		})
	}
}

// concurrently makes b.N calls from a number of goroutines.
func concurrently(b *testing.B, callers int, call func(context.Context) error) {
	b.ReportAllocs()
	var next atomic.Int64
	var wg sync.WaitGroup
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
}
