package pool

import (
	"context"
	"io"
	"slices"
	"strings"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// lease is a call's hold on its channel, from NewStream to the end of the call. It is the context the call is made with, so
// that the picker finds it and can say which endpoint it gave the call to.
type lease struct {
	context.Context

	channel  *Channel
	endpoint atomic.Pointer[endpoint] // the last one picked
	picked   atomic.Int64             // when, on the fleet's clock
	attempts *attempts                // of the call; nil: there is only this one
	ended    atomic.Bool
	unary    bool
	caller   context.Context    // that of the call, of which this is one attempt; nil when no other one may follow
	cancel   context.CancelFunc // ends the attempt; nil likewise
	fate     atomic.Int32
	request  mem.BufferSlice // of Invoke, when it is raw
	trailer  metadata.MD     // of the attempt, once it is over
	leash    *leash          // of Invoke: what ends the attempt in place of Context; nil: nothing else does
	untie    func() bool     // unties the leash from Context
	late     bool            // the leash's deadline has passed
}

// mayFollow says that another attempt may follow, so that this one can be ended alone.
func (l *lease) mayFollow() {
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
	if l.leash != nil {
		if v := l.leash.ctx.Value(key); v != nil {
			return v // that by which the context package finds a parent to cancel its child
		}
	}
	return l.Context.Value(key)
}

func leaseFrom(ctx context.Context) *lease {
	l, _ := ctx.Value(leaseKey{}).(*lease)
	return l
}

// end returns the lease and notes how the call went. grpc calls it when the call is over, in whatever way.
func (l *lease) end(err error) {
	if l.ended.Swap(true) {
		return
	}
	if ep := l.endpoint.Load(); ep != nil {
		if err != nil {
			l.failed(ep, err)
		} else {
			now := l.channel.fleet.clock()
			if l.unary { // how long a stream takes says nothing about the endpoint
				ep.latency.observe(now, now-l.picked.Load())
			}
			ep.answers(now)
		}
	}
	if l.caller != nil {
		l.cancel()
	}
	l.channel.release()
}

// failed notes an error.
func (l *lease) failed(ep *endpoint, err error) {
	code := status.Code(err)
	if failure(code) {
		ep.failures.Add(1)
		text := err.Error()
		ep.lastError.Store(&text)
	}
	switch code {
	case codes.Unavailable:
		l.channel.fleet.suspect(ep)
	case codes.DeadlineExceeded:
		// Callers with less patience than this prove nothing.
		if l.channel.fleet.clock()-l.picked.Load() >= int64(patientCall) {
			l.channel.fleet.suspect(ep)
		}
	case codes.Canceled: // the caller's doing, or ours
		if l.givenUp() {
			ep.failures.Add(1)
		}
	default:
		ep.answers(l.channel.fleet.clock())
	}
}

// triedAt tells whether an earlier attempt went to the endpoint.
func (l *lease) triedAt(ep *endpoint) bool {
	return l.again() && slices.Contains(l.attempts.tried, ep)
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

// explain turns an error of grpc's own making into one that says what happened and gives no address away. Errors of
// the instance's, the caller's cancellation and its deadline pass.
func (l *lease) explain(err error) error {
	if err == nil || err == io.EOF { //nolint:errorlint // streams end with the bare io.EOF
		return err
	}
	st, ok := status.FromError(err)
	if ok && st.Code() == codes.Canceled && l.givenUp() {
		return l.stalledError(err)
	}
	if !ok || (st.Code() != codes.Unavailable && st.Code() != codes.Canceled) || l.callerErr() != nil {
		return err
	}
	ep := l.endpoint.Load()
	cut := l.channel.cut.Load()
	switch {
	case ep != nil && (ep.cut.Load() || cut) && (lost(st) || st.Code() == codes.Canceled):
		message := instanceDrained
		if cut {
			message = channelDrained
		}
		return &LostError{Address: ep.addr, Drained: true, Cause: err, message: message}
	case ep == nil && st.Code() == codes.Canceled:
		return l.channel.closedError() // it waited for a pick while the channel closed
	case ep != nil && lost(st):
		if strings.Contains(st.Message(), tooManyPings) {
			f := l.channel.fleet
			f.ask(func() { f.events.tooManyPings(ep.addr, f.settings.KeepaliveTime) })
		}
		return &LostError{Address: ep.addr, Cause: err, message: "the connection to the instance was lost: " + gistOfText(st.Message())}
	}
	return err
}

// stream is what NewStream returns.
type stream struct {
	grpc.ClientStream

	lease   lease
	options [5]grpc.CallOption // room for the usual number, so that they need no allocation
}

// Endpoint is the address of the instance that has the call, "" before one was picked.
func (s *stream) Endpoint() string { return s.lease.address() }

func (s *stream) Header() (metadata.MD, error) {
	md, err := s.ClientStream.Header()
	return md, s.lease.explain(err)
}

func (s *stream) SendMsg(m any) error { return s.lease.explain(s.ClientStream.SendMsg(m)) }

func (s *stream) RecvMsg(m any) error { return s.lease.explain(s.ClientStream.RecvMsg(m)) }
