package pool

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// lease is a call's hold on its channel, from NewStream to the end of the call. It is the context
// the call is made with, so that the picker finds it and can say which endpoint it gave the call
// to.
type lease struct {
	context.Context

	channel  *Channel
	endpoint atomic.Pointer[endpoint] // the last one picked
	picked   atomic.Int64             // when, on the fleet's clock
	attempts *attempts                // of the call; nil: there is only this one
	ended    atomic.Bool
	unary    bool
	// uncounted is true for calls of the gateway's own, see Uncounted.
	uncounted bool
	// That of the call, of which this is one attempt; nil when no other one may follow.
	caller   context.Context
	cancel   context.CancelFunc // ends the attempt; nil likewise
	fate     atomic.Int32
	request  mem.BufferSlice // of Invoke, when it is raw
	evidence evidence        // once the attempt is over
	largest  atomic.Int64    // bytes of the largest message that was sent
	// Of Invoke: what ends the attempt in place of Context; nil: nothing else does.
	own    *attemptContext
	unbind func() bool // takes the attempt's own context off that of the caller
	late   bool        // the deadline of the attempt's own context has passed
}

// makeCancellable lets this attempt be ended alone, because another one may follow.
func (l *lease) makeCancellable() {
	l.caller = l.Context
	l.Context, l.cancel = context.WithCancel(l.caller)
}

// callerErr is that of the caller's context: the attempt's ends with the attempt.
func (l *lease) callerErr() error {
	switch {
	case l.caller != nil:
		return l.caller.Err()
	case l.late:
		return context.DeadlineExceeded
	default:
		return l.Context.Err()
	}
}

type leaseKey struct{}

// Value gives the lease itself, beside what the caller's context has.
func (l *lease) Value(key any) any {
	if _, ok := key.(leaseKey); ok {
		return l
	}
	if l.own != nil {
		if v := l.own.ctx.Value(key); v != nil {
			return v // that by which the context package finds a parent to cancel its child
		}
	}
	return l.Context.Value(key)
}

func leaseFrom(ctx context.Context) *lease {
	l, _ := ctx.Value(leaseKey{}).(*lease)
	return l
}

// end returns the lease and notes how the call went. grpc calls it when the call is over, in
// whatever way.
//
// Called on the call path; takes no lock of the fleet.
func (l *lease) end(err error) {
	if l.ended.Swap(true) {
		return
	}
	if ep := l.endpoint.Load(); ep != nil && l.counts() {
		if err != nil {
			l.failed(ep, err)
		} else {
			now := l.channel.fleet.clock()
			if l.unary { // how long a stream takes says nothing about the endpoint
				ep.Latency.Observe(now, now-l.picked.Load())
			}
			ep.Answer(now)
			ep.works()
		}
	}
	if l.caller != nil {
		l.cancel()
	}
	l.channel.release()
}

// failed notes an error.
//
// Called on the call path; takes no lock of the fleet.
func (l *lease) failed(ep *endpoint, err error) {
	code := status.Code(err)
	if !l.evidence.started && code != codes.Unavailable && code != codes.DeadlineExceeded && code != codes.Canceled {
		return // it never left the gateway, so it says nothing about the instance
	}
	if speaksAgainst(code) {
		ep.failures.Add(1)
		ep.wrong(err)
	}
	switch code {
	case codes.Unavailable:
		l.channel.fleet.recordFailure(ep)
	case codes.DeadlineExceeded:
		// Callers with less patience than this prove nothing.
		if l.channel.fleet.clock()-l.picked.Load() >= int64(patientCall) {
			l.channel.fleet.recordFailure(ep)
		}
	case codes.Canceled: // the caller's doing, or ours
		if l.givenUp() {
			ep.failures.Add(1)
		}
	default:
		ep.Answer(l.channel.fleet.clock())
	}
}

// counts tells whether operators and the balancer see the call.
func (l *lease) counts() bool { return l == nil || !l.uncounted }

// triedAt tells whether an earlier attempt went to the endpoint.
func (l *lease) triedAt(ep *endpoint) bool {
	return l.again() && slices.Contains(l.attempts.tried, &ep.Endpoint)
}

// again tells whether it is another attempt of a call.
func (l *lease) again() bool { return l != nil && l.attempts != nil && len(l.attempts.tried) > 0 }

// address of the endpoint that was picked.
func (l *lease) address() string {
	if ep := l.endpoint.Load(); ep != nil {
		return ep.addr
	}
	return ""
}

// explain turns an error that was made in this process into one that says what happened and gives
// no address away. A status that the instance sent passes as it is. headed tells whether the
// instance sent a header.
//
// Called on the call path; takes no lock of the fleet.
func (l *lease) explain(err error, headed func() bool) error {
	if err == nil || err == io.EOF { //nolint:errorlint // streams end with the bare io.EOF
		return err
	}
	switch err.(type) { //nolint:errorlint // grpc passes the picker's own error on unwrapped
	case *UnavailableError, *LostError, *CallError:
		return err
	}
	st := status.Convert(err)
	switch {
	case st.Code() == codes.Canceled && l.givenUp():
		return l.stalledError(err)
	case l.fromInstance(st, headed):
		return err
	}
	kind, ep := l.localKind(st), l.endpoint.Load()
	if l.callerErr() == nil {
		cut := l.channel.cut.Load()
		switch {
		case ep == nil && st.Code() == codes.Canceled:
			return l.channel.closedError() // it waited for a pick while the channel closed
		case ep != nil && (ep.cut.Load() || cut) && (kind == failureLost || st.Code() == codes.Canceled):
			message := instanceDrained
			if cut {
				message = channelDrained
			}
			return &LostError{Address: ep.addr, Drained: true, Cause: err, message: message}
		case kind == failureLost:
			return &LostError{Address: ep.addr, Cause: err, message: "the connection to the instance was lost: " + gistOfText(st.Message())}
		}
	}
	return l.callError(kind, st.Code(), err)
}

// callError makes the error of a kind.
func (l *lease) callError(kind failure, code codes.Code, cause error) *CallError {
	e := &CallError{Address: l.address(), Cause: cause, service: l.channel.fleet.service, kind: kind, code: code}
	switch kind {
	case failureDeadline:
		e.code = codes.DeadlineExceeded
	case failureHeadersTooLarge:
		e.code = codes.ResourceExhausted
	case failureAnswerTooLarge:
		e.code = codes.ResourceExhausted
		e.detail = fmt.Sprintf("max_receive_size is %d bytes", l.channel.fleet.settings.MaxReceiveSize)
	default:
	}
	return e
}

// fate is what becomes of an attempt that may be made again.
const (
	fateOpen     = iota
	fateAnswered // its response has begun, and the call goes on with it
	fateGivenUp  // its instance stalled
)

// giveUp ends the attempt if another one may follow.
//
// Called on the call path; takes no lock of the fleet.
func (l *lease) giveUp() bool {
	if l == nil || l.cancel == nil || !l.fate.CompareAndSwap(fateOpen, fateGivenUp) {
		return false
	}
	l.cancel()
	return true
}

// answered notes that the response has begun; false when the attempt was given up before.
//
// Called on the call path; takes no lock of the fleet.
func (l *lease) answered() bool {
	return l.fate.CompareAndSwap(fateOpen, fateAnswered) || l.fate.Load() != fateGivenUp
}

func (l *lease) givenUp() bool { return l.fate.Load() == fateGivenUp }

// stalledError is that of an attempt that was given up.
func (l *lease) stalledError(cause error) error {
	return &LostError{Address: l.address(), Cause: fmt.Errorf("%s: %w", stalledText, cause), message: "the instance does not answer"}
}

// stream is what NewStream returns.
type stream struct {
	grpc.ClientStream

	lease   lease
	options [6]grpc.CallOption // room for the usual number, so that they need no allocation

	sent      int  // messages
	sentBytes int  // of them
	settled   bool // gRPC keeps nothing for a second attempt any more.
}

// Endpoint is the address of the instance that has the call, "" before one was picked.
func (s *stream) Endpoint() string { return s.lease.address() }

// Called on the call path; takes no lock of the fleet.
func (s *stream) Header() (metadata.MD, error) {
	md, err := s.ClientStream.Header()
	return md, s.lease.explain(err, s.headed)
}

// Called on the call path; takes no lock of the fleet.
func (s *stream) SendMsg(m any) error {
	s.lease.noteSent(m)
	s.boundReplay(m)
	return s.lease.explain(s.ClientStream.SendMsg(m), s.headed)
}

// boundReplay makes gRPC give up the second attempt before it would keep too much for it: see
// replayBytes.
func (s *stream) boundReplay(m any) {
	if s.settled {
		return
	}
	if raw, ok := m.(mem.BufferSlice); ok {
		s.sentBytes += raw.Len()
	}
	s.sent++
	if s.sent > 1 && (s.sent > replayMessages || s.sentBytes > replayBytes) {
		s.settled = true
		_ = s.ClientStream.Context() // gRPC documents that this ends retries.
	}
}

// Called on the call path; takes no lock of the fleet.
func (s *stream) RecvMsg(m any) error { return s.lease.explain(s.ClientStream.RecvMsg(m), s.headed) }

// headed tells whether the instance sent a header. The stream has ended.
func (s *stream) headed() bool {
	md, err := s.ClientStream.Header()
	return err == nil && md != nil
}

// noteSent notes the size of a message, for sentAsLargeAs.
func (l *lease) noteSent(m any) {
	if raw, ok := m.(mem.BufferSlice); ok {
		if n := int64(raw.Len()); n > l.largest.Load() {
			l.largest.Store(n)
		}
	}
}
