package frontend

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"

	"github.com/caddy-grpc/gateway/internal/unary"
)

// CallSettings are the settings of one call.
type CallSettings struct {
	// Request is the client's request. Its headers become metadata by the rules, and have the
	// client's deadline.
	Request *http.Request
	// Timeout, if positive, overrides Method.Timeout. It bounds streams too.
	Timeout time.Duration
	// Idempotent says that the call may be executed twice.
	Idempotent bool
	// Began is when the client's own deadline began to run. Zero: it begins with the call.
	Began time.Time
}

// Call is one RPC to an upstream in raw messages, the same for all protocols. It is a stream
// (Options.Start), or a whole call with one message each way (Options.Invoke). One goroutine may
// call Send and CloseSend, and another one Header, Recv and Trailer. Close is for any goroutine.
type Call struct {
	// stream is nil for a whole call, and if no stream could be started.
	stream   grpc.ClientStream
	parent   context.Context
	deadline time.Time // Zero: none.
	// ctx ends with parent and at deadline. Nil if the connection bounds the call itself.
	ctx    context.Context
	cancel context.CancelFunc
	opts   *Options
	method *Method
	info   *Info

	response mem.BufferSlice // Messages are received into it.
	unsent   *unsent         // Nil if the client sends one message.
	// refused is why Method.Check has ended the RPC.
	refused atomic.Pointer[Error]

	// metadata is that of the request, names and values alternately.
	metadata []string
	room     [16]string // Room for the usual number.

	unary unary.Call // What a whole call sends and what came back.
}

// Start starts an RPC. It ends with ctx, at the shortest deadline that applies (see ClientTimeout),
// and by Close, which must be called. The gateway's own deadlines are for unary calls. A stream has
// only the deadline of its client and the timeout of its route.
//
// The error is a *Error. info notes the rest.
func (o *Options) Start(ctx context.Context, m *Method, s CallSettings, info *Info) (*Call, error) {
	c, err := o.newCall(ctx, m, &s, info)
	if err != nil {
		return nil, err
	}
	c.bound()
	opts := o.callOptions(m, &s)
	info.Called = true
	c.stream, err = m.Conn.NewStream(c.ctx, &m.StreamDesc, m.Path, opts...)
	if err != nil {
		defer c.cancel()
		return nil, c.failed(err)
	}
	if m.StreamDesc.ClientStreams {
		c.unsent = newUnsent()
	}
	return c, nil
}

// newCall makes a call with its metadata, bounded in time. The error is a *Error.
func (o *Options) newCall(ctx context.Context, m *Method, s *CallSettings, info *Info) (*Call, error) {
	own := s.Timeout
	whole := !m.StreamDesc.ClientStreams && !m.StreamDesc.ServerStreams
	if own <= 0 && whole {
		own = m.Timeout
	}
	d, bounded, err := o.timeout(s, own, whole)
	if err != nil {
		return nil, err
	}
	c := &Call{parent: ctx, opts: o, method: m, info: info}
	if c.metadata, err = o.appendMetadata(c.room[:0], s.Request); err != nil {
		return nil, err
	}
	if bounded {
		c.deadline = time.Now().Add(d)
	}
	return c, nil
}

// bound makes the context that ends with the call and has its metadata.
func (c *Call) bound() {
	// gRPC takes pairs as well as a map. Pairs cost less to make, to check and to go through.
	ctx := metadata.AppendToOutgoingContext(c.parent, c.metadata...)
	if c.deadline.IsZero() {
		c.ctx, c.cancel = context.WithCancel(ctx)
	} else {
		c.ctx, c.cancel = context.WithDeadline(ctx, c.deadline)
	}
}

func (o *Options) callOptions(m *Method, s *CallSettings) []grpc.CallOption {
	if o.CallOptions == nil {
		return nil
	}
	return o.CallOptions(m, s.Idempotent || m.Idempotent)
}

// Send sends a message. It takes over the buffer, which is from GetBuffer. It blocks while the
// upstream does not read, that is while gRPC holds too many unwritten bytes or messages of this
// stream. io.EOF means that the RPC has ended, and Recv tells how. So it is after a message that
// Method.Check has refused, which ends the RPC. Any other error is a *Error.
func (c *Call) Send(msg *[]byte) error {
	if c.method.Check != nil && c.refuses(*msg) {
		PutBuffer(msg)
		return io.EOF
	}
	return c.send(msg)
}

// send is Send for a message that needs no check.
func (c *Call) send(msg *[]byte) error {
	if c.unsent != nil && !c.unsent.wait(c.ctx) {
		PutBuffer(msg)
		return io.EOF
	}
	if err := c.stream.SendMsg(c.message(msg)); err != nil {
		return c.sendFailed(err)
	}
	c.info.Sent++
	return nil
}

// framedStream is a stream that can send many messages at once.
type framedStream interface {
	TakesFramed() bool
	SendFramed(framed []byte) error
}

// TakesFramed reports whether SendFramed may be called. Once it may, it always may. Some
// connections can send one message at a time only, and messages that are checked are sent so, too.
// It is for the goroutine that calls Send.
func (c *Call) TakesFramed() bool {
	s, ok := c.stream.(framedStream)
	return ok && c.method.Check == nil && s.TakesFramed()
}

// SendFramed is Send for a number of messages that have gRPC's prefix, one after the other. They
// belong to the caller again when it returns. After an error, some of them may have been sent that
// Info.Sent does not count.
func (c *Call) SendFramed(framed []byte, messages int) error {
	if err := c.stream.(framedStream).SendFramed(framed); err != nil {
		return c.sendFailed(err)
	}
	c.info.Sent += uint64(messages)
	return nil
}

// sendFailed returns the error of Send.
func (c *Call) sendFailed(err error) error {
	if errors.Is(err, io.EOF) {
		return io.EOF
	}
	return c.failed(err)
}

// message makes a message of a buffer. The buffer returns to its pool when gRPC has sent it.
func (c *Call) message(b *[]byte) mem.BufferSlice {
	if c.unsent != nil {
		return c.unsent.message(b)
	}
	return newMessage(b)
}

// CloseSend tells the upstream that no more messages come.
func (c *Call) CloseSend() error {
	if err := c.stream.CloseSend(); err != nil {
		return c.failed(err)
	}
	return nil
}

// Header waits for the header metadata. It is nil if the RPC failed before, and Recv tells how.
func (c *Call) Header() metadata.MD {
	if c.stream == nil {
		return c.unary.Header
	}
	md, err := c.stream.Header()
	c.noteEndpoint()
	if err != nil {
		return nil
	}
	return md
}

// Recv waits for the next message, which the caller frees. io.EOF is the end of a stream that
// succeeded. Any other error is a *Error. For a method that answers once, a message means that the
// call has succeeded and Trailer is known.
func (c *Call) Recv() (mem.BufferSlice, error) {
	err := c.stream.RecvMsg(&c.response)
	if err == nil {
		msg := c.response
		c.response = nil
		c.info.Received++
		if c.info.Endpoint == "" {
			c.noteEndpoint()
		}
		return msg, nil
	}
	c.noteEndpoint()
	if errors.Is(err, io.EOF) {
		return nil, io.EOF
	}
	return nil, c.failed(err)
}

// waitingStream is a stream that can receive many messages at once.
type waitingStream interface {
	RecvWaiting(dst []byte, limit int) (framed []byte, messages int)
}

// RecvWaiting appends small messages that have come after the one that Recv has returned, each with
// gRPC's prefix. It does not wait. It stops when dst has limit bytes or more, and returns the
// number of messages. Some connections can receive one message at a time only: there are never any
// then. It is for the goroutine that calls Recv.
func (c *Call) RecvWaiting(dst []byte, limit int) (framed []byte, messages int) {
	s, ok := c.stream.(waitingStream)
	if !ok {
		return dst, 0
	}
	framed, messages = s.RecvWaiting(dst, limit)
	c.info.Received += uint64(messages)
	return framed, messages
}

// Trailer is the trailer metadata. It is known when Recv has returned an error, or the message of a
// method that answers once.
func (c *Call) Trailer() metadata.MD {
	if c.stream == nil {
		return c.unary.Trailer
	}
	return c.stream.Trailer()
}

// Context ends with the stream, at the latest by Close.
func (c *Call) Context() context.Context { return c.ctx }

// Close cancels the RPC if it still runs, and frees what it holds.
func (c *Call) Close() { c.cancel() }

func (c *Call) noteEndpoint() {
	if e, ok := c.stream.(interface{ Endpoint() string }); ok {
		if addr := e.Endpoint(); addr != "" {
			c.info.Endpoint = addr
		}
	}
}
