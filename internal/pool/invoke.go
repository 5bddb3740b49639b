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

// endpointOption is a call option that is told the address of the picked instance, for each
// attempt.
type endpointOption interface{ SetEndpoint(addr string) }

// metadataOption is a call option of Invoke that has metadata of the request: names in lower case
// and values, alternately. The metadata of the context goes out as well. It replaces the option's
// metadata of the same names. A list without values does so, too.
type metadataOption interface{ RequestMetadata() []string }

// withRequestMetadata returns a context that has the metadata of the option, too.
func withRequestMetadata(ctx context.Context, opts []grpc.CallOption) context.Context {
	for _, o := range opts {
		o, ok := o.(metadataOption)
		if !ok {
			continue
		}
		pairs := o.RequestMetadata()
		if md, ok := metadata.FromOutgoingContext(ctx); ok {
			pairs = withoutNames(pairs, md)
		}
		return metadata.AppendToOutgoingContext(ctx, pairs...)
	}
	return ctx
}

// withoutNames returns the pairs whose names md does not have.
func withoutNames(pairs []string, md metadata.MD) []string {
	var kept []string
	for i := 0; i < len(pairs); i += 2 {
		if _, ok := md[pairs[i]]; !ok {
			kept = append(kept, pairs[i], pairs[i+1])
		}
	}
	return kept
}

// Invoke makes a unary call. It returns the same errors as NewStream. It frees a raw request
// message however the call ends. An option with the method SetEndpoint(addr string) is told which
// instance was picked. An option with the method RequestMetadata() []string has metadata, see
// metadataOption.
//
// Called on the call path; takes no lock of the balancer.
func (c *Channel) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	return c.InvokeUntil(ctx, time.Time{}, method, args, reply, opts...)
}

// InvokeUntil is Invoke with a deadline in addition to the context's. A zero deadline means none.
// This costs less than a context with the deadline.
//
// Called on the call path; takes no lock of the balancer.
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

// wholeCall is a call of Invoke. It is one allocation with everything that a call needs.
type wholeCall struct {
	attempts

	// safe is true if the call may be made again.
	safe bool
	// first is the lease of the first attempt, which is usually the only one.
	first lease
	// options are those for grpc.
	options []grpc.CallOption
	// room is memory for the usual number of options.
	room [5]grpc.CallOption
	// header is where the caller wants the header. Nil: the caller does not want it.
	header *metadata.MD
	// trailer is where the caller wants the trailer. Nil: the caller does not want it.
	trailer *metadata.MD
	// endpoint is told which instance was picked. Nil: nobody wants to know.
	endpoint endpointOption
	// uncounted is passed on to the leases.
	uncounted bool
}

// read takes the caller's options. The option for the trailer does not go to grpc. The end of the
// pick brings the trailer, so grpc need not copy it a second time.
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

// invoke makes one attempt. If it can, it avoids endpoints that were tried before.
func (w *wholeCall) invoke(ctx context.Context, l *lease, method string, args, reply any) error {
	w.forget()
	l.Context, l.channel, l.unary, l.uncounted = ctx, w.channel, true, w.uncounted
	l.deadline, l.mayFollow = w.deadline, w.safe && w.mayFollow()
	if w.safe {
		l.attempts = &w.attempts
	}
	if raw, ok := args.(mem.BufferSlice); ok {
		l.noteSent(raw)
		l.request, args = raw, l
	}
	// This is the lease that l.end returns. The channel cannot be closed, because the caller of
	// invoke holds another lease.
	w.channel.leases.Add(1)
	err := w.send(l, method, args, reply)
	if l.own != nil {
		err = l.releaseContext(err)
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

// send makes an attempt. It goes to another connection if it was certainly not processed.
//
// Called on the call path; takes no lock of the balancer.
func (w *wholeCall) send(l *lease, method string, args, reply any) error {
	for {
		p, err := w.channel.balancer.claim(l)
		if err != nil {
			return err
		}
		err = p.conn.link.invoke(l, p, method, args, reply, w.options)
		if !l.mayGoElsewhere() {
			return err
		}
	}
}

// headed reports whether the instance sent a header. If the caller does not want the header, that
// is not known, and the answer is true.
func (w *wholeCall) headed() bool { return w.header == nil || *w.header != nil }

// forget clears the header of an earlier attempt. The next attempt replaces it only if it reaches
// an instance.
func (w *wholeCall) forget() {
	for _, o := range w.options {
		if o, ok := o.(grpc.HeaderCallOption); ok {
			*o.HeaderAddr = nil
		}
	}
}
