package pool

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
)

// unaryDesc describes the calls of Invoke.
var unaryDesc = grpc.StreamDesc{}

// endpointOption is an option that is told the address of the instance that was picked, with each
// attempt.
type endpointOption interface{ SetEndpoint(addr string) }

// Invoke is a unary call, with the errors of NewStream. A raw message that is sent is freed here,
// in whatever way the call ends. An option that has the method SetEndpoint(addr string) is told
// which instance was picked.
//
// Called on the call path; takes no lock of the fleet.
func (c *Channel) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	return c.InvokeUntil(ctx, time.Time{}, method, args, reply, opts...)
}

// InvokeUntil is Invoke with a deadline besides the context's; zero is none. It costs less than a
// context with that deadline.
//
// Called on the call path; takes no lock of the fleet.
func (c *Channel) InvokeUntil(ctx context.Context, deadline time.Time, method string, args, reply any, opts ...grpc.CallOption) error {
	if raw, ok := args.(mem.BufferSlice); ok {
		defer raw.Free()
	}
	if !c.acquire() {
		return c.closedError()
	}
	defer c.release()
	w := &wholeCall{attempts: attempts{channel: c, deadline: deadline}, safe: c.retries(&unaryDesc, opts)}
	w.read(opts)
	if w.safe {
		c.budget.call()
	}
	for l := &w.first; ; l = new(lease) {
		err := w.invoke(ctx, l, method, args, reply)
		if err == nil || !w.safe || !w.again(ctx, l, err, l.evidence.trailer) {
			return err
		}
	}
}

// wholeCall is a call of Invoke. All that it takes is one allocation.
type wholeCall struct {
	attempts

	safe     bool               // to be made again
	first    lease              // of the first attempt, which mostly is the only one
	options  []grpc.CallOption  // for grpc
	room     [5]grpc.CallOption // for the usual number of them
	header   *metadata.MD       // where the caller wants it; nil: nowhere
	trailer  *metadata.MD       // likewise
	endpoint endpointOption     // nil: nobody wants to know
	// uncounted is that of the leases.
	uncounted bool
}

// read takes the caller's options. The trailer comes with the end of the pick, so that grpc need
// not copy it a second time.
func (w *wholeCall) read(opts []grpc.CallOption) {
	w.options = append(w.room[:0], w.channel.options...)
	for _, o := range opts {
		switch o := o.(type) {
		case idempotent:
			continue
		case uncounted:
			w.uncounted = true
			continue
		case grpc.TrailerCallOption:
			if w.trailer == nil {
				w.trailer = o.TrailerAddr
				continue
			}
		case grpc.HeaderCallOption:
			w.header = o.HeaderAddr
		case endpointOption:
			w.endpoint = o
		}
		w.options = append(w.options, o)
	}
}

// invoke makes one attempt, if possible at none of the endpoints that were tried before.
func (w *wholeCall) invoke(ctx context.Context, l *lease, method string, args, reply any) error {
	w.forget()
	l.Context, l.channel, l.unary, l.uncounted = ctx, w.channel, true, w.uncounted
	mayFollow := w.safe && w.mayFollow()
	if mayFollow || !w.deadline.IsZero() {
		l.bindContext(w.deadline)
	}
	if mayFollow {
		l.cancel = l.own.cancel
	}
	if w.safe {
		l.attempts = &w.attempts
	}
	if raw, ok := args.(mem.BufferSlice); ok {
		l.noteSent(raw)
		l.request, args = raw, l
	}
	// Lease.end returns it. The channel cannot have closed: the caller has one.
	w.channel.leases.Add(1)
	err := w.channel.conn.Invoke(l, method, args, reply, w.options...)
	if l.own != nil {
		err = l.release(err)
	}
	l.end(err)
	if w.trailer != nil {
		*w.trailer = l.evidence.trailer
	}
	if addr := l.address(); addr != "" && w.endpoint != nil {
		w.endpoint.SetEndpoint(addr)
	}
	return l.explain(err, w.headed)
}

// headed tells whether the instance sent a header. It is not known if the caller does not want the
// header.
func (w *wholeCall) headed() bool { return w.header == nil || *w.header != nil }

// forget clears the header of an earlier attempt, which the next one replaces only if it reaches an
// instance.
func (w *wholeCall) forget() {
	for _, o := range w.options {
		if o, ok := o.(grpc.HeaderCallOption); ok {
			*o.HeaderAddr = nil
		}
	}
}
