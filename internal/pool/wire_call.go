package pool

import (
	"context"
	"errors"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/metadata"

	"github.com/caddy-grpc/gateway/internal/rpcwire"
)

// wireCall is a whole call over rpcwire. Later calls use it again.
type wireCall struct {
	call    rpcwire.Call
	request rpcwire.Request
}

// wireOptions are the call options that a link of rpcwire knows. All calls use the codec of this
// package. The options for grpc-go's own retries mean nothing here.
type wireOptions struct {
	header, trailer *metadata.MD
	maxReceive      int
	finish          []func(error)
	metadata        metadataOption
}

func (o *wireOptions) read(opts []grpc.CallOption) {
	for _, opt := range opts {
		switch opt := opt.(type) {
		case grpc.HeaderCallOption:
			o.header = opt.HeaderAddr
		case grpc.TrailerCallOption:
			o.trailer = opt.TrailerAddr
		case grpc.MaxRecvMsgSizeCallOption:
			o.maxReceive = opt.MaxRecvMsgSize
		case grpc.OnFinishCallOption:
			o.finish = append(o.finish, opt.OnFinish)
		case metadataOption:
			o.metadata = opt
		}
	}
}

// finished calls what the caller has given to OnFinish.
func (o *wireOptions) finished(err error) {
	for _, f := range o.finish {
		f(err)
	}
}

// fill fills in what is the same for whole calls and streams.
func (o *wireOptions) fill(ctx context.Context, r *rpcwire.Request, method string) {
	r.Method, r.MaxMessage = method, o.maxReceive
	r.Deadline, _ = ctx.Deadline()
	r.Metadata = o.appendMetadata(ctx, r.Metadata[:0])
}

// appendMetadata appends the metadata of a request.
func (o *wireOptions) appendMetadata(ctx context.Context, dst []rpcwire.Field) []rpcwire.Field {
	if encoding.GetCompressor(gzipName) != nil {
		dst = append(dst, rpcwire.Field{Name: "grpc-accept-encoding", Value: gzipName})
	}
	md, _ := metadata.FromOutgoingContext(ctx)
	for name, values := range md {
		if name == "grpc-encoding" {
			continue // it belongs to gRPC, and requests are not compressed
		}
		for _, v := range values {
			dst = append(dst, rpcwire.Field{Name: name, Value: v})
		}
	}
	if o.metadata == nil {
		return dst
	}
	pairs := o.metadata.RequestMetadata()
	for i := 0; i < len(pairs); i += 2 {
		if _, ok := md[pairs[i]]; !ok && pairs[i] != "grpc-encoding" {
			dst = append(dst, rpcwire.Field{Name: pairs[i], Value: pairs[i+1]})
		}
	}
	return dst
}

// mdOf returns fields as metadata. Nil: there are none.
func mdOf(fields []rpcwire.Field) metadata.MD {
	if len(fields) == 0 {
		return nil
	}
	md := make(metadata.MD, len(fields))
	for _, f := range fields {
		md[f.Name] = append(md[f.Name], f.Value)
	}
	return md
}

// plainHeader is the header of most responses. Nobody may change it.
var plainHeader = metadata.MD{"content-type": {"application/grpc"}}

// headerOf returns a response header as metadata, which nobody may change. It is not nil, even if
// there are no fields.
func headerOf(fields []rpcwire.Field) metadata.MD {
	switch {
	case len(fields) == 0:
		return metadata.MD{}
	case len(fields) == 1 && fields[0] == rpcwire.Field{Name: "content-type", Value: "application/grpc"}:
		return plainHeader
	default:
		return mdOf(fields)
	}
}

// backlogShare is how many bytes of requests may wait to be written, for each connection over
// rpcwire, before large requests wait.
const backlogShare = 1 << 20

// Admit waits until a request message of about n bytes may be made, for a quarter of a second at
// most. The caller calls release before it makes the call. Calls over grpc-go never wait.
func (c *Channel) Admit(ctx context.Context, n int64) (release func()) {
	return c.balancer.admission.Admit(ctx, n)
}

// Called on the call path; takes no lock of the balancer.
func (k *wireLink) invoke(l *lease, p *pick, method string, args, reply any, opts []grpc.CallOption) error {
	var o wireOptions
	o.read(opts)
	err := k.whole(l, l, p, &o, method, args, reply)
	o.finished(err)
	return err
}

// whole makes a whole call. l and p are nil for a call without a claim.
//
// Called on the call path; takes no lock of the balancer.
func (k *wireLink) whole(ctx context.Context, l *lease, p *pick, o *wireOptions, method string, args, reply any) error {
	data, err := newCodec().Marshal(args)
	if err != nil {
		p.unstarted()
		return badMessage("encoding the request: %w", err)
	}
	defer data.Free()
	w, _ := k.balancer.wireCalls.Get().(*wireCall)
	if w == nil {
		w = new(wireCall)
	}
	defer k.putCall(w)
	r := &w.request
	o.fill(ctx, r, method)
	r.Unary, r.Body = true, r.Body[:0]
	for _, part := range data {
		r.Body = append(r.Body, part.ReadOnlyData())
	}
	if err := k.start(ctx, l, p, &w.call, r); err != nil {
		return err
	}
	if l != nil && l.mayFollow {
		l.ending.call.Store(&w.call)
		defer l.ending.call.Store(nil)
		if l.givenUp() {
			w.call.Cancel(context.Canceled)
		}
	}
	m, waitErr := w.call.Wait(ctx)
	header, headed := w.call.ResponseHeader()
	if o.header != nil && headed {
		*o.header = headerOf(header)
	}
	if o.trailer != nil {
		*o.trailer = mdOf(w.call.Trailer())
	}
	if err := k.concluded(ctx, l, p, &w.call, waitErr); err != nil {
		return err
	}
	return o.deliver(m, k.balancer.buffers, w.call.Encoding(), reply)
}

// putCall keeps a call that has ended for later calls.
func (k *wireLink) putCall(w *wireCall) {
	clear(w.request.Body)
	if cap(w.request.Metadata) > keptFields {
		w.request.Metadata = nil
	}
	clear(w.request.Metadata)
	w.request.Authority = ""
	k.balancer.wireCalls.Put(w)
}

// keptFields is how many fields there is room for while a call waits to be used again.
const keptFields = 64

// unstarted returns a claim whose call was not given to the connection. p may be nil.
//
// Called on the call path; takes no lock of the balancer.
func (p *pick) unstarted() {
	if p != nil {
		p.finish(evidence{exact: true}, true)
	}
}

// start starts a call. If it returns an error, the claim was returned.
//
// Called on the call path; takes no lock of the balancer.
func (k *wireLink) start(ctx context.Context, l *lease, p *pick, call *rpcwire.Call, r *rpcwire.Request) error {
	c := k.current.Load()
	if c == nil {
		return k.unsent(ctx, l, p)
	}
	if err := ctx.Err(); err != nil {
		p.unstarted()
		return endedBefore(err)
	}
	err := c.conn.Start(call, r)
	if err == nil {
		if p != nil {
			p.begin()
		}
		return nil
	}
	var e *rpcwire.Error
	if !errors.As(err, &e) {
		p.unstarted()
		return badMessage("starting the call: %w", err)
	}
	switch e.Kind {
	case rpcwire.KindLost, rpcwire.KindDraining:
		return k.unsent(ctx, l, p)
	case rpcwire.KindInvalid:
		p.unstarted()
	default:
		if p != nil {
			p.begin()
			p.finish(evidence{exact: true}, false)
		}
	}
	return newWireError(e)
}

// unsent ends an attempt of which nothing was written, because the connection does not take calls
// any more. Such a call may go elsewhere when the picker has noticed that as well.
//
// Called on the call path; takes no lock of the balancer.
func (k *wireLink) unsent(ctx context.Context, l *lease, p *pick) error {
	if l == nil {
		return errLinkDown
	}
	term := p.term
	p.unstarted()
	l.bind()
	k.balancer.awaitTermAfter(ctx, term)
	l.notProcessed()
	return errNotProcessed
}

// errLinkDown is the error of calls without a claim if the link is not READY.
var errLinkDown = &wireError{kind: failureLost, code: codes.Unavailable, cause: errors.New("the connection takes no calls")}

// concluded returns the claim of a call that has ended, with the evidence. It returns the error of
// the call. A nil failure means that the instance has sent its status.
//
// Called on the call path; takes no lock of the balancer.
func (k *wireLink) concluded(ctx context.Context, l *lease, p *pick, call *rpcwire.Call, failure error) error {
	if l != nil && mayBeRefused(failure) {
		if !call.Written() {
			return k.unsent(ctx, l, p)
		}
		if !l.refused {
			p.finish(evidence{exact: true, started: true}, false)
			l.notProcessed()
			return errNotProcessed
		}
	}
	ev := evidence{exact: true, started: call.Written(), received: call.Answered(), trailer: mdOf(call.Trailer())}
	err := failure
	switch e := failure.(type) { //nolint:errorlint // errors of calls are not wrapped
	case nil:
		ev.verdict = statusError(call.Status(), call.Trailer())
		err = ev.verdict
	case *rpcwire.Error:
		err = newWireError(e)
	}
	if p != nil {
		p.finish(ev, false)
	}
	return err
}

// mayBeRefused reports whether a call failed without having been processed, and not because its
// caller or its deadline ended it.
func mayBeRefused(failure error) bool {
	e, ok := failure.(*rpcwire.Error) //nolint:errorlint // errors of calls are not wrapped
	return ok && e.Unprocessed && e.Kind != rpcwire.KindCancelled && e.Kind != rpcwire.KindDeadline
}

// wireCalls makes calls that have no claim. They fail if the link is not READY.
type wireCalls struct{ link *wireLink }

// Invoke implements grpc.ClientConnInterface.
func (w wireCalls) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	var o wireOptions
	o.read(opts)
	err := w.link.whole(ctx, nil, nil, &o, method, args, reply)
	o.finished(err)
	return err
}

// NewStream implements grpc.ClientConnInterface.
func (w wireCalls) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	s, err := w.link.begin(ctx, nil, nil, desc, method, opts)
	if err != nil {
		return nil, err
	}
	return s, nil
}
