package rpcwire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen.
const patience = 10 * time.Second

// recorder is an Events that keeps what it is told.
type recorder struct {
	mu       sync.Mutex
	limits   []uint32
	draining []GoAway
	closed   []*ConnError
}

func (r *recorder) StreamLimit(n uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.limits = append(r.limits, n)
}

func (r *recorder) Draining(g GoAway) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.draining = append(r.draining, g)
}

func (r *recorder) Closed(err *ConnError) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = append(r.closed, err)
}

func (r *recorder) closedWith() *ConnError {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.closed) == 0 {
		return nil
	}
	return r.closed[0]
}

// raw is a grpc codec for messages of type *[]byte.
type raw struct{}

func (raw) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*v.(*[]byte))}, nil
}

func (raw) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

func (raw) Name() string { return "" }

var _ encoding.CodecV2 = raw{}

// The methods of the echo server.
const (
	methodEcho    = "/test.Echo/Echo"    // one message each way
	methodRepeat  = "/test.Echo/Repeat"  // sends the message as often as its metadata "times" says
	methodCollect = "/test.Echo/Collect" // answers with the number of bytes of all messages
	methodFail    = "/test.Echo/Fail"    // fails as its metadata says
	methodHang    = "/test.Echo/Hang"    // sends a header and waits for the end of the call
)

// echoServer is a grpc-go server.
type echoServer struct {
	addr   string
	server *grpc.Server
}

func startEcho(t testing.TB, opts ...grpc.ServerOption) *echoServer {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serveEcho(t, lis, opts...)
}

func serveEcho(t testing.TB, lis net.Listener, opts ...grpc.ServerOption) *echoServer {
	t.Helper()
	opts = append(opts, grpc.ForceServerCodecV2(raw{}), grpc.UnknownServiceHandler(echo), grpc.MaxRecvMsgSize(64<<20))
	s := &echoServer{addr: lis.Addr().String(), server: grpc.NewServer(opts...)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.server.Serve(lis)
	}()
	t.Cleanup(func() {
		s.server.Stop()
		<-done
	})
	return s
}

func echo(_ any, s grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(s)
	md, _ := metadata.FromIncomingContext(s.Context())
	if method == methodHang {
		_ = s.SendHeader(metadata.Pairs("hanging", "yes"))
		<-s.Context().Done()
		return s.Context().Err()
	}
	_ = s.SetHeader(metadata.Join(md, metadata.Pairs("from", "header")))
	s.SetTrailer(metadata.Pairs("from", "trailer", "bytes-bin", "\x00\xff,"))
	total := 0
	for {
		var msg []byte
		err := s.RecvMsg(&msg)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		total += len(msg)
		times := 1
		if v := md.Get("times"); method == methodRepeat && len(v) == 1 {
			_, _ = fmt.Sscan(v[0], &times)
		}
		if method == methodCollect {
			continue
		}
		if method == methodFail {
			return status.Error(codes.FailedPrecondition, "50 % of ünicode\nis lost")
		}
		for range times {
			if err := s.SendMsg(&msg); err != nil {
				return err
			}
		}
	}
	if method == methodCollect {
		msg := []byte(fmt.Sprint(total))
		return s.SendMsg(&msg)
	}
	return nil
}

// dial connects to an address.
func dial(t testing.TB, addr string, o Options) *Conn {
	t.Helper()
	nc, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if o.Authority == "" {
		o.Authority = addr
	}
	c, err := New(t.Context(), nc, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeConn(t, c) })
	return c
}

// closeConn closes a connection, and checks that nothing is left of it.
func closeConn(t testing.TB, c *Conn) {
	t.Helper()
	c.Close("the test is over")
	select {
	case <-c.Done():
	case <-time.After(patience):
		t.Error("the connection did not end")
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	checkEmpty(t, c)
}

// checkEmpty checks that a closed connection refers to no call.
func checkEmpty(t testing.TB, c *Conn) {
	t.Helper()
	if len(c.streams) > 0 || !c.pending.empty() || !c.sending.empty() || !c.ending.empty() {
		t.Error("a closed connection still has calls")
	}
	if c.wheel.slots != nil {
		for _, call := range c.wheel.slots {
			if call != nil {
				t.Error("a closed connection still has a call in its wheel")
			}
		}
	}
	if c.backlog != 0 {
		t.Errorf("a closed connection has a backlog of %d bytes", c.backlog)
	}
}

// text is the message as a string. The buffer goes back.
func (c *Conn) text(m Message) string {
	if m.Buf == nil {
		return "(none)"
	}
	s := string(*m.Buf)
	c.putBack(m)
	return s
}

// unary makes a unary call.
func unary(ctx context.Context, c *Conn, call *Call, r Request) (string, error) {
	r.Unary = true
	if err := c.Start(call, &r); err != nil {
		return "", err
	}
	m, err := call.Wait(ctx)
	if err != nil {
		return "", err
	}
	return c.text(m), nil
}

// value returns the first value of a field.
func value(fields []Field, name string) string {
	for _, f := range fields {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

// eventually waits until a condition holds.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

// wantError checks an error of a call.
func wantError(t testing.TB, err error, kind Kind, code codes.Code, unprocessed bool) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("the error is %v (%T), want an *Error of the kind %q", err, err, kind)
	}
	if e.Kind != kind || e.Code != code || e.Unprocessed != unprocessed {
		t.Errorf("the error is %v: kind %q, code %s, unprocessed %t; want kind %q, code %s, unprocessed %t",
			err, e.Kind, e.Code, e.Unprocessed, kind, code, unprocessed)
	}
	return e
}
