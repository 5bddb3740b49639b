package pool

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
)

// unaryDesc describes the calls of Invoke.
var unaryDesc = grpc.StreamDesc{}

// endpointOption is an option that is told the address of the instance that was picked, with each attempt.
type endpointOption interface{ SetEndpoint(addr string) }

// Invoke is a unary call, with the errors of NewStream. A raw message that is sent is freed here, in whatever way the call ends. An option that has
// the method SetEndpoint(addr string) is told which instance was picked.
func (c *Channel) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	raw, isRaw := args.(mem.BufferSlice)
	if isRaw {
		defer raw.Free()
	}
	if !c.acquire() {
		return c.closedError()
	}
	defer c.release()
	if c.retries(&unaryDesc, opts) {
		return c.invokeAgain(ctx, method, args, reply, opts)
	}
	_, err := c.invoke(ctx, method, args, reply, nil, opts)
	return err
}

// invokeAgain makes a call again as long as that makes sense.
func (c *Channel) invokeAgain(ctx context.Context, method string, args, reply any, opts []grpc.CallOption) error {
	c.budget.call()
	a := attempts{channel: c}
	opts, trailer := withTrailer(opts)
	for {
		forget(opts)
		l, err := c.invoke(ctx, method, args, reply, &a, opts)
		if err == nil || !a.again(ctx, l, err, *trailer) {
			return err
		}
	}
}

// forget clears the metadata of an earlier attempt, which the next one replaces only if it reaches an instance.
func forget(opts []grpc.CallOption) {
	for _, o := range opts {
		switch o := o.(type) {
		case grpc.HeaderCallOption:
			*o.HeaderAddr = nil
		case grpc.TrailerCallOption:
			*o.TrailerAddr = nil
		}
	}
}

// withTrailer has the call's trailer kept, which may say when to try again, unless the caller does so already.
func withTrailer(opts []grpc.CallOption) ([]grpc.CallOption, *metadata.MD) {
	for _, o := range opts {
		if o, ok := o.(grpc.TrailerCallOption); ok {
			return opts, o.TrailerAddr
		}
	}
	trailer := new(metadata.MD)
	return append(opts[:len(opts):len(opts)], grpc.Trailer(trailer)), trailer
}

// invoke makes one attempt, if possible at none of the endpoints that were tried before; a is nil when it is the only one.
func (c *Channel) invoke(ctx context.Context, method string, args, reply any, a *attempts, opts []grpc.CallOption) (*lease, error) {
	l := &lease{Context: ctx, channel: c, attempts: a, unary: true}
	if a != nil && a.mayFollow() {
		l.mayFollow()
	}
	if raw, ok := args.(mem.BufferSlice); ok {
		l.request, args = raw, l
	}
	c.leases.Add(1) // lease.end returns it. The channel cannot have closed: the caller has one.
	err := c.conn.Invoke(l, method, args, reply, opts...)
	l.end(err)
	if addr := l.address(); addr != "" {
		for _, o := range opts {
			if o, ok := o.(endpointOption); ok {
				o.SetEndpoint(addr)
			}
		}
	}
	return l, l.explain(err)
}
