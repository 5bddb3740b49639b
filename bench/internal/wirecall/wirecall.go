// Package wirecall makes the calls of the comparison over the gateway's own transport, for floors.
package wirecall

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"

	"github.com/caddy-grpc/gateway/bench/internal/canned"
	"github.com/caddy-grpc/gateway/internal/rpcwire"
)

// Client is one connection to the backend. It is safe for concurrent use.
type Client struct {
	conn    *rpcwire.Conn
	buffers mem.BufferPool
	calls   sync.Pool
}

// Dial connects.
func Dial(addr string) (*Client, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	nc, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	buffers := mem.DefaultBufferPool()
	conn, err := rpcwire.New(ctx, nc, rpcwire.Options{Authority: addr, Buffers: buffers})
	if err != nil {
		return nil, err
	}
	return &Client{conn, buffers, sync.Pool{New: func() any { return new(rpcwire.Call) }}}, nil
}

// Close ends the connection.
func (c *Client) Close() error {
	c.conn.Close("the floor has ended")
	return nil
}

// Invoke makes a unary call, and drops the answer.
func (c *Client) Invoke(ctx context.Context, w *canned.Work) error {
	call := c.calls.Get().(*rpcwire.Call)
	defer c.calls.Put(call)
	if err := c.conn.Start(call, &rpcwire.Request{Method: w.RPC, Unary: true, Body: [][]byte{w.Request}}); err != nil {
		return err
	}
	m, err := call.Wait(ctx)
	if m.Buf != nil {
		c.buffers.Put(m.Buf)
	}
	return ended(call, err)
}

// Stream makes a call whose answer is a stream, and calls each for every message.
func (c *Client) Stream(ctx context.Context, w *canned.Work, each func(i int) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	call := new(rpcwire.Call)
	if err := c.conn.Start(call, &rpcwire.Request{Method: w.RPC}); err != nil {
		return err
	}
	if err := call.Send(ctx, false, w.Request); err != nil {
		return err
	}
	call.CloseSend()
	for i := 0; ; i++ {
		m, err := call.Recv(ctx)
		if errors.Is(err, io.EOF) {
			return ended(call, nil)
		}
		if err != nil {
			return err
		}
		c.buffers.Put(m.Buf)
		if err := each(i); err != nil {
			return err
		}
	}
}

// ended returns why a call that has ended did not succeed.
func ended(call *rpcwire.Call, err error) error {
	if err != nil {
		return err
	}
	if s := call.Status(); s.Code != codes.OK {
		return fmt.Errorf("%v: %s", s.Code, s.Message)
	}
	return nil
}
