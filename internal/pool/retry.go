package pool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/caddy-grpc/gateway/internal/pool/balance"
)

// Idempotent is an option for calls that may be executed more than once. If such a call sends one
// message and ends with UNAVAILABLE before the first response message, it is made again at another
// instance. Settings.RetryAttempts and the retry budget limit this.
//
// Calls without the option are never made again once anything was sent. Options that return results
// (grpc.Header, grpc.OnFinish) see every attempt that an instance took.
func Idempotent() grpc.CallOption { return idempotent{} }

type idempotent struct{ grpc.EmptyCallOption }

// retries reports whether a call may be made again.
func (c *Channel) retries(desc *grpc.StreamDesc, opts []grpc.CallOption) bool {
	if desc.ClientStreams || c.balancer.settings.RetryAttempts < 2 {
		return false
	}
	for _, o := range opts {
		if _, ok := o.(idempotent); ok {
			return true
		}
	}
	return false
}

// retryBudget limits retries to a fifth of the idempotent calls, and a hundred more. Without a
// limit, retries could bring down what is left after much has failed. The hundred are for the start
// and for quiet times. Attempts that were given up at a stalled instance do not count.
type retryBudget struct {
	// spent is in fifths of a retry. It is not negative.
	spent atomic.Int64
	// used counts the retries.
	used atomic.Uint64
}

const (
	// retryCost is the cost of a retry.
	retryCost = 5
	// retryCredit is what each call earns.
	retryCredit = 1
	// retryReserve is what may be spent before any call has earned it.
	retryReserve = 100 * retryCost
)

func (b *retryBudget) call() {
	if b.spent.Load() > 0 {
		b.spent.Add(-retryCredit)
	}
}

func (b *retryBudget) take() bool {
	if b.spent.Add(retryCost) > retryReserve {
		b.spent.Add(-retryCost)
		return false
	}
	b.used.Add(1)
	return true
}

// attempts decides whether and when a call is made again.
type attempts struct {
	channel *Channel
	// deadline applies to the call in addition to its context's deadline. Zero: there is none.
	deadline time.Time
	// made counts the attempts that have ended.
	made int
	// tried are the endpoints of earlier attempts. The next attempt uses them only if no other
	// endpoint can take it.
	tried []*balance.Endpoint
	// since is when the last of them was picked, on the balancer's clock.
	since int64
}

// again decides whether a call that ended with err is made again. If so, it waits until it is time.
func (a *attempts) again(ctx context.Context, l *lease, err error, trailer metadata.MD) bool {
	a.made++
	if ep := l.endpoint.Load(); ep != nil {
		a.tried, a.since = append(a.tried, &ep.Endpoint), l.picked.Load()
	}
	s := &a.channel.balancer.settings
	var u *UnavailableError
	switch {
	case a.made >= s.RetryAttempts, status.Code(err) != codes.Unavailable, ctx.Err() != nil:
		return false
	case errors.As(err, &u) && u.Reason != Unreachable:
		return false // another attempt would have no instance either
	}
	wait, ok := a.wait(s, trailer)
	switch {
	case !ok, !a.inTime(ctx, wait):
		return false
	case l.givenUp():
		// The retry replaces a call that the stalled instance does not execute. It can happen only
		// until the stall is noticed.
		a.channel.budget.used.Add(1)
	case !a.channel.budget.take():
		return false
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// inTime reports whether the call has time left after a wait.
func (a *attempts) inTime(ctx context.Context, wait time.Duration) bool {
	at, ok := ctx.Deadline()
	return (!ok || time.Until(at) > wait) && (a.deadline.IsZero() || time.Until(a.deadline) > wait)
}

// mayFollow reports whether another attempt may follow the next one. If so, the next one ends when
// its instance stalls.
func (a *attempts) mayFollow() bool {
	s := &a.channel.balancer.settings
	return a.made+1 < s.RetryAttempts && s.EjectFailures >= 0
}

// wait returns the pause before the next attempt, and false if there must not be one. The server
// can ask for a pause or forbid the attempt (gRPC's proposal A6). Otherwise the pause is an
// exponential backoff, at random between half of it and all of it.
func (a *attempts) wait(s *Settings, trailer metadata.MD) (time.Duration, bool) {
	if asked := trailer.Get("grpc-retry-pushback-ms"); len(asked) > 0 {
		// 32 bits are more than any call waits. More bits could overflow the duration.
		ms, err := strconv.ParseInt(asked[0], 10, 32)
		return time.Duration(ms) * time.Millisecond, err == nil && ms >= 0 && len(asked) == 1
	}
	d := s.RetryBackoffMax
	if shift := a.made - 1; shift < 30 {
		d = min(d, s.RetryBackoffBase<<shift)
	}
	return d/2 + time.Duration(balance.Below(uint32(a.channel.balancer.random()), int(d/2)+1)), true
}

// retryStream is a call that may be made again. It keeps the request until the first response
// message has arrived, or until the call has failed for good.
type retryStream struct {
	attempts

	ctx    context.Context
	desc   *grpc.StreamDesc
	method string
	opts   []grpc.CallOption

	// sent is closed when the request was sent for the first time. A receiver waits for it before
	// it takes the lock, because another goroutine may be about to send. A WebSocket has one
	// goroutine that reads and another one that writes.
	sent chan struct{}

	// steady is the attempt that counts. It is set when its first message was received. After that
	// receiving needs no lock.
	steady atomic.Pointer[stream]

	mu      sync.Mutex
	current *stream
	request any
	// closed is true once CloseSend was called.
	closed bool
	// final is true if no more attempts follow.
	final bool
	// first is the first response message, until it is received.
	first mem.BufferSlice
	// waiting is true while first has a message.
	waiting bool
	// err is the final error. Nil: first had a message.
	err error
}

// newRetryStream makes the first attempt. It makes more if no instance takes the call.
func (c *Channel) newRetryStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts []grpc.CallOption) (*retryStream, error) {
	c.budget.call()
	r := &retryStream{attempts: attempts{channel: c}, ctx: ctx, desc: desc, method: method, opts: opts, sent: make(chan struct{})}
	if !c.acquire() {
		return nil, c.closedError()
	}
	defer c.release()
	if err := r.start(); err != nil {
		return nil, err
	}
	return r, nil
}

// start makes an attempt. Attempts that no instance takes count as well.
func (r *retryStream) start() error {
	for {
		s, l, err := r.channel.newStream(r.ctx, r.desc, r.method, &r.attempts, r.opts)
		if err == nil {
			r.current = s
			return nil
		}
		if !r.again(r.ctx, l, err, nil) {
			return err
		}
	}
}

// send sends the request in the current attempt.
func (r *retryStream) send() error {
	if raw, ok := r.request.(mem.BufferSlice); ok {
		raw.Ref() // grpc frees the message, and another attempt may need it
	}
	return r.current.SendMsg(r.request)
}

// awaitOutcome waits for the first response message or for the final error.
func (r *retryStream) awaitOutcome() {
	if r.final {
		return
	}
	// Each attempt has its own lease. This one covers the time between two attempts.
	if r.channel.acquire() {
		defer r.channel.release()
	}
	for {
		var (
			msg     mem.BufferSlice
			trailer metadata.MD
		)
		err := r.current.RecvMsg(&msg)
		if err != nil {
			trailer = r.current.Trailer()
		} else if !r.current.lease.answered() && r.desc.ServerStreams {
			msg.Free() // nobody has seen it, and the ended attempt has no more
			err = r.current.lease.stalledError(context.Canceled)
		}
		if err == nil {
			r.done(msg, nil)
			return
		}
		if err == io.EOF || !r.again(r.ctx, &r.current.lease, err, trailer) { //nolint:errorlint // streams end with the bare io.EOF
			r.done(nil, err)
			return
		}
		if err := r.restart(); err != nil {
			r.done(nil, err)
			return
		}
	}
}

// restart makes another attempt and sends what was sent before.
func (r *retryStream) restart() error {
	if err := r.start(); err != nil {
		return err
	}
	if err := r.send(); err != nil {
		return err
	}
	if r.closed {
		return r.current.CloseSend()
	}
	return nil
}

// done ends the attempts.
func (r *retryStream) done(first mem.BufferSlice, err error) {
	r.final, r.first, r.waiting, r.err = true, first, err == nil, err
	if raw, ok := r.request.(mem.BufferSlice); ok {
		raw.Free()
	}
	r.request = nil
}

// SendMsg sends the only request message of the call.
func (r *retryStream) SendMsg(m any) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.request != nil || r.final {
		return r.current.lease.callError(failureOther, codes.Internal, errors.New("a second message was sent in a call that has one"))
	}
	r.request = m
	defer close(r.sent)
	return r.send()
}

// awaitSent waits until the request was sent or the context is done.
func (r *retryStream) awaitSent() {
	select {
	case <-r.sent:
	case <-r.ctx.Done():
	}
}

// CloseSend tells the instance that no more messages follow.
func (r *retryStream) CloseSend() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	return r.current.CloseSend()
}

// Header waits until no more attempts can follow. So it returns the header of the attempt that
// counts.
func (r *retryStream) Header() (metadata.MD, error) {
	r.awaitSent()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.awaitOutcome()
	return r.current.Header()
}

// RecvMsg receives the next message.
func (r *retryStream) RecvMsg(m any) error {
	if s := r.steady.Load(); s != nil {
		return s.RecvMsg(m)
	}
	r.awaitSent()
	r.mu.Lock()
	r.awaitOutcome()
	s, first, waiting, err := r.current, r.first, r.waiting, r.err
	r.first, r.waiting = nil, false
	if err == nil {
		r.steady.Store(s)
	}
	r.mu.Unlock()
	switch {
	case err != nil:
		return err
	case !waiting:
		return s.RecvMsg(m)
	}
	if raw, ok := m.(*mem.BufferSlice); ok {
		*raw = first
		return nil
	}
	defer first.Free()
	if err := rawMessages.Unmarshal(first, m); err != nil {
		return s.lease.callError(failureOther, codes.Internal, fmt.Errorf("unmarshalling the received message: %w", err))
	}
	return nil
}

// RecvWaiting is that of stream.
func (r *retryStream) RecvWaiting(dst []byte, limit int) (framed []byte, messages int) {
	if s := r.steady.Load(); s != nil {
		return s.RecvWaiting(dst, limit)
	}
	return dst, 0
}

// Trailer returns the trailer of the last attempt.
func (r *retryStream) Trailer() metadata.MD {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.current.Trailer()
}

// Context returns the context of the last attempt.
func (r *retryStream) Context() context.Context {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.current.Context()
}

// Endpoint is the address of the instance that has the call, or that had its last attempt.
func (r *retryStream) Endpoint() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.current.Endpoint()
}
