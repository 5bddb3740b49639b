package rpcwire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
)

// connState is where a connection is in its life.
type connState uint8

const (
	connOpen connState = iota
	// connDraining connections start no calls. They close when their last call has ended.
	connDraining
	// connClosed connections have no calls.
	connClosed
)

const (
	// maxStreamID is the last identifier that a client can use.
	maxStreamID = 1<<31 - 1
	// closeTimeout is how long the last bytes may take when a connection is closed.
	closeTimeout = time.Second
	// debugMax is how much of a GOAWAY's debug data is kept, in bytes.
	debugMax = 256
)

// Conn is a client's HTTP/2 connection. It is safe for concurrent use.
type Conn struct {
	opts Options
	nc   net.Conn
	// done is closed when all goroutines have ended, readerDone when the reader has ended.
	done, readerDone chan struct{}
	// kick wakes the writer while writerIdle is true.
	kick chan struct{}
	// running is the number of goroutines that have not ended.
	running atomic.Int32
	// lastRead is when something was read, since began.
	lastRead atomic.Int64
	began    time.Time

	// These fields belong to the reader.
	reader  frameReader
	decoder *hpack.Decoder
	head    head
	block   headerBlock

	// mu guards the fields below, and the calls.
	mu    sync.Mutex
	state connState
	// err says why the connection was closed.
	err *ConnError
	// writeErr is why writing failed, if it did before the connection was closed.
	writeErr error
	// goAway is the last one that came.
	goAway *GoAway

	// pending are the calls that have no stream yet, in the order in which they started.
	pending callList
	streams map[uint32]*Call
	// nextID is the identifier of the next stream.
	nextID uint32
	// sending are the calls that have something to send and a window for it. ending are those that
	// only have to close their stream.
	sending, ending callList

	peer peerSettings
	// sendWindow is how much the peer allows to send on the connection.
	sendWindow int64
	// receiveWindow is how much the peer may send on the connection. unacked is how much of what it
	// sent was not given back yet.
	receiveWindow, unacked int

	control     control
	encoder     *encoder
	headerBlock []byte
	writerIdle  bool
	// large is the writer's buffer of largeBatches. Nil: it has none.
	large *[]byte
	// lastWords is written before the connection is closed.
	lastWords []byte

	wheel     wheel
	keepalive keepalive
	flood     flood
	// backlog is how many bytes of requests wait to be written.
	backlog int

	events teller
}

// teller tells Events what happens, one thing at a time.
type teller struct {
	mu sync.Mutex
	// draining and closed are true if that was told.
	draining, closed bool
}

// peerSettings are the SETTINGS of the peer that matter to a client.
type peerSettings struct {
	maxStreams uint32
	window     int64
	headerList uint32
}

// New starts HTTP/2 on a connection, and waits for the peer's SETTINGS. It owns nc from then on,
// even if it returns an error, which is a *ConnError. ctx limits only the handshake.
func New(ctx context.Context, nc net.Conn, opts Options) (*Conn, error) {
	c := newConn(nc, opts)
	if err := c.handshake(ctx); err != nil {
		c.reader.release()
		_ = nc.Close()
		return nil, err
	}
	c.running.Store(2)
	if opts.Admission != nil {
		opts.Admission.opened()
	}
	c.startKeepalive()
	go c.readLoop()
	go c.writeLoop()
	return c, nil
}

func newConn(nc net.Conn, opts Options) *Conn {
	opts = opts.withDefaults()
	c := &Conn{
		opts: opts, nc: nc, done: make(chan struct{}), readerDone: make(chan struct{}), kick: make(chan struct{}, 1), began: time.Now(),
		streams: make(map[uint32]*Call), nextID: 1,
		peer:       peerSettings{maxStreams: math.MaxUint32, window: defaultWindow, headerList: math.MaxUint32},
		sendWindow: defaultWindow, receiveWindow: opts.ConnWindow,
		encoder: newEncoder(opts.Scheme, opts.UserAgent),
	}
	c.reader = frameReader{from: nc, buffers: opts.Buffers, idle: c.idle, onRead: c.onRead}
	c.decoder = hpack.NewDecoder(tableMax, c.onField)
	c.head.reset()
	c.wheel.start, c.wheel.fire = c.began, c.onWheel
	return c
}

// handshake exchanges the prefaces (RFC 9113, section 3.4).
func (c *Conn) handshake(ctx context.Context) *ConnError {
	fail := func(detail string, err error) *ConnError {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return &ConnError{Reason: ReasonHandshake, Detail: detail, Cause: err}
	}
	setUserTimeout(c.nc, c.opts.KeepaliveTimeout)
	_ = c.nc.SetDeadline(time.Now().Add(c.opts.HandshakeTimeout))
	stop := context.AfterFunc(ctx, func() { _ = c.nc.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := c.nc.Write(c.preface()); err != nil {
		return fail("the client's preface was not written", err)
	}
	h, p, err := c.reader.next()
	switch {
	case err != nil && c.reader.sawHTTP1():
		return fail(SpeaksHTTP1, nil)
	case err != nil && !errors.Is(err, errFrameTooLong):
		return fail("the peer's SETTINGS did not come", err)
	case err != nil || h.kind != http2.FrameSettings || h.flags.Has(http2.FlagSettingsAck):
		return fail(fmt.Sprintf("the first frame is a %s, expected SETTINGS", h), nil)
	}
	if err := c.onSettings(h, p); err != nil {
		err.Reason = ReasonHandshake
		return err
	}
	if !stop() {
		return fail("the handshake was not done in time", ctx.Err())
	}
	_ = c.nc.SetDeadline(time.Time{})
	return nil
}

// preface is the client's preface.
func (c *Conn) preface() []byte {
	settings := appendSetting(nil, http2.SettingEnablePush, 0)
	settings = appendSetting(settings, http2.SettingInitialWindowSize, uint32(c.opts.StreamWindow))
	settings = appendSetting(settings, http2.SettingMaxHeaderListSize, uint32(c.opts.MaxHeaderList))
	b := appendFrameHeader([]byte(http2.ClientPreface), len(settings), http2.FrameSettings, 0, 0)
	b = append(b, settings...)
	if more := c.opts.ConnWindow - defaultWindow; more > 0 {
		b = appendWindowUpdate(b, 0, uint32(more))
	}
	return b
}

// StreamLimit returns how many concurrent streams the peer allows. math.MaxUint32 means that it
// sets no limit. Calls beyond the limit wait.
func (c *Conn) StreamLimit() uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.peer.maxStreams
}

// Start starts a call. It does not wait: the call is written in the background. A call that finds
// no free stream waits for one until its deadline. If Start returns an error, which is an *Error,
// the call has ended with that error.
func (c *Conn) Start(call *Call, r *Request) error {
	call.reset(c, r)
	q := &call.req
	if q.Authority == "" {
		q.Authority = c.opts.Authority
	}
	if q.ContentType == "" {
		q.ContentType = grpcType
	}
	err := checkRequest(q)
	var now time.Time
	if !q.Deadline.IsZero() {
		now = time.Now()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err != nil:
	case c.state == connClosed:
		err = &Error{Kind: KindLost, Code: codes.Unavailable, Unprocessed: true, Cause: c.err}
	case c.state == connDraining:
		err = &Error{Kind: KindDraining, Code: codes.Unavailable, Unprocessed: true}
	case c.peer.headerList != math.MaxUint32 && int64(c.requestSize(q)) > int64(c.peer.headerList):
		err = &Error{
			Kind: KindRequestTooLarge, Code: codes.Internal, Unprocessed: true,
			Message: fmt.Sprintf("the header list has %d bytes, the peer accepts %d", c.requestSize(q), c.peer.headerList),
		}
	case call.late(now):
		err = &Error{Kind: KindDeadline, Code: codes.DeadlineExceeded, Unprocessed: true, Message: "the deadline passed before the call was sent"}
	}
	if err != nil {
		call.state, call.err, call.req = callDone, err, Request{}
		wake(call.recvWake)
		return err
	}
	if q.Unary {
		c.backlogLocked(call.out.add(q.Framed, q.Body, false))
		call.out.closed = true
	}
	call.state = callPending
	c.pending.push(call)
	if !q.Deadline.IsZero() {
		c.wheel.add(call, q.Deadline, now)
	}
	c.wakeWriterLocked()
	return nil
}

// Drain stops new calls. Calls that were not written yet end with KindDraining. The connection
// closes when the last call has ended.
func (c *Conn) Drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drainLocked()
}

func (c *Conn) drainLocked() {
	if c.state != connOpen {
		return
	}
	for call := c.pending.first; call != nil; call = c.pending.first {
		c.endLocked(call, &Error{Kind: KindDraining, Code: codes.Unavailable, Unprocessed: true})
	}
	c.state = connDraining
	c.afterEndLocked()
}

// Close ends all calls with KindLost and closes the connection. It does not wait: see Done.
func (c *Conn) Close(detail string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closeLocked(&ConnError{Reason: ReasonLocal, Detail: detail})
}

// Done is closed when the connection has ended and its goroutines as well.
func (c *Conn) Done() <-chan struct{} { return c.done }

// afterEndLocked does what the end of a call makes possible.
func (c *Conn) afterEndLocked() {
	switch {
	case c.state == connDraining && len(c.streams) == 0:
		c.closeLocked(&ConnError{Reason: ReasonDrained})
	case c.state == connOpen && !c.pending.empty():
		c.wakeWriterLocked() // a stream is free
	}
}

// closeLocked closes the connection. Only the first reason counts.
func (c *Conn) closeLocked(err *ConnError) {
	if c.state == connClosed {
		return
	}
	err.GoAway = c.goAway
	c.state, c.err = connClosed, err
	if err.Reason != ReasonPeer {
		c.lastWords = appendGoAway(nil, err.Code, err.Detail[:min(len(err.Detail), debugMax)])
	}
	for call := c.pending.first; call != nil; call = c.pending.first {
		c.endLocked(call, &Error{Kind: KindLost, Code: codes.Unavailable, Unprocessed: true, Cause: err})
	}
	for _, call := range c.streams {
		c.endLocked(call, &Error{Kind: KindLost, Code: codes.Unavailable, Cause: err})
	}
	c.wheel.stop()
	c.keepalive.stop()
	if c.opts.Admission != nil {
		c.opts.Admission.closed()
	}
	// These end what the goroutines wait for, and do not wait themselves.
	_ = c.nc.SetReadDeadline(time.Unix(1, 0))
	_ = c.nc.SetWriteDeadline(time.Now().Add(closeTimeout))
	c.wakeWriterLocked()
}

// tellDraining tells the user that the connection drains, once.
func (c *Conn) tellDraining(g GoAway) {
	c.events.mu.Lock()
	defer c.events.mu.Unlock()
	if !c.events.draining && !c.events.closed {
		c.events.draining = true
		c.opts.Events.Draining(g)
	}
}

// tellClosed tells the user that the connection is closed. It is the last thing that is told.
func (c *Conn) tellClosed(err *ConnError) {
	c.events.mu.Lock()
	defer c.events.mu.Unlock()
	c.events.closed = true
	c.opts.Events.Closed(err)
}

// ended notes that a goroutine has ended.
func (c *Conn) ended() {
	if c.running.Add(-1) == 0 {
		close(c.done)
	}
}

func (c *Conn) onRead() {
	if c.opts.Reads != nil {
		c.opts.Reads.Add(1)
	}
	if c.opts.KeepaliveTime > 0 {
		c.lastRead.Store(int64(time.Since(c.began)))
	}
}

// idle reports whether the connection has no calls.
func (c *Conn) idle() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.streams) == 0
}

// onWheel is called by the timer of the wheel.
func (c *Conn) onWheel() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != connClosed {
		c.wheel.advance(time.Now(), c.expireLocked)
	}
}

// lost makes the error for a read or write that failed.
func lost(err error) *ConnError {
	if errors.Is(err, io.EOF) {
		return &ConnError{Reason: ReasonPeer, Detail: "the peer closed it"}
	}
	return &ConnError{Reason: ReasonPeer, Cause: err}
}
