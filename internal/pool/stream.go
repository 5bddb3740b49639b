package pool

import (
	"context"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
)

// replayBytes and replayMessages limit what is kept of a stream for a second attempt at another
// instance. It is kept until the instance answers. The second attempt is made if the first one was
// certainly not processed (GOAWAY, REFUSED_STREAM). The first message of a call is kept at any
// size.
//
// gRPC's own limit is 256 KiB. With it a call with a larger message would be lost, and 52,000 empty
// messages would take 15 MiB.
const (
	replayBytes    = 64 << 10
	replayMessages = 64
)

// stream is what NewStream returns. If the instance refuses it unread, it begins again on another
// connection, once, and sends what was sent.
type stream struct {
	lease  lease
	desc   *grpc.StreamDesc
	method string
	// options are those for the link.
	options []grpc.CallOption
	// room is memory for the usual number of options, so that they need no allocation.
	room [6]grpc.CallOption

	// final is true once no other attempt can follow. Then current does not change any more, and
	// reading it needs no lock.
	final atomic.Bool

	mu sync.Mutex
	// current is the attempt that counts.
	current grpc.ClientStream
	// kept has the messages that were sent, for another attempt.
	kept []any
	// keptRoom is memory for the usual number of messages.
	keptRoom [1]any
	// keptBytes is the size of those that are raw.
	keptBytes int
	// closed is true once CloseSend was called.
	closed bool
}

// begin makes an attempt.
//
// Called on the call path; takes no lock of the balancer.
func (s *stream) begin() (grpc.ClientStream, error) {
	for {
		p, err := s.lease.channel.balancer.claim(&s.lease)
		if err != nil {
			return nil, err
		}
		cs, err := p.conn.link.newStream(&s.lease, p, s.desc, s.method, s.options)
		if err == nil || !s.lease.mayGoElsewhere() {
			return cs, err
		}
	}
}

// attempt returns the attempt that counts.
func (s *stream) attempt() grpc.ClientStream {
	if !s.final.Load() {
		s.mu.Lock()
		defer s.mu.Unlock()
	}
	return s.current
}

// keep keeps a message for another attempt. Beyond the limits it rules that attempt out.
//
// Caller must hold s.mu.
func (s *stream) keep(m any) {
	if s.final.Load() {
		return
	}
	raw, _ := m.(mem.BufferSlice)
	s.keptBytes += raw.Len()
	if n := len(s.kept); n > 0 && (n == replayMessages || s.keptBytes > replayBytes) {
		s.commit()
		return
	}
	raw.Ref()
	if s.kept == nil {
		s.kept = s.keptRoom[:0]
	}
	s.kept = append(s.kept, m)
}

// commit rules out another attempt. If the present one was refused a moment ago, the other one is
// made first.
//
// Caller must hold s.mu.
func (s *stream) commit() {
	if s.final.Load() {
		return
	}
	s.endRetries()
	for !s.final.Load() && s.lease.mayGoElsewhere() {
		s.restart()
		s.endRetries()
	}
	s.decide()
}

// endRetries makes a refusal of the present attempt final. A call that waits for a free stream may
// still have to go elsewhere, so it waits for that first. grpc-go does so in NewStream.
//
// Caller must hold s.mu.
func (s *stream) endRetries() {
	if a, ok := s.current.(*wireStream); ok {
		a.awaitStream()
	}
	_ = s.current.Context() // gRPC documents that this ends retries
}

// settle makes the present attempt the last one, because the instance has answered or the attempt
// has failed.
func (s *stream) settle() {
	if s.final.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.decide()
}

// abandon frees what was kept when the call has ended. If an operation is under way, it does that
// itself.
func (s *stream) abandon() {
	if !s.final.Load() && s.mu.TryLock() {
		s.decide()
		s.mu.Unlock()
	}
}

// decide makes the present attempt the last one, and frees what was kept for another.
//
// Caller must hold s.mu.
func (s *stream) decide() {
	s.final.Store(true)
	for _, m := range s.kept {
		free(m)
	}
	s.kept, s.keptRoom[0] = nil, nil
}

// goesOn reports whether another attempt has taken the place of a, which has failed. It makes one
// if a was certainly not processed. Another goroutine may have done that already.
//
// Called on the call path; takes no lock of the balancer.
func (s *stream) goesOn(a grpc.ClientStream) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == a && !s.final.Load() && s.lease.mayGoElsewhere() {
		s.restart()
	}
	return s.current != a
}

// restart makes another attempt, and sends what was sent before. It is the last one if an instance
// has refused the call. If no instance takes the attempt, receiving fails with the reason.
//
// Caller must hold s.mu.
func (s *stream) restart() {
	cs, err := s.begin()
	if err != nil {
		s.current = &failedStream{s.current, err}
		s.decide()
		s.lease.end(err)
		return
	}
	s.current = cs
	if s.lease.refused {
		defer s.decide()
	}
	for _, m := range s.kept {
		if raw, ok := m.(mem.BufferSlice); ok {
			raw.Ref() // the link frees what it sends
		}
		if cs.SendMsg(m) != nil {
			return // receiving fails with the reason
		}
	}
	if s.closed {
		_ = cs.CloseSend() // if this fails, receiving fails with the reason
	}
}

// failedStream takes the place of an attempt if another one could not be made.
type failedStream struct {
	// ClientStream is the attempt before.
	grpc.ClientStream

	err error
}

func (f *failedStream) SendMsg(m any) error {
	free(m)
	return f.err
}

func (f *failedStream) RecvMsg(any) error { return f.err }

// free frees a message if it is raw.
func free(m any) {
	if raw, ok := m.(mem.BufferSlice); ok {
		raw.Free()
	}
}

// Endpoint is the address of the instance that has the call. It is "" before one was picked.
func (s *stream) Endpoint() string { return s.lease.address() }

// Called on the call path; takes no lock of the balancer.
func (s *stream) Header() (metadata.MD, error) {
	a := s.attempt()
	md, err := a.Header()
	for md == nil && s.goesOn(a) { // without a header the attempt has failed
		a = s.attempt()
		md, err = a.Header()
	}
	s.settle()
	return md, s.lease.explain(err, s.headed)
}

// Called on the call path; takes no lock of the balancer.
func (s *stream) SendMsg(m any) error {
	s.lease.noteSent(m)
	if s.final.Load() {
		return s.lease.explain(s.current.SendMsg(m), s.headed)
	}
	s.mu.Lock()
	s.keep(m)
	a := s.current
	s.mu.Unlock()
	err := a.SendMsg(m)
	if err != nil && s.goesOn(a) {
		err = nil // the message was among those that were sent again
	}
	if err != nil || s.lease.ended.Load() {
		s.settle()
	}
	return s.lease.explain(err, s.headed)
}

// TakesFramed reports whether SendFramed may be called. Once it may, it always may. It may not
// while the call may have to begin again elsewhere, and never over grpc-go.
//
// Called on the call path; takes no lock of the balancer.
func (s *stream) TakesFramed() bool {
	if !s.final.Load() {
		return false
	}
	_, ok := s.current.(*wireStream)
	return ok
}

// SendFramed sends messages that have gRPC's prefix and are not compressed, one after the other. It
// is SendMsg for all of them. They belong to the caller again when it returns.
//
// Called on the call path; takes no lock of the balancer.
func (s *stream) SendFramed(framed []byte) error {
	s.lease.noteSentSize(largestOf(framed))
	return s.lease.explain(s.current.(*wireStream).sendFramed(framed), s.headed)
}

// Called on the call path; takes no lock of the balancer.
func (s *stream) CloseSend() error {
	s.mu.Lock()
	s.closed = true
	a := s.current
	s.mu.Unlock()
	if s.lease.ended.Load() {
		s.settle()
	}
	return a.CloseSend()
}

// Called on the call path; takes no lock of the balancer.
func (s *stream) RecvMsg(m any) error {
	if s.final.Load() {
		return s.lease.explain(s.current.RecvMsg(m), s.headed)
	}
	a := s.attempt()
	err := a.RecvMsg(m)
	for err != nil && s.goesOn(a) {
		a = s.attempt()
		err = a.RecvMsg(m)
	}
	s.settle()
	return s.lease.explain(err, s.headed)
}

// RecvWaiting appends messages that have come, each with gRPC's prefix. It does not wait. It stops
// before a message that is compressed or has more than 1 KiB, and when dst has limit bytes or more.
// It returns the number of messages. It is for the goroutine that calls RecvMsg, which returns the
// first message of a stream. There are none over grpc-go.
//
// Called on the call path; takes no lock of the balancer.
func (s *stream) RecvWaiting(dst []byte, limit int) (framed []byte, messages int) {
	if !s.final.Load() {
		return dst, 0
	}
	if a, ok := s.current.(*wireStream); ok {
		return a.RecvWaiting(dst, limit)
	}
	return dst, 0
}

// Trailer returns the trailer. It is for after the end of the stream.
func (s *stream) Trailer() metadata.MD { return s.attempt().Trailer() }

// Context returns the context of the attempt that counts. It rules out another one.
func (s *stream) Context() context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commit()
	return s.current.Context()
}

// headed reports whether the instance sent a header. It is called after the stream has ended.
func (s *stream) headed() bool {
	md, err := s.attempt().Header()
	return err == nil && md != nil
}
