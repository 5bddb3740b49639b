package peers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/caddy-grpc/gateway/internal/rpcwire"
)

// dial connects to a peer.
func dial(t testing.TB, p *Peer, o rpcwire.Options) *rpcwire.Conn {
	t.Helper()
	c, err := connect(t.Context(), p, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close("the test is over")
		select {
		case <-c.Done():
		case <-time.After(patience):
			t.Error("the connection did not end")
		}
	})
	return c
}

func connect(ctx context.Context, p *Peer, o rpcwire.Options) (*rpcwire.Conn, error) {
	nc, err := (&net.Dialer{}).DialContext(ctx, "tcp", p.Addr)
	if err != nil {
		return nil, err
	}
	o.Authority = p.Addr
	return rpcwire.New(ctx, nc, o)
}

// closed is an Events that keeps why the connection ended.
type closed struct {
	mu       sync.Mutex
	err      *rpcwire.ConnError
	draining []rpcwire.GoAway
}

func (*closed) StreamLimit(uint32) {}

func (c *closed) Draining(g rpcwire.GoAway) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.draining = append(c.draining, g)
}

func (c *closed) Closed(err *rpcwire.ConnError) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
}

// why is why the connection ended. Nil: it has not.
func (c *closed) why() *rpcwire.ConnError {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

var lastID atomic.Int64

// newID makes the name of a call.
func newID() string { return fmt.Sprintf("call-%d", lastID.Add(1)) }

// request is a request with metadata. The fields are names and values in turn.
func request(method string, fields ...string) rpcwire.Request {
	r := rpcwire.Request{Method: "/peers.Peer/" + method, Unary: method == "Unary"}
	for i := 0; i < len(fields); i += 2 {
		r.Metadata = append(r.Metadata, rpcwire.Field{Name: fields[i], Value: fields[i+1]})
	}
	return r
}

// message is a BytesValue with a random value of a size.
func message(size int) []byte {
	if size == 0 {
		return nil
	}
	m := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.BytesType), uint64(size))
	random := rand.NewChaCha8([32]byte{byte(size)})
	value := make([]byte, size)
	_, _ = random.Read(value) // it never fails
	return append(m, value...)
}

// outcome is how a call ended.
type outcome struct {
	messages        [][]byte
	header, trailer []rpcwire.Field
	status          rpcwire.Status
	// err is the error of the call. Nil: it has a status.
	err *rpcwire.Error
}

// code is the status code of the call, whoever gave it.
func (o *outcome) code() codes.Code {
	if o.err != nil {
		return o.err.Code
	}
	return o.status.Code
}

func (o *outcome) String() string {
	if o.err != nil {
		return fmt.Sprintf("%s (%v, unprocessed %t)", o.err.Code, o.err, o.err.Unprocessed)
	}
	return fmt.Sprintf("%s %q with %d messages", o.status.Code, o.status.Message, len(o.messages))
}

// do makes a call, sends its messages, and receives the answer.
func do(ctx context.Context, c *rpcwire.Conn, r rpcwire.Request, messages ...[]byte) *outcome {
	o, call := new(outcome), new(rpcwire.Call)
	var err error
	if r.Unary {
		r.Body = messages
		if err = c.Start(call, &r); err == nil {
			var m rpcwire.Message
			m, err = call.Wait(ctx)
			o.keep(m)
		}
	} else if err = c.Start(call, &r); err == nil {
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			for _, m := range messages {
				if call.Send(ctx, false, m) != nil {
					return // Recv says why
				}
			}
			call.CloseSend()
		}()
		for err == nil {
			var m rpcwire.Message
			m, err = call.Recv(ctx)
			o.keep(m)
		}
		<-sent
	}
	o.end(call, err)
	return o
}

func (o *outcome) keep(m rpcwire.Message) {
	if m.Buf != nil {
		o.messages = append(o.messages, *m.Buf)
	}
}

// end takes what is known once the call has ended.
func (o *outcome) end(call *rpcwire.Call, err error) {
	header, _ := call.ResponseHeader()
	o.header, o.trailer = append(o.header, header...), append(o.trailer, call.Trailer()...)
	if err != nil && !errors.Is(err, io.EOF) {
		if !errors.As(err, &o.err) {
			panic(fmt.Sprintf("%v (%T) is no error of rpcwire", err, err))
		}
		return
	}
	o.status = call.Status()
}

// wantOK checks that a call succeeded with these messages.
func wantOK(t testing.TB, o *outcome, messages ...[]byte) {
	t.Helper()
	if o.err != nil || o.status.Code != codes.OK {
		t.Fatalf("the call ended with %s", o)
	}
	if len(o.messages) != len(messages) {
		t.Fatalf("%d messages came, want %d", len(o.messages), len(messages))
	}
	for i := range messages {
		if !bytes.Equal(o.messages[i], messages[i]) {
			t.Fatalf("message %d of %d bytes differs from what was sent, which has %d bytes", i, len(o.messages[i]), len(messages[i]))
		}
	}
}

// wantWorking checks that a connection still works.
func wantWorking(t testing.TB, c *rpcwire.Conn) {
	t.Helper()
	wantOK(t, do(t.Context(), c, request("Unary"), message(10)), message(10))
}

// values are the values of a field.
func values(fields []rpcwire.Field, name string) (list []string) {
	for _, f := range fields {
		if f.Name == name {
			list = append(list, f.Value)
		}
	}
	return list
}

// repeated is a message n times.
func repeated(m []byte, n int) [][]byte {
	list := make([][]byte, n)
	for i := range list {
		list[i] = m
	}
	return list
}
