package pool

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"

	"github.com/caddy-grpc/gateway/internal/unary"
)

// unaryDesc describes the calls of Call and Invoke.
var unaryDesc = grpc.StreamDesc{}

// Call makes a unary call. It returns the same errors as NewStream. An answer and its metadata are
// those of the last attempt.
//
// Called on the call path; takes no lock of the balancer.
func (c *Channel) Call(ctx context.Context, u *unary.Call) error {
	if !c.acquire() {
		u.Drop()
		return c.closedError()
	}
	defer c.release()
	w := c.newWholeCall()
	w.call = u
	w.safe = u.Idempotent && c.balancer.settings.RetryAttempts >= 2
	err := w.run(ctx)
	w.recycle()
	return err
}

// Invoke is Call for messages of any kind and for call options. The metadata of the context goes
// out. Invoke frees a raw request message however the call ends. A message that is not raw is
// encoded before the call begins, and decoded after it has ended. If that fails, it says nothing
// about the instance. Another codec cannot be chosen.
//
// Called on the call path; takes no lock of the balancer.
func (c *Channel) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	request, err := rawMessages.Marshal(args)
	if err != nil {
		return c.messageError(ctx, "", badMessage("encoding the request: %w", err))
	}
	if !c.acquire() {
		request.Free()
		return c.closedError()
	}
	defer c.release()
	u := unary.Call{Method: method}
	w := c.newWholeCall()
	w.call, w.request, w.options, w.invoked = &u, request, opts, true
	w.safe, w.uncounted = c.retries(&unaryDesc, opts), isUncounted(opts)
	err = w.run(ctx)
	w.recycle()
	for _, o := range opts {
		switch o := o.(type) {
		case grpc.HeaderCallOption:
			*o.HeaderAddr = u.Header
		case grpc.TrailerCallOption:
			*o.TrailerAddr = u.Trailer
		}
	}
	if err != nil {
		return err
	}
	if raw, ok := reply.(*mem.BufferSlice); ok {
		*raw = u.Response.Take()
		return nil
	}
	response := u.Response.Take()
	defer response.Free()
	if err := rawMessages.Unmarshal(response, reply); err != nil {
		return c.messageError(ctx, u.Endpoint, badMessage("decoding the response: %w", err))
	}
	return nil
}

// messageError is the error of a call whose message is wrong. addr is that of its instance, or "".
func (c *Channel) messageError(ctx context.Context, addr string, err *wireError) error {
	l := lease{Context: ctx, channel: c}
	e := l.callError(err.kind, codes.Internal, err)
	e.Address = addr
	return e
}

// wholeCall is a call of Call or Invoke: with its lease, its claim and its call over rpcwire. They
// are made together, and later calls use them again.
type wholeCall struct {
	attempts

	call *unary.Call
	// invoked is true for a call of Invoke. Then the metadata is in the context, and the request
	// below.
	invoked bool
	// request is the message as grpc-go takes it. It takes the place of call.Request. Nil: nobody
	// has needed it yet.
	request mem.BufferSlice
	// response is where grpc-go puts the answer.
	response mem.BufferSlice
	// safe is true if the call may be made again.
	safe bool
	// uncounted is passed on to the leases.
	uncounted bool
	// options are the caller's.
	options []grpc.CallOption
	// room is memory for the usual number of options for grpc-go.
	room [6]grpc.CallOption
	// grpcHasIt is true once grpc-go got the call. It may know the lease even after the end, so the
	// object is not used again.
	grpcHasIt bool
	// first is the lease of the first attempt, which is usually the only one.
	first lease
	// wire has what an attempt over rpcwire needs. Nil: there was none yet.
	wire *wireCall
}

// overWire returns what an attempt over rpcwire needs.
func (w *wholeCall) overWire() *wireCall {
	if w.wire == nil {
		w.wire = new(wireCall)
	}
	return w.wire
}

// newWholeCall returns an object for a call.
//
// Called on the call path; takes no lock of the balancer.
func (c *Channel) newWholeCall() *wholeCall {
	w, _ := c.wholeCalls.Get().(*wholeCall)
	if w == nil {
		w = new(wholeCall)
	}
	w.channel = c
	return w
}

// recycle gives the request back and keeps the object for later calls, if it may.
//
// Called on the call path; takes no lock of the balancer.
func (w *wholeCall) recycle() {
	if w.request != nil {
		w.request.Free()
	} else if w.call.Request != nil {
		w.call.Drop()
	}
	if w.grpcHasIt {
		return
	}
	c := w.channel
	*w = wholeCall{wire: w.wire}
	if w.wire != nil {
		w.wire.forget()
	}
	c.wholeCalls.Put(w)
}

// run makes the call, again if need be.
//
// Called on the call path; takes no lock of the balancer.
func (w *wholeCall) run(ctx context.Context) error {
	w.deadline = w.call.Deadline
	if w.safe {
		w.channel.budget.call()
	}
	for l := &w.first; ; l = new(lease) {
		err := w.invoke(ctx, l)
		if err == nil || !w.safe || !w.again(ctx, l, err, l.evidence.trailer) {
			return err
		}
	}
}

// invoke makes one attempt. If it can, it avoids endpoints that were tried before.
//
// Called on the call path; takes no lock of the balancer.
func (w *wholeCall) invoke(ctx context.Context, l *lease) error {
	u := w.call
	u.Header = nil
	l.Context, l.channel, l.whole, l.unary, l.uncounted = ctx, w.channel, w, true, w.uncounted
	l.deadline, l.mayFollow = w.deadline, w.safe && w.mayFollow()
	if w.safe {
		l.attempts = &w.attempts
	}
	l.noteSentSize(w.size())
	// This is the lease that l.end returns. The channel cannot be closed, because the caller of
	// invoke holds another lease.
	w.channel.leases.Add(1)
	err := w.send(l)
	if l.own != nil {
		err = l.releaseContext(err)
	}
	l.end(err)
	u.Trailer = l.evidence.trailer
	if addr := l.address(); addr != "" {
		u.Endpoint = addr
	}
	return l.explain(err, w.headed)
}

// size is the size of the request in bytes.
func (w *wholeCall) size() int {
	if w.request == nil && w.call.Request != nil {
		return len(*w.call.Request)
	}
	return w.request.Len()
}

// appendRequest appends the parts of the request.
func (w *wholeCall) appendRequest(dst [][]byte) [][]byte {
	if w.request == nil && w.call.Request != nil {
		return append(dst, *w.call.Request)
	}
	for _, part := range w.request {
		dst = append(dst, part.ReadOnlyData())
	}
	return dst
}

// countedRequest returns the request as grpc-go takes it, with a reference for grpc-go. The call
// keeps its own, because it may be made again.
func (w *wholeCall) countedRequest() mem.BufferSlice {
	if r := w.call.Request; w.request == nil && r != nil {
		w.request, w.call.Request = mem.BufferSlice{mem.NewBuffer(r, w.call.Buffers)}, nil
	}
	w.request.Ref()
	return w.request
}

// send makes an attempt. It goes to another connection if it was certainly not processed.
//
// Called on the call path; takes no lock of the balancer.
func (w *wholeCall) send(l *lease) error {
	for {
		p, err := w.channel.balancer.claim(l)
		if err != nil {
			return err
		}
		err = p.conn.link.invoke(w, l, p)
		if !l.mayGoElsewhere() {
			return err
		}
	}
}

// headed reports whether the instance sent a header.
func (w *wholeCall) headed() bool { return w.call.Header != nil }
