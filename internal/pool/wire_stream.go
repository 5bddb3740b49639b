package pool

import (
	"context"
	"io"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/caddy-grpc/gateway/internal/rpcwire"
)

// wireStream is a stream over rpcwire. As with grpc-go, one goroutine may send while another one
// receives.
type wireStream struct {
	link *wireLink
	// lease and pick are nil for a stream without a claim.
	lease *lease
	pick  *pick
	// context is the lease, or what the caller gave.
	context context.Context
	desc    *grpc.StreamDesc
	options wireOptions
	call    rpcwire.Call
	// stop detaches the stream from its context.
	stop func() bool

	// sentAll is true once no message may follow. It belongs to the sender.
	sentAll bool
	// received is true once a message has come. It belongs to the receiver.
	received bool

	mu sync.Mutex
	// final is true once a refusal must not lead to another attempt.
	final bool
	// over is true once the claim was returned. err is the end of the stream then, and nil if the
	// status is OK.
	over bool
	err  error
	// trailer is known once the stream is over.
	trailer metadata.MD
}

// Called on the call path; takes no lock of the balancer.
func (k *wireLink) newStream(l *lease, p *pick, desc *grpc.StreamDesc, method string, opts []grpc.CallOption) (grpc.ClientStream, error) {
	s, err := k.begin(l, l, p, desc, method, opts)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// begin begins a stream. l and p are nil for a stream without a claim.
//
// Called on the call path; takes no lock of the balancer.
func (k *wireLink) begin(ctx context.Context, l *lease, p *pick, desc *grpc.StreamDesc, method string, opts []grpc.CallOption) (*wireStream, error) {
	s := &wireStream{link: k, lease: l, pick: p, context: ctx, desc: desc, final: l != nil && l.refused}
	s.options.read(opts)
	var r rpcwire.Request
	s.options.fill(ctx, &r, method)
	if err := k.start(ctx, l, p, &s.call, &r); err != nil {
		s.options.finished(err)
		return nil, err
	}
	open := k.balancer.wireStreams.add(s)
	// The caller may leave a stream alone after it has ended its context. The lease must be
	// returned even then.
	s.mu.Lock()
	s.stop = context.AfterFunc(ctx, s.abandoned)
	s.mu.Unlock()
	if !open {
		s.abandoned()
	}
	return s, nil
}

// abandoned ends the stream because its context has ended, or the channel is closed.
//
// Called on the call path; takes no lock of the balancer.
func (s *wireStream) abandoned() {
	s.call.Cancel(context.Cause(s.context))
	s.mu.Lock()
	s.final = true // nobody waits for another attempt
	s.mu.Unlock()
	_ = s.finish(s.call.Err())
}

// finish notes that the call has ended, and returns the claim. Only the first call counts. A nil
// failure means that the instance has sent its status. It returns the end of the stream, which is
// nil if the status is OK.
//
// Called on the call path; takes no lock of the balancer.
func (s *wireStream) finish(failure error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return s.err
	}
	if s.refused(failure) {
		s.close(errNotProcessed)
		return s.err
	}
	s.close(s.link.concluded(s.context, nil, s.pick, &s.call, failure))
	s.options.finished(s.err)
	if s.lease != nil {
		s.lease.end(s.err)
	}
	return s.err
}

// refused reports whether the call was certainly not processed and may go elsewhere. If so, it has
// told the lease.
//
// Caller must hold s.mu. Called on the call path; takes no lock of the balancer.
func (s *wireStream) refused(failure error) bool {
	if s.final || s.lease == nil || !mayBeRefused(failure) {
		return false
	}
	_ = s.link.concluded(s.context, s.lease, s.pick, &s.call, failure)
	return true
}

// Header waits for the header. Like grpc-go, it leaves the reason of a failure to RecvMsg.
//
// Called on the call path; takes no lock of the balancer.
func (s *wireStream) Header() (metadata.MD, error) {
	header, err := s.call.Header(s.context)
	switch {
	case err != nil:
		_ = s.finish(err)
	case len(header) > 0: // it has a content-type at least
		return mdOf(header), nil
	default: // the only header block was the one with the status
		_ = s.finish(s.missing())
	}
	return nil, nil
}

// SendMsg sends a message, and frees it if it is raw. It returns io.EOF if the stream has ended.
// RecvMsg then says why.
//
// Called on the call path; takes no lock of the balancer.
func (s *wireStream) SendMsg(m any) error {
	data, err := newCodec().Marshal(m)
	if err != nil {
		return badMessage("encoding the request: %w", err)
	}
	defer data.Free()
	if s.sentAll {
		return badMessage("a message was sent after the last one")
	}
	s.sentAll = !s.desc.ClientStreams
	var room [4][]byte
	parts := room[:0]
	for _, part := range data {
		parts = append(parts, part.ReadOnlyData())
	}
	err = s.call.Send(s.context, false, parts...)
	switch {
	case err == nil && s.sentAll:
		s.call.CloseSend()
	case err != nil && !s.sentAll:
		return s.cannotSend()
	}
	return nil
}

// sendFramed is SendMsg for messages that have their prefixes.
//
// Called on the call path; takes no lock of the balancer.
func (s *wireStream) sendFramed(framed []byte) error {
	if s.sentAll || !s.desc.ClientStreams {
		return badMessage("a message was sent after the last one")
	}
	if s.call.Send(s.context, true, framed) != nil {
		return s.cannotSend()
	}
	return nil
}

// cannotSend returns the error of SendMsg after the stream has ended.
//
// Called on the call path; takes no lock of the balancer.
func (s *wireStream) cannotSend() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checkRefusal()
	if s.over && s.err == errNotProcessed { //nolint:errorlint // it is this very error
		return errNotProcessed
	}
	return io.EOF
}

// checkRefusal ends the attempt if the call was certainly not processed and may go elsewhere.
//
// Caller must hold s.mu. Called on the call path; takes no lock of the balancer.
func (s *wireStream) checkRefusal() {
	if !s.over && s.refused(s.call.Failure()) {
		s.close(errNotProcessed)
	}
}

// close ends the attempt.
//
// Caller must hold s.mu. Called on the call path; takes no lock of the balancer.
func (s *wireStream) close(err error) {
	s.over, s.err = true, err
	s.stop()
	s.link.balancer.wireStreams.remove(s)
	s.trailer = mdOf(s.call.Trailer())
	if s.options.trailer != nil {
		*s.options.trailer = s.trailer
	}
}

// CloseSend says that no messages follow.
//
// Called on the call path; takes no lock of the balancer.
func (s *wireStream) CloseSend() error {
	s.sentAll = true
	s.call.CloseSend()
	return nil
}

// RecvMsg receives a message. It returns io.EOF after the last one, and the reason if the stream
// has failed. If the call has one response message, RecvMsg returns it when the status has come.
//
// Called on the call path; takes no lock of the balancer.
func (s *wireStream) RecvMsg(m any) error {
	msg, err := s.call.Recv(s.context)
	if err != nil {
		return s.ended(err)
	}
	s.received = true
	if s.desc.ServerStreams {
		return s.deliver(msg, m)
	}
	second, err := s.call.Recv(s.context)
	if err == nil {
		s.putBack(msg)
		s.putBack(second)
		return s.abort(notOneMessage("the peer sent another message after the first"))
	}
	if err := s.ended(err); err != io.EOF { //nolint:errorlint // streams end with the bare io.EOF
		s.putBack(msg)
		return err
	}
	return s.deliver(msg, m)
}

// RecvWaiting appends messages that have come, each with gRPC's prefix. It does not wait. It is for
// the goroutine that calls RecvMsg. See rpcwire.Call.
//
// Called on the call path; takes no lock of the balancer.
func (s *wireStream) RecvWaiting(dst []byte, limit int) (framed []byte, messages int) {
	if !s.desc.ServerStreams || !s.received {
		return dst, 0
	}
	return s.call.RecvWaiting(dst, limit)
}

// deliver gives a message to the caller. If it cannot be decoded, it ends the stream.
//
// Called on the call path; takes no lock of the balancer.
func (s *wireStream) deliver(msg rpcwire.Message, m any) error {
	if err := s.options.deliver(msg, s.link.balancer.buffers, s.call.Encoding(), m); err != nil {
		return s.abort(err)
	}
	return nil
}

// abort ends the stream because of what has come.
//
// Called on the call path; takes no lock of the balancer.
func (s *wireStream) abort(failure error) error {
	s.call.Cancel(failure)
	if err := s.finish(failure); err != nil {
		return err
	}
	return failure
}

// ended returns the error of RecvMsg after the last message.
//
// Called on the call path; takes no lock of the balancer.
func (s *wireStream) ended(failure error) error {
	if failure == io.EOF { //nolint:errorlint // streams end with the bare io.EOF
		failure = nil
		if !s.received {
			failure = s.missing()
		}
	}
	if err := s.finish(failure); err != nil {
		return err
	}
	return io.EOF
}

// missing returns the failure of a stream that has ended without a message, if it must have one.
func (s *wireStream) missing() error {
	if s.desc.ServerStreams || s.call.Status().Code != codes.OK {
		return nil
	}
	return notOneMessage("the peer sent no message")
}

func notOneMessage(text string) *rpcwire.Error {
	return &rpcwire.Error{Kind: rpcwire.KindNotOneMessage, Code: codes.Internal, Message: text}
}

// putBack frees a message that nobody gets.
func (s *wireStream) putBack(m rpcwire.Message) { s.link.balancer.buffers.Put(m.Buf) }

// Trailer returns the trailer. It is for after the end of the stream.
func (s *wireStream) Trailer() metadata.MD {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.trailer
}

// Context returns the context of the stream. It rules out another attempt, unless the call has been
// refused already.
func (s *wireStream) Context() context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checkRefusal()
	s.final = true
	return s.context
}

// awaitStream waits until the connection has a free stream for the call, or the call has ended.
func (s *wireStream) awaitStream() { s.call.AwaitStream(s.context) }

// wireStreams has the streams of a channel that are not over.
type wireStreams struct {
	mu     sync.Mutex
	open   map[*wireStream]struct{}
	closed bool
}

// add adds a stream. It returns false if the channel is closed.
func (w *wireStreams) add(s *wireStream) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return false
	}
	if w.open == nil {
		w.open = make(map[*wireStream]struct{})
	}
	w.open[s] = struct{}{}
	return true
}

func (w *wireStreams) remove(s *wireStream) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.open, s)
}

// close ends all streams. Their connections are closed. Nobody may be waiting for the streams.
func (w *wireStreams) close() {
	w.mu.Lock()
	w.closed = true
	open := w.open
	w.open = nil
	w.mu.Unlock()
	for s := range open {
		s.abandoned()
	}
}
