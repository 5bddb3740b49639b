package rpcwire

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	grpckeepalive "google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/mem"
)

// cutConn is a connection that breaks after a number of bytes, in the middle of whatever goes on.
type cutConn struct {
	net.Conn

	left atomic.Int64
}

func (c *cutConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	return n, c.spend(n, err)
}

func (c *cutConn) Write(p []byte) (int, error) {
	if left := c.left.Load(); int64(len(p)) > left && left > 0 { // a part of it arrives
		n, _ := c.Conn.Write(p[:left])
		return n, c.spend(len(p), nil)
	}
	n, err := c.Conn.Write(p)
	return n, c.spend(n, err)
}

func (c *cutConn) spend(n int, err error) error {
	if c.left.Add(-int64(n)) <= 0 {
		_ = c.Conn.Close()
		return net.ErrClosed
	}
	return err
}

// The server closes connections all the time, politely and by force, and connections break. A call
// that ended well was executed once. A call that counts as not processed was not executed. No other
// call was executed twice, and no call hangs.
func TestCallsDuringChaos(t *testing.T) {
	var executed sync.Map // *atomic.Int64 by the number of the call
	count := func(body string) *atomic.Int64 {
		id, _, _ := strings.Cut(body, " ")
		n, _ := executed.LoadOrStore(id, new(atomic.Int64))
		return n.(*atomic.Int64)
	}
	handler := func(_ any, s grpc.ServerStream) error {
		var msg []byte
		if err := s.RecvMsg(&msg); err != nil {
			return err
		}
		count(string(msg)).Add(1)
		return s.SendMsg(&msg)
	}
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.ForceServerCodecV2(raw{}), grpc.UnknownServiceHandler(handler), grpc.MaxConcurrentStreams(16),
		grpc.KeepaliveParams(grpckeepalive.ServerParameters{MaxConnectionAge: 50 * time.Millisecond, MaxConnectionAgeGrace: 20 * time.Millisecond}))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(lis)
	}()
	defer func() {
		server.Stop()
		<-done
	}()

	random := rand.New(rand.NewPCG(1, 8))
	var outcomes sync.Map
	var next, well atomic.Int64
	calls := 400
	if testing.Short() {
		calls = 100
	}
	for range 20 { // connections, one after the other
		nc, err := net.Dial("tcp", lis.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		cut := &cutConn{Conn: nc}
		cut.left.Store(int64(500 + random.IntN(400_000)))
		if random.IntN(2) == 0 {
			cut.left.Store(1 << 40)
		}
		c, err := New(t.Context(), cut, Options{Authority: "server.test", Buffers: mem.DefaultBufferPool()})
		if err != nil {
			continue
		}
		var wg sync.WaitGroup
		for range 40 {
			wg.Go(func() {
				call := new(Call)
				for {
					id := next.Add(1)
					body := fmt.Sprint(id, " ", strings.Repeat("b", int(id*37%5000)))
					got, err := unary(t.Context(), c, call, Request{Method: methodEcho, Body: [][]byte{[]byte(body)}, Deadline: time.Now().Add(patience)})
					n := count(body).Load()
					var e *Error
					switch {
					case err == nil && got == body:
						well.Add(1)
						if n != 1 {
							t.Errorf("a call that ended well was executed %d times", n)
						}
						continue
					case err == nil && call.Status().Code == codes.Unavailable:
						outcomes.Store("the server said UNAVAILABLE", true)
					case errors.As(err, &e) && (e.Kind == KindLost || e.Kind == KindDraining || e.Kind == KindReset):
						outcomes.Store(fmt.Sprint(e.Kind, ", unprocessed=", e.Unprocessed), true)
						if e.Unprocessed && !call.Written() {
							time.Sleep(5 * time.Millisecond)
							n = count(body).Load()
						}
						if e.Unprocessed && n != 0 || n > 1 {
							t.Errorf("%v: the call was executed %d times", e, n)
						}
					default:
						t.Errorf("unexpected: %.20q, %v, %v", got, err, call.Status())
					}
					return
				}
			})
		}
		wg.Wait()
		closeConn(t, c)
		if next.Load() > int64(calls*20) {
			break
		}
	}
	list := map[any]bool{}
	outcomes.Range(func(k, _ any) bool { list[k] = true; return true })
	t.Log(well.Load(), "calls ended well, others with", list)
	if well.Load() == 0 || !list["connection is draining, unprocessed=true"] || !list["connection lost, unprocessed=false"] {
		t.Error("too few of the ways to fail were seen")
	}
}
