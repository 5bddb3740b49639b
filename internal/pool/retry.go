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

// Idempotent is an option for calls that may be executed more than once. Those that send one
// message are made again at another instance when they end with UNAVAILABLE before the first
// message of the response has arrived, up to Settings.RetryAttempts, while the budget lasts. Calls
// without it are never made again once anything was sent. Options that give results (grpc.Header,
// grpc.OnFinish) see every attempt.
func Idempotent() grpc.CallOption { return idempotent{} }

type idempotent struct{ grpc.EmptyCallOption }

// retries tells whether a call may be made again.
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

// retryBudget bounds retries to a part of the calls, so that they do not bring down what is left
// when much has failed: a fifth of the idempotent calls, and a hundred on top for a start and for
// lulls. Attempts that were given up at a stalled instance are not bounded by it.
type retryBudget struct {
	spent atomic.Int64 // in parts of a retry; not below 0
	used  atomic.Uint64
}

const (
	retryCost    = 5
	retryCredit  = 1 // of each call
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

// attempts makes a call again as long as that makes sense.
type attempts struct {
	channel  *Channel
	deadline time.Time // of the call, besides its context's; zero: none
	made     int
	tried    []*balance.Endpoint // these are asked last
	since    int64               // when the last one was picked, on the balancer's clock
}

// again decides whether a call that ended with err is made again, and waits until it is time.
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
		return false // that there is no instance is an answer
	}
	wait, ok := a.wait(s, trailer)
	switch {
	case !ok, !a.inTime(ctx, wait):
		return false
	case l.givenUp():
		// These are no more calls than the stalled instance would have had, and only while it was
		// found out.
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

// inTime tells whether there is time left for the call after a wait.
func (a *attempts) inTime(ctx context.Context, wait time.Duration) bool {
	at, ok := ctx.Deadline()
	return (!ok || time.Until(at) > wait) && (a.deadline.IsZero() || time.Until(a.deadline) > wait)
}

// mayFollow tells whether the next attempt is ended when its instance stalls, because another one
// may follow.
func (a *attempts) mayFollow() bool {
	s := &a.channel.balancer.settings
	return a.made+1 < s.RetryAttempts && s.EjectFailures >= 0
}

// wait is how long to wait before the next attempt: what the server asks for (gRPC's proposal A6),
// else an exponential backoff with full jitter above its half.
func (a *attempts) wait(s *Settings, trailer metadata.MD) (time.Duration, bool) {
	if asked := trailer.Get("grpc-retry-pushback-ms"); len(asked) > 0 {
		// More than that is no time to wait for, and would overflow.
		ms, err := strconv.ParseInt(asked[0], 10, 32)
		return time.Duration(ms) * time.Millisecond, err == nil && ms >= 0 && len(asked) == 1
	}
	d := s.RetryBackoffMax
	if shift := a.made - 1; shift < 30 {
		d = min(d, s.RetryBackoffBase<<shift)
	}
	return d/2 + time.Duration(balance.Below(uint32(a.channel.balancer.random()), int(d/2)+1)), true
}

// retryStream is a call that is made again where that is allowed. Until the first message of the
// response has arrived, or the call has failed for good, it keeps what was sent.
type retryStream struct {
	attempts

	ctx    context.Context
	desc   *grpc.StreamDesc
	method string
	opts   []grpc.CallOption

	// sent is closed when the request was sent for the first time. Who waits for the response waits
	// for it before taking the lock: another goroutine may be about to send, as over a WebSocket,
	// whose reader and writer are two.
	sent chan struct{}

	// steady is the attempt that counts, once its first message was received: what follows needs no
	// lock.
	steady atomic.Pointer[stream]

	mu      sync.Mutex
	current *stream
	request any
	closed  bool            // CloseSend was called
	final   bool            // there are no more attempts
	first   mem.BufferSlice // the first message of the response, until it is received
	waiting bool            // there is one
	err     error           // instead of it
}

// newRetryStream makes the first attempt, and more if no instance takes it.
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

// start makes an attempt. Those that no instance takes count, too.
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
		raw.Ref() // grpc frees it, and it may be needed again
	}
	return r.current.SendMsg(r.request)
}

// awaitOutcome waits for the first message of the response, or for the error that is final.
func (r *retryStream) awaitOutcome() {
	if r.final {
		return
	}
	// The attempts have a lease each, and this one is for the time between them.
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
			msg.Free() // nobody has seen it, and no other one would follow
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

// SendMsg sends the one message of the call.
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

// awaitSent waits until there is something to wait a response for.
func (r *retryStream) awaitSent() {
	select {
	case <-r.sent:
	case <-r.ctx.Done():
	}
}

// CloseSend tells the instance that no more messages come.
func (r *retryStream) CloseSend() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	return r.current.CloseSend()
}

// Header waits until there are no more attempts, so that it is the header of the attempt that
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
	if err := newCodec().Unmarshal(first, m); err != nil {
		return s.lease.callError(failureOther, codes.Internal, fmt.Errorf("unmarshalling the received message: %w", err))
	}
	return nil
}

// Trailer is that of the last attempt.
func (r *retryStream) Trailer() metadata.MD {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.current.Trailer()
}

// Context is that of the last attempt.
func (r *retryStream) Context() context.Context {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.current.Context()
}

// Endpoint is the address of the instance that has the call, or had its last attempt.
func (r *retryStream) Endpoint() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.current.Endpoint()
}
