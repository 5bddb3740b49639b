package pool

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"

	"github.com/caddy-grpc/gateway/internal/rpcwire"
)

// lease is a call's hold on its channel, from NewStream to the end of the call. It is also the
// context of the call. There the picker finds it and notes which endpoint got the call.
//
// A call that may be retried has one lease for each attempt.
type lease struct {
	context.Context

	channel *Channel
	// endpoint is the last endpoint that was picked.
	endpoint atomic.Pointer[endpoint]
	// picked is when that was, on the balancer's clock.
	picked atomic.Int64
	// attempts are those of the call. Nil: this is the only one.
	attempts *attempts
	ended    atomic.Bool
	unary    bool
	// stream is what the call is for its caller. Nil: it is a whole call.
	stream *stream
	// whole is the call. Nil: it is a stream.
	whole *wholeCall
	// claim is what grpcPicker gives to grpc. Nil: grpc has it, or there is none.
	claim *pick
	// claimed is true once there was a claim for grpc.
	claimed bool
	// unprocessed is true if the last attempt was certainly not processed. See mayGoElsewhere.
	unprocessed atomic.Bool
	// unprocessedAttempts is the number of attempts that were certainly not processed.
	unprocessedAttempts atomic.Uint32
	// refused is true once an instance has refused the call unread.
	refused bool
	// uncounted is true for the gateway's own calls. See Uncounted.
	uncounted bool
	// caller is the context of the whole stream call. Nil: no other attempt may follow.
	caller context.Context
	// cancel ends an attempt of a stream. Nil: no other attempt may follow, or it is a whole call.
	cancel context.CancelFunc
	// mayFollow is true for a whole call if another attempt may follow.
	mayFollow bool
	// ending is what giveUp ends an attempt of a whole call with.
	ending ending
	fate   atomic.Int32
	// evidence is known when the attempt is over.
	evidence evidence
	// largest is the size of the largest message that was sent, in bytes.
	largest atomic.Int64
	// deadline is that of an attempt of a whole call, in addition to Context's. Zero: none.
	deadline time.Time
	// own ends an attempt of a whole call. Nil: only Context ends it, or the link does.
	own *attemptContext
	// unbind detaches own from the caller's context.
	unbind func() bool
	// late is true once the deadline of own has passed.
	late bool
}

// makeCancellable makes it possible to end this attempt alone, because another one may follow.
func (l *lease) makeCancellable() {
	l.caller = l.Context
	l.Context, l.cancel = context.WithCancel(l.caller)
}

// callerErr is the error of the caller's context. The context of the attempt ends with the attempt.
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

// Value returns the lease itself for leaseKey. Otherwise it returns the value of the caller's
// context.
func (l *lease) Value(key any) any {
	if _, ok := key.(leaseKey); ok {
		return l
	}
	if l.own != nil {
		if v := l.own.ctx.Value(key); v != nil {
			return v // the context package finds the parent that cancels a child by this value
		}
	}
	return l.Context.Value(key)
}

func leaseFrom(ctx context.Context) *lease {
	l, _ := ctx.Value(leaseKey{}).(*lease)
	return l
}

// end returns the lease and notes how the call went. It is called when the call is over, however it
// ended.
//
// Called on the call path; takes no lock of the balancer.
func (l *lease) end(err error) {
	if l.ended.Swap(true) {
		return
	}
	if ep := l.endpoint.Load(); ep != nil && l.counts() {
		if err != nil {
			l.failed(ep, err)
		} else {
			now := l.channel.balancer.clock()
			if l.unary { // the duration of a stream says nothing about the endpoint
				ep.Latency.Observe(now, now-l.picked.Load())
			}
			ep.Answer(now)
			ep.clearError()
		}
	}
	if l.caller != nil {
		l.cancel()
	}
	if l.stream != nil {
		l.stream.abandon()
	}
	l.channel.release()
}

// failed notes an error.
//
// Called on the call path; takes no lock of the balancer.
func (l *lease) failed(ep *endpoint, err error) {
	code := status.Code(err)
	if !l.evidence.started && code != codes.Unavailable && code != codes.DeadlineExceeded && code != codes.Canceled {
		return // the call never left the gateway, so the error says nothing about the instance
	}
	if speaksAgainst(code) {
		ep.failures.Add(1)
		ep.noteError(err)
	}
	switch code {
	case codes.Unavailable:
		l.channel.balancer.recordFailure(ep)
	case codes.DeadlineExceeded:
		// A shorter deadline proves nothing about the instance.
		if l.channel.balancer.clock()-l.picked.Load() >= int64(patientCall) {
			l.channel.balancer.recordFailure(ep)
		}
	case codes.Canceled: // by the caller, or by giveUp
		if l.givenUp() {
			ep.failures.Add(1)
		}
	default:
		ep.Answer(l.channel.balancer.clock())
	}
}

// counts reports whether operators and the balancer see the call.
func (l *lease) counts() bool { return l == nil || !l.uncounted }

// triedAt reports whether an earlier attempt went to the endpoint.
func (l *lease) triedAt(ep *endpoint) bool {
	return l.isRetry() && slices.Contains(l.attempts.tried, &ep.Endpoint)
}

// isRetry reports whether an earlier attempt of the call was made.
func (l *lease) isRetry() bool { return l != nil && l.attempts != nil && len(l.attempts.tried) > 0 }

// address returns the address of the endpoint that was picked, or "".
func (l *lease) address() string {
	if ep := l.endpoint.Load(); ep != nil {
		return ep.addr
	}
	return ""
}

// explain turns an error that was made in this process into one that says what happened. The new
// error reveals no address to the client. A status that the instance sent passes unchanged. headed
// reports whether the instance sent a header.
//
// Called on the call path; takes no lock of the balancer.
func (l *lease) explain(err error, headed func() bool) error {
	if err == nil || err == io.EOF { //nolint:errorlint // streams end with the bare io.EOF
		return err
	}
	switch err.(type) { //nolint:errorlint // grpc passes the picker's own error on unwrapped
	case *UnavailableError, *LostError, *CallError:
		return err
	}
	if err == errNotProcessed { //nolint:errorlint // as above
		return l.callError(failureReset, codes.Unavailable, err)
	}
	st := status.Convert(err)
	switch {
	case st.Code() == codes.Canceled && l.givenUp():
		return l.stalledError(err)
	case l.fromInstance(err, st, headed):
		return err
	}
	kind, ep := l.localKind(err, st), l.endpoint.Load()
	if l.callerErr() == nil {
		cut := l.channel.cut.Load()
		switch {
		case ep == nil && st.Code() == codes.Canceled:
			return l.channel.closedError() // the call waited for a pick while the channel closed
		case ep != nil && (ep.cut.Load() || cut) && (kind == failureLost || st.Code() == codes.Canceled):
			message := instanceDrained
			if cut {
				message = channelDrained
			}
			return &LostError{Address: ep.addr, Drained: true, Cause: err, message: message}
		case kind == failureLost:
			return &LostError{Address: ep.addr, Cause: err, message: "the connection to the instance was lost: " + gistOfLoss(err, st)}
		}
	}
	return l.callError(kind, st.Code(), err)
}

// callError makes an error of the given kind.
func (l *lease) callError(kind failure, code codes.Code, cause error) *CallError {
	e := &CallError{Address: l.address(), Cause: cause, service: l.channel.balancer.service, kind: kind, code: code}
	switch kind {
	case failureDeadline:
		e.code = codes.DeadlineExceeded
	case failureHeadersTooLarge:
		e.code = codes.ResourceExhausted
	case failureAnswerTooLarge:
		e.code = codes.ResourceExhausted
		e.detail = fmt.Sprintf("max_receive_size is %d bytes", l.channel.balancer.settings.MaxReceiveSize)
	default:
	}
	return e
}

// The values of lease.fate say what became of an attempt that another one may follow.
const (
	fateOpen = iota
	// fateAnswered means that the response has begun, and the call goes on with it.
	fateAnswered
	// fateGivenUp means that the instance stalled.
	fateGivenUp
)

// giveUp ends the attempt if another one may follow. It reports whether it did.
//
// Called on the call path; takes no lock of the balancer.
func (l *lease) giveUp() bool {
	if l == nil || l.cancel == nil && !l.mayFollow || !l.fate.CompareAndSwap(fateOpen, fateGivenUp) {
		return false
	}
	if l.cancel != nil {
		l.cancel()
	} else {
		l.ending.end()
	}
	return true
}

// ending is what ends an attempt of a whole call: its context, or the call itself. It is set after
// the attempt has got its claim. So whoever sets it checks afterwards if the attempt was given up
// meanwhile.
type ending struct {
	context atomic.Pointer[attemptContext]
	call    atomic.Pointer[rpcwire.Call]
}

// end ends the attempt. It is called while the attempt is in the list of its endpoint, so the
// context and the call are not those of another one yet.
//
// Called on the call path; takes no lock of the balancer.
func (e *ending) end() {
	if h := e.context.Load(); h != nil {
		h.cancel()
	}
	if c := e.call.Load(); c != nil {
		c.Cancel(context.Canceled)
	}
}

// answered notes that the response has begun. It returns false if the attempt was given up before.
//
// Called on the call path; takes no lock of the balancer.
func (l *lease) answered() bool {
	return l.fate.CompareAndSwap(fateOpen, fateAnswered) || l.fate.Load() != fateGivenUp
}

func (l *lease) givenUp() bool { return l.fate.Load() == fateGivenUp }

// stalledError is the error of an attempt that was given up.
func (l *lease) stalledError(cause error) error {
	return &LostError{Address: l.address(), Cause: fmt.Errorf("%s: %w", stalledText, cause), message: "the instance does not answer"}
}

// noteSent notes the size of a sent message, for sentAsLargeAs.
func (l *lease) noteSent(m any) {
	if raw, ok := m.(mem.BufferSlice); ok {
		l.noteSentSize(raw.Len())
	}
}

func (l *lease) noteSentSize(size int) {
	if n := int64(size); n > l.largest.Load() {
		l.largest.Store(n)
	}
}
