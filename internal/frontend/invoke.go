package frontend

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
)

// BoundingConn is a connection that ends a whole call at its deadline itself. That costs less than
// a context with the deadline. A zero deadline means none.
//
// The metadata of the request is not in the context. It is in an option with the method
// RequestMetadata, see Call. That costs less, too.
type BoundingConn interface {
	InvokeUntil(ctx context.Context, deadline time.Time, method string, args, reply any, opts ...grpc.CallOption) error
}

// Invoke makes a whole call of a method that has one message each way. It takes over msg, which is
// from GetBuffer. The deadlines of Start apply. The caller frees the response. The Call has Header
// and Trailer, even after an error. It is nil if no call was made, for example because Method.Check
// has refused the message. It needs no Close.
//
// The error is a *Error. info notes the rest.
//
// Invoke costs less than Start, because a stream has a goroutine that waits for its end.
func (o *Options) Invoke(ctx context.Context, m *Method, s CallSettings, msg *[]byte, info *Info) (*Call, mem.BufferSlice, error) {
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
	opts := append(o.callOptions(c.options[:0], m, &s), grpc.Header(&c.header), grpc.Trailer(&c.trailer), c)
	info.Called = true
	info.Sent++
	if conn, ok := m.Conn.(BoundingConn); ok {
		err = conn.InvokeUntil(c.parent, c.deadline, m.Path, newMessage(msg), &c.response, opts...)
	} else {
		c.bound()
		defer c.cancel()
		err = m.Conn.Invoke(c.ctx, m.Path, newMessage(msg), &c.response, opts...)
	}
	if err != nil {
		return c, nil, c.failed(err)
	}
	info.Received++
	return c, c.response, nil
}

// RequestMetadata is the metadata of the request: names in lower case and values, alternately. It
// makes a call an option of its own RPC.
func (c *Call) RequestMetadata() []string { return c.metadata }

// SetEndpoint makes a call an option of its own RPC. A connection that knows its instances calls it
// with the address of the one that it picked.
func (c *Call) SetEndpoint(addr string) { c.info.Endpoint = addr }
