package frontend

import (
	"context"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"

	"github.com/caddy-grpc/gateway/internal/unary"
)

// UnaryConn is a connection that makes whole calls without call options, without a context of their
// own, and without messages of grpc-go. That costs less.
type UnaryConn interface {
	Call(ctx context.Context, u *unary.Call) error
}

// Invoke makes a whole call of a method that has one message each way. It takes over msg, which is
// from GetBuffer. The deadlines of Start apply. The caller frees the response. The Call has Header
// and Trailer, even after an error. It is nil if no call was made, for example because Method.Check
// has refused the message. It needs no Close.
//
// The error is a *Error. info notes the rest.
//
// Invoke costs less than Start, because a stream has a goroutine that waits for its end.
func (o *Options) Invoke(ctx context.Context, m *Method, s CallSettings, msg *[]byte, info *Info) (*Call, *unary.Message, error) {
	if m.Check != nil {
		if err := m.Check(ctx, *msg); err != nil {
			PutBuffer(msg)
			return nil, nil, err
		}
	}
	c, err := o.newCall(ctx, m, &s, info)
	if err != nil {
		PutBuffer(msg)
		return nil, nil, err
	}
	info.Called = true
	info.Sent++
	if conn, ok := m.Conn.(UnaryConn); ok {
		err = c.invoke(conn, msg, s.Idempotent || m.Idempotent)
	} else {
		err = c.invokePlain(o.callOptions(m, &s), msg)
	}
	if err != nil {
		return c, nil, c.failed(err)
	}
	info.Received++
	return c, &c.unary.Response, nil
}

// invoke makes a whole call over a UnaryConn.
func (c *Call) invoke(conn UnaryConn, msg *[]byte, idempotent bool) error {
	u := &c.unary
	u.Method, u.Deadline, u.Metadata, u.Idempotent = c.method.Path, c.deadline, c.metadata, idempotent
	u.Request, u.Buffers = msg, spare
	err := conn.Call(c.parent, u)
	if u.Endpoint != "" {
		c.info.Endpoint = u.Endpoint
	}
	return err
}

// invokePlain makes a whole call over a connection that is no UnaryConn.
func (c *Call) invokePlain(opts []grpc.CallOption, msg *[]byte) error {
	c.bound()
	defer c.cancel()
	u := &c.unary
	opts = append(slices.Clip(opts), grpc.Header(&u.Header), grpc.Trailer(&u.Trailer))
	var response mem.BufferSlice
	err := c.method.Conn.Invoke(c.ctx, c.method.Path, newMessage(msg), &response, opts...)
	u.Response = unary.InParts(response)
	return err
}
