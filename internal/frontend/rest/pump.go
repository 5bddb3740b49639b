package rest

import (
	"errors"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"

	"github.com/caddy-grpc/gateway/internal/frontend"
)

// maxPending is how many bytes may wait for a slow reader before the next message is not received any more. Behind it gRPC's
// flow control stops the upstream.
const maxPending = 16 << 10

// smallMessage is up to how many bytes a message may grow when it is framed, for which room is kept.
const smallMessage = 2 << 10

// errNoBody is a sink's way to say that the header was all that is wanted.
var errNoBody = errors.New("the request was HEAD")

// A pump moves the messages of a response stream from the RPC to a sink. One goroutine receives and frames, the handler's own
// writes: so what arrives while it writes is written in one go afterwards, and a quiet stream can have a heartbeat.
type pump struct {
	x    *exchange
	call *frontend.Call
	f    framing
	more chan struct{}    // of one: something was added, or it is over
	room chan struct{}    // of one: something was taken
	work *frontend.Beside // receives

	mu      sync.Mutex
	pending *[]byte // nil when nothing waits, so that an idle stream holds no buffer
	ends    []int   // where each waiting message ends; kept for sinks that need it
	cut     bool    // keep ends
	header  metadata.MD
	kind    string // the content type that the first message brought
	count   uint64 // messages framed so far
	over    bool
	err     error // why it is over: nil for success
}

// sink is where a pump writes to. All calls are from one goroutine.
type sink interface {
	// open is called once, before anything else but finish, when it is sure that there is something to say besides an error.
	open(with opening)
	// opened reports whether there is nothing to open: the status is on the wire, so that any error must go by finish.
	opened() bool
	// write writes whole messages; ends is where each of them ends.
	write(batch []byte, ends []int) error
	// beat writes a heartbeat; beats reports whether there are any.
	beat() error
	beats() bool
	// finish ends the stream; err is nil for success.
	finish(err *frontend.Error)
}

func newPump(x *exchange, call *frontend.Call, f framing, cut bool) *pump {
	p := &pump{
		x: x, call: call, f: f, cut: cut,
		more: make(chan struct{}, 1), room: make(chan struct{}, 1),
	}
	p.work = frontend.GoBeside(p.receive, func() { p.end(frontend.Errorf(codes.Internal, "the gateway failed")) })
	return p
}

// stop ends the RPC and waits for the receiving goroutine.
func (p *pump) stop() {
	p.call.Close()
	<-p.work.Done()
	if p.pending != nil {
		frontend.PutBuffer(p.pending)
		p.pending = nil
	}
	p.work.Wait()
}

// receive runs until the RPC is over.
func (p *pump) receive() {
	header := p.call.Header()
	p.mu.Lock()
	p.header = header
	p.mu.Unlock()
	room, full := true, false
	for {
		// Before a message is received, so that it waits where flow control counts it.
		if full {
			room = p.waitForRoom()
		}
		msg, err := p.call.Recv()
		if err == nil && !room {
			// Nobody will read it, nor what gRPC has taken in behind it; then comes the reason.
			msg.Free()
			continue
		}
		if err == nil {
			full, err = p.add(msg)
		}
		if err == nil && p.x.method.StreamDesc.ServerStreams {
			continue
		}
		if errors.Is(err, io.EOF) {
			err = nil
		}
		p.end(err)
		return
	}
}

// end notes that the RPC is over.
func (p *pump) end(err error) {
	p.mu.Lock()
	p.over, p.err = true, err
	p.mu.Unlock()
	signal(p.more)
}

// add frames one message, and frees it. It reports whether so much waits now that there is no room for another one.
func (p *pump) add(msg mem.BufferSlice) (full bool, err error) {
	wire, free := flat(msg)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pending == nil {
		p.pending = frontend.GetBuffer(0)
	}
	// A small message becomes up to some four times as long. Where that is too little, the buffer grows below.
	p.pending = frontend.GrowBuffer(p.pending, len(wire)+min(3*len(wire), smallMessage)+64)
	before := len(*p.pending)
	out, kind, err := p.f.appendMessage(*p.pending, p.x, wire, p.count+1)
	free()
	msg.Free()
	if err != nil {
		*p.pending = out[:before]
		return false, err
	}
	*p.pending = out
	p.count++
	if p.count == 1 {
		p.kind = kind
	}
	if p.cut {
		p.ends = append(p.ends, len(out))
	}
	signal(p.more)
	return len(out) >= maxPending, nil
}

// waitForRoom waits until the writer has caught up. It reports false when the RPC was ended instead.
func (p *pump) waitForRoom() bool {
	for {
		p.mu.Lock()
		full := p.pending != nil && len(*p.pending) >= maxPending
		p.mu.Unlock()
		if !full {
			return true
		}
		select {
		case <-p.room:
		case <-p.call.Context().Done():
			return false
		}
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// opening is what the header of a response is made of.
type opening struct {
	header metadata.MD
	kind   string // the content type that the first message brought; "" for the framing's own
}

// batch is what waited.
type batch struct {
	buf  *[]byte // nil: nothing
	ends []int
	opening
	over bool
	err  error
}

func (p *pump) take() batch {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := batch{buf: p.pending, ends: p.ends, opening: opening{p.header, p.kind}, over: p.over, err: p.err}
	p.pending, p.ends = nil, nil
	if b.buf != nil && len(*b.buf) == 0 {
		frontend.PutBuffer(b.buf) // The message that it was for could not be framed.
		b.buf = nil
	}
	if b.buf != nil {
		signal(p.room)
	}
	return b
}

// run writes until the stream is over. The error is not nil only when nothing was written. override, where not nil, may replace the error that
// ended the RPC by the one behind it.
func (p *pump) run(s sink, override func(error) error) error {
	w := writer{p: p, s: s, override: override, idle: newIdleTimer(p.x.opts.Heartbeat, s.beats()), opened: s.opened()}
	defer w.idle.stop()
	drain := p.x.opts.Drain.Done()
	var delay <-chan time.Time
	for {
		var b batch
		select {
		case <-p.more:
			b = p.take()
		case <-w.idle.fired():
			if err := w.beat(); err != nil {
				return p.lost(err)
			}
			continue
		case <-drain:
			drain = nil
			if d := p.x.opts.CloseDelay; d > 0 {
				timer := time.NewTimer(d)
				defer timer.Stop()
				delay = timer.C
				continue
			}
			b = p.drained()
		case <-delay:
			b = p.drained()
		}
		if err := w.write(b); err != nil {
			return p.lost(err)
		}
		if b.over {
			return w.end(b.err)
		}
	}
}

// writer is the writing end of a pump.
type writer struct {
	p        *pump
	s        sink
	override func(error) error
	idle     *idleTimer
	opened   bool
}

func (w *writer) open(with opening) {
	if !w.opened {
		w.s.open(with)
		w.opened = true
	}
}

func (w *writer) write(b batch) error {
	if b.buf == nil {
		return nil
	}
	defer frontend.PutBuffer(b.buf)
	w.open(b.opening)
	w.idle.wrote()
	return w.s.write(*b.buf, b.ends)
}

func (w *writer) beat() error {
	if !w.idle.quiet() {
		return nil
	}
	// The upstream may not have sent its header metadata yet; then it is lost. A client that hears nothing at all is worse.
	w.p.mu.Lock()
	with := opening{header: w.p.header}
	w.p.mu.Unlock()
	w.open(with)
	return w.s.beat()
}

func (w *writer) end(err error) error {
	// Now, too, nobody may be using the RPC whose metadata is read below.
	w.p.call.Close()
	<-w.p.work.Done()
	if w.override != nil {
		err = w.override(err)
	}
	if err == nil {
		w.open(opening{header: w.p.header})
		w.s.finish(nil)
		return nil
	}
	e := asError(err)
	if !w.opened {
		return w.p.x.failed(w.p.call, e)
	}
	w.p.x.info.Fail(e)
	w.s.finish(e)
	return nil
}

// drained is what waits, and the end because the server stops.
func (p *pump) drained() batch {
	b := p.take()
	if !b.over {
		b.over, b.err = true, frontend.Errorf(codes.Unavailable, "the server is shutting down")
	}
	return b
}

// lost notes that the client is gone, or that it wants no body. The status is on the wire already, so there is nothing left to answer.
func (p *pump) lost(err error) error {
	if errors.Is(err, errNoBody) {
		return nil
	}
	p.x.info.Fail(frontend.Errorf(codes.Canceled, "the client went away").WithCause(err))
	return nil
}

// idleTimer fires when a stream was quiet for a while. A write costs it no more than reading the clock.
type idleTimer struct {
	every time.Duration
	timer *time.Timer // nil: never
	last  time.Time
}

func newIdleTimer(every time.Duration, on bool) *idleTimer {
	t := &idleTimer{every: every}
	if every > 0 && on {
		t.timer, t.last = time.NewTimer(every), time.Now()
	}
	return t
}

func (t *idleTimer) fired() <-chan time.Time {
	if t.timer == nil {
		return nil
	}
	return t.timer.C
}

// quiet is called when it fired: it reports whether nothing was written meanwhile, and starts again.
func (t *idleTimer) quiet() bool {
	since := time.Since(t.last)
	if since < t.every {
		t.timer.Reset(t.every - since)
		return false
	}
	t.last = time.Now()
	t.timer.Reset(t.every)
	return true
}

func (t *idleTimer) wrote() {
	if t.timer != nil {
		t.last = time.Now()
	}
}

func (t *idleTimer) stop() {
	if t.timer != nil {
		t.timer.Stop()
	}
}
