package pool

import (
	"context"
	"errors"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/metadata"

	"github.com/caddy-grpc/gateway/internal/rpcwire"
)

// wireCall is the part of a whole call that only attempts over rpcwire need.
type wireCall struct {
	claim   pick
	call    rpcwire.Call
	request rpcwire.Request
}

// keptFields is how many fields there is room for while a call waits to be used again.
const keptFields = 64

// forget drops what belonged to a call that has ended.
func (w *wireCall) forget() {
	r := &w.request
	clear(r.Body)
	clear(r.Metadata)
	if cap(r.Metadata) > keptFields {
		r.Metadata = nil
	}
	*r = rpcwire.Request{Body: r.Body[:0], Metadata: r.Metadata[:0]}
}

// wireOptions are the call options that a link of rpcwire knows. All calls use the codec of this
// package. The options for grpc-go's own retries mean nothing here.
type wireOptions struct {
	header, trailer *metadata.MD
	maxReceive      int
	finish          []func(error)
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
		}
	}
}

// finished calls what the caller has given to OnFinish.
func (o *wireOptions) finished(err error) {
	for _, f := range o.finish {
		f(err)
	}
}

// fill fills in what is the same for whole calls without a claim and for streams.
func (o *wireOptions) fill(ctx context.Context, r *rpcwire.Request, method string) {
	r.Method, r.MaxMessage = method, o.maxReceive
	r.Deadline, _ = ctx.Deadline()
	r.Metadata = appendContextMetadata(ctx, acceptEncoding())
}

// acceptEncoding returns the field for the compression that requests say they accept. It is nil if
// there is none. Compressors are registered while the process starts. Nobody may change the field,
// and there is no room for another.
var acceptEncoding = sync.OnceValue(func() []rpcwire.Field {
	if encoding.GetCompressor(gzipName) == nil {
		return nil
	}
	return []rpcwire.Field{{Name: "grpc-accept-encoding", Value: gzipName}}
})

// appendContextMetadata appends the metadata of a context. It leaves out the compression of the
// request, which belongs to gRPC: requests are not compressed.
func appendContextMetadata(ctx context.Context, dst []rpcwire.Field) []rpcwire.Field {
	md, _ := metadata.FromOutgoingContext(ctx)
	for name, values := range md {
		if name == "grpc-encoding" {
			continue
		}
		for _, v := range values {
			dst = append(dst, rpcwire.Field{Name: name, Value: v})
		}
	}
	return dst
}

// appendMetadata appends the metadata of the call.
func (w *wholeCall) appendMetadata(ctx context.Context, dst []rpcwire.Field) []rpcwire.Field {
	dst = append(dst, acceptEncoding()...)
	if w.invoked {
		return appendContextMetadata(ctx, dst)
	}
	pairs := w.call.Metadata
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i] != "grpc-encoding" {
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
func (k *wireLink) invoke(w *wholeCall, l *lease, p *pick) error {
	var o wireOptions
	o.read(w.options)
	if o.maxReceive == 0 {
		o.maxReceive = k.balancer.settings.MaxReceiveSize
	}
	wire := w.overWire()
	call, r := &wire.call, &wire.request
	r.Method, r.MaxMessage, r.Unary = w.call.Method, o.maxReceive, true
	r.Deadline, _ = l.Deadline()
	r.Metadata = w.appendMetadata(l, r.Metadata[:0])
	r.Body = w.appendRequest(r.Body[:0])
	m, err := k.roundTrip(l, l, p, call, r, &w.call.Header)
	if err == nil {
		w.call.Response, err = plainMessage(m, k.balancer.buffers, call.Encoding(), o.maxReceive)
	}
	o.finished(err)
	return err
}

// roundTrip makes a whole call, and sets the header if there was one. l and p are nil for a call
// without a claim. An error is that of the call, and a message comes without one.
//
// Called on the call path; takes no lock of the balancer.
func (k *wireLink) roundTrip(ctx context.Context, l *lease, p *pick, call *rpcwire.Call, r *rpcwire.Request, header *metadata.MD) (rpcwire.Message, error) {
	if err := k.start(ctx, l, p, call, r); err != nil {
		return rpcwire.Message{}, err
	}
	if l != nil && l.mayFollow {
		l.ending.call.Store(call)
		defer l.ending.call.Store(nil)
		if l.givenUp() {
			call.Cancel(context.Canceled)
		}
	}
	m, failure := call.Wait(ctx)
	if fields, ok := call.ResponseHeader(); ok {
		*header = headerOf(fields)
	}
	return m, k.concluded(ctx, l, p, call, failure)
}

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
	err := w.invoke(ctx, &o, method, args, reply)
	o.finished(err)
	return err
}

func (w wireCalls) invoke(ctx context.Context, o *wireOptions, method string, args, reply any) error {
	data, err := rawMessages.Marshal(args)
	if err != nil {
		return badMessage("encoding the request: %w", err)
	}
	defer data.Free()
	var call rpcwire.Call
	var r rpcwire.Request
	o.fill(ctx, &r, method)
	r.Unary = true
	for _, part := range data {
		r.Body = append(r.Body, part.ReadOnlyData())
	}
	var header metadata.MD
	m, err := w.link.roundTrip(ctx, nil, nil, &call, &r, &header)
	if o.header != nil && header != nil {
		*o.header = header
	}
	if o.trailer != nil {
		*o.trailer = mdOf(call.Trailer())
	}
	if err != nil {
		return err
	}
	return o.deliver(m, w.link.balancer.buffers, call.Encoding(), reply)
}

// NewStream implements grpc.ClientConnInterface.
func (w wireCalls) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	s, err := w.link.begin(ctx, nil, nil, desc, method, opts)
	if err != nil {
		return nil, err
	}
	return s, nil
}
