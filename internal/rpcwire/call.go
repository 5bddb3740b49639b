package rpcwire

import (
	"context"
	"errors"
	"io"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/codes"
)

// callState is where a call is in its life.
type callState uint8

const (
	// callIdle calls were never started.
	callIdle callState = iota
	// callPending calls wait for the writer, or for a free stream. The peer does not know them.
	callPending
	// callOpen calls have a stream.
	callOpen
	// callDone calls have ended.
	callDone
)

// Call is a unary call or a stream. The zero value is ready for [Conn.Start]. A call that has ended
// can be started again, on any connection. So callers keep calls in a pool.
//
// One goroutine may send and another one may receive. Cancel may be called by anyone while the call
// runs. Everything else belongs to the caller.
type Call struct {
	conn  *Conn
	state callState
	// id is the stream. 0: the call was never written.
	id  uint32
	req Request

	// list is the list that the call is in, with its neighbours there.
	list       *callList
	next, prev *Call
	timer      wheelEntry

	// recvWake and sendWake wake the goroutine that receives and the one that sends.
	recvWake, sendWake chan struct{}

	out outgoing
	in  incoming

	// err is why the call failed. Nil: it has not ended, or the peer sent a status.
	err    *Error
	status Status
}

// Wait waits for the answer to a unary call, or for the end of ctx, which cancels the call. The
// error is nil if the peer sent a status. If that is OK there is a message. The error is an *Error
// otherwise. The call has ended when Wait returns.
func (call *Call) Wait(ctx context.Context) (Message, error) {
	select {
	case <-call.recvWake:
	default:
		select {
		case <-call.recvWake:
		case <-ctx.Done():
			call.cancelFor(ctx)
		}
	}
	c := call.conn
	c.mu.Lock()
	for call.state != callDone {
		c.mu.Unlock()
		<-call.recvWake
		c.mu.Lock()
	}
	m := call.in.queue.pop(c.opts.Buffers)
	c.mu.Unlock()
	if call.err != nil {
		c.putBack(m)
		return Message{}, call.err
	}
	if call.status.Code != codes.OK {
		c.putBack(m)
		return Message{}, nil
	}
	return m, nil
}

// Header waits for the response header. It returns nil without an error if the peer sent a status
// and no header ("Trailers-Only"). The fields belong to the call and end with it.
func (call *Call) Header(ctx context.Context) ([]Field, error) {
	c := call.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	for !call.in.headed && call.state != callDone {
		call.sleepLocked(ctx)
	}
	if !call.in.headed && call.err != nil {
		return nil, call.err
	}
	return call.in.header, nil
}

// Recv waits for the next message of a stream, or for the end of ctx, which cancels the call. It
// returns io.EOF when the peer has sent its status, and an *Error if the call failed. Messages that
// came before the end are returned first, unless the call was cancelled or its deadline has passed.
func (call *Call) Recv(ctx context.Context) (Message, error) {
	c := call.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if call.in.queue.count > 0 {
			m := call.in.queue.pop(c.opts.Buffers)
			if call.state == callOpen {
				c.consumedLocked(call, len(*m.Buf)+prefixSize)
			}
			return m, nil
		}
		if call.state == callDone {
			if call.err != nil {
				return Message{}, call.err
			}
			return Message{}, io.EOF
		}
		call.in.awaited = true
		c.widenLocked(call)
		call.sleepLocked(ctx)
		call.in.awaited = false
	}
}

// RecvWaiting appends messages that have come, each with gRPC's prefix. It does not wait. It stops
// before a message that is compressed or has more than 1 KiB, and when dst has limit bytes or more.
// It returns the number of messages. The caller is the goroutine that calls Recv.
func (call *Call) RecvWaiting(dst []byte, limit int) (framed []byte, messages int) {
	c := call.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	before := len(dst)
	for len(dst) < limit {
		more, ok := call.in.queue.appendNext(dst, c.opts.Buffers)
		if !ok {
			break
		}
		dst = more
		messages++
	}
	if messages > 0 && call.state == callOpen {
		c.consumedLocked(call, len(dst)-before)
	}
	return dst, messages
}

// sleepLocked gives up the lock until something may have changed for the receiver.
func (call *Call) sleepLocked(ctx context.Context) {
	c := call.conn
	call.in.sleeping = true
	c.mu.Unlock()
	select {
	case <-call.recvWake:
	case <-ctx.Done():
		call.cancelFor(ctx)
	}
	c.mu.Lock()
	call.in.sleeping = false
}

// Send sends a message of a stream. If framed is true, the parts begin with gRPC's prefix, and
// there may be several messages. The parts belong to the caller again when Send returns. Small
// messages are copied, and Send does not wait until they are written. The end of ctx cancels the
// call. The error is io.EOF if the call has ended. Recv then says how.
func (call *Call) Send(ctx context.Context, framed bool, parts ...[]byte) error {
	c := call.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if call.state == callDone || call.out.closed {
		return io.EOF
	}
	c.queueLocked(call, framed, parts)
	for call.state != callDone && call.out.blocked() {
		call.sendSleepLocked(ctx)
	}
	if call.state == callDone {
		return io.EOF
	}
	return nil
}

// AwaitStream waits until the call has a stream or has ended. The end of ctx cancels the call. Only
// the goroutine that sends may call it.
func (call *Call) AwaitStream(ctx context.Context) {
	c := call.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	for call.state == callPending {
		call.sendSleepLocked(ctx)
	}
}

// sendSleepLocked gives up the lock until something may have changed for the sender.
func (call *Call) sendSleepLocked(ctx context.Context) {
	c := call.conn
	call.out.sleeping = true
	c.mu.Unlock()
	select {
	case <-call.sendWake:
	case <-ctx.Done():
		call.cancelFor(ctx)
	}
	c.mu.Lock()
	call.out.sleeping = false
}

// CloseSend says that no further messages are sent.
func (call *Call) CloseSend() {
	c := call.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if call.state == callDone || call.out.closed {
		return
	}
	call.out.closed = true
	if call.state == callOpen {
		c.enqueueLocked(call)
		c.wakeWriterLocked()
	}
}

// Cancel ends the call with KindCancelled. If the call has a stream, the peer is told with
// RST_STREAM. It returns false if the call had ended before. It never waits.
//
// Whoever calls Cancel must know that the call was not started again.
func (call *Call) Cancel(cause error) bool {
	c := call.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.abortLocked(call, &Error{Kind: KindCancelled, Code: codes.Canceled, Cause: cause})
}

// cancelFor ends the call because its context has ended.
func (call *Call) cancelFor(ctx context.Context) {
	c := call.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	e := &Error{Kind: KindCancelled, Code: codes.Canceled, Cause: context.Cause(ctx)}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		e.Kind, e.Code = KindDeadline, codes.DeadlineExceeded
	}
	c.abortLocked(call, e)
}

// Trailer returns the fields of the trailer. It is called after the call has ended. The fields
// belong to the call.
func (call *Call) Trailer() []Field { return call.in.trailer }

// ResponseHeader returns the response header without waiting. It is called after the call has
// ended. ok is false if there was none.
func (call *Call) ResponseHeader() (header []Field, ok bool) { return call.in.header, call.in.headed }

// Encoding returns the "grpc-encoding" of the response header, or "". It is called after Header or
// Recv has returned, or after the call has ended.
func (call *Call) Encoding() string { return call.in.encoding }

// Status returns the status that the peer sent. It is called after the call has ended without an
// error.
func (call *Call) Status() Status { return call.status }

// Err returns the *Error of a call that failed, and nil if the peer sent a status. It is called
// after the call has ended.
func (call *Call) Err() error {
	if call.err == nil {
		return nil
	}
	return call.err
}

// Failure returns the *Error of a call that has failed. Unlike Err, it may be called while the call
// runs, and returns nil then.
func (call *Call) Failure() error {
	c := call.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	return call.Err()
}

// Written reports whether the call was written to the connection. It is called after the call has
// ended.
func (call *Call) Written() bool { return call.id != 0 }

// Answered reports whether a header block came from the peer. It is called after the call has
// ended.
func (call *Call) Answered() bool { return call.in.answered }

// reset makes the call ready to start.
func (call *Call) reset(c *Conn, r *Request) {
	if call.recvWake == nil {
		call.recvWake, call.sendWake = make(chan struct{}, 1), make(chan struct{}, 1)
	}
	drain(call.recvWake)
	drain(call.sendWake)
	if call.conn != nil {
		call.in.release(call.conn)
	}
	call.conn, call.state, call.id, call.req = c, callIdle, 0, *r
	call.err, call.status = nil, Status{}
	call.out.reset()
	call.in.reset()
}

func drain(ch chan struct{}) {
	select {
	case <-ch:
	default:
	}
}

func wake(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// endLocked ends the call. It is the only place where a call ends. If err is nil, the peer has sent
// a status.
func (c *Conn) endLocked(call *Call, err *Error) {
	if err != nil && (err.Kind == KindReset || err.Kind == KindNotGRPC) && call.late(time.Now()) {
		// The peer has noticed the deadline before this client. Many proxies then answer with
		// a 502, or with another code than CANCEL.
		err.Kind, err.Code, err.Unprocessed = KindDeadline, codes.DeadlineExceeded, false
		call.in.release(c)
	}
	if call.list != nil {
		call.list.remove(call)
	}
	c.wheel.remove(call)
	if call.state == callOpen {
		delete(c.streams, call.id)
	}
	c.backlogLocked(-call.out.left())
	call.out.drop()
	if err != nil {
		call.status = Status{}
	}
	call.err, call.state = err, callDone
	call.req = Request{}
	call.in.abandonPart(c)
	wake(call.recvWake)
	wake(call.sendWake)
	c.afterEndLocked()
}

// abortLocked ends a call from this side, with RST_STREAM if the peer knows it. It returns false if
// the call had ended before.
func (c *Conn) abortLocked(call *Call, err *Error) bool {
	if call.state != callPending && call.state != callOpen {
		return false
	}
	err.Unprocessed = call.state == callPending
	call.in.release(c)
	c.resetLocked(call, http2.ErrCodeCancel, err)
	return true
}

// resetLocked ends a call with an error, and tells the peer if it knows the call.
func (c *Conn) resetLocked(call *Call, code http2.ErrCode, err *Error) {
	if call.state == callOpen {
		c.control.resets = append(c.control.resets, reset{call.id, code})
		c.expectLateLocked(call)
	}
	c.endLocked(call, err)
	c.wakeWriterLocked()
}

// expireLocked ends a call whose deadline has passed.
func (c *Conn) expireLocked(call *Call) {
	c.abortLocked(call, &Error{Kind: KindDeadline, Code: codes.DeadlineExceeded, Message: "the deadline has passed"})
}

// maxMessage is the maximum size of a received message.
func (call *Call) maxMessage() int {
	if n := call.req.MaxMessage; n > 0 {
		return n
	}
	return call.conn.opts.MaxMessage
}

// late reports whether the deadline has passed.
func (call *Call) late(now time.Time) bool {
	return !call.req.Deadline.IsZero() && !now.Before(call.req.Deadline)
}
