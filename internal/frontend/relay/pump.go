package relay

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"

	"github.com/caddy-grpc/gateway/internal/frontend"
)

// maxPending is how many bytes may wait for a slow reader before the next message is not received any more. Behind it gRPC's flow
// control stops the upstream.
const maxPending = 28 << 10

// A pump moves the messages of a response stream from the RPC to the client. One goroutine receives and puts into envelopes, the
// handler's own writes: so what arrives while it writes is written in one go afterwards.
type pump struct {
	x    *Exchange
	call *frontend.Call
	more chan struct{}    // of one: something was added, or it is over
	room chan struct{}    // of one: something was taken
	work *frontend.Beside // receives

	mu      sync.Mutex
	pending *[]byte     // nil when nothing waits, so that an idle stream holds no buffer
	header  metadata.MD // nil before it is there, and when the RPC failed without
	over    bool
	err     error // why it is over: nil for success
}

// pump answers with the messages of a call as they come. s is nil where requests do not stream.
func (x *Exchange) pump(call *frontend.Call, s *sender) {
	defer x.Options.Drain.BoundWrites(x.W, x.Options.CloseDelay)()
	p := &pump{x: x, call: call, more: make(chan struct{}, 1), room: make(chan struct{}, 1)}
	p.work = frontend.GoBeside(p.receive, func() { p.end(frontend.Errorf(codes.Internal, "the gateway failed")) })
	defer p.stop()
	p.run(s)
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
	if header := p.call.Header(); header != nil {
		p.mu.Lock()
		p.header = header
		p.mu.Unlock()
		signal(p.more)
	}
	err := p.receiveAll()
	if errors.Is(err, io.EOF) {
		err = nil
	}
	p.end(err)
}

// end notes that the RPC is over.
func (p *pump) end(err error) {
	p.mu.Lock()
	p.over, p.err = true, err
	p.mu.Unlock()
	signal(p.more)
}

func (p *pump) receiveAll() error {
	for {
		msg, err := p.call.Recv()
		if err != nil {
			return err
		}
		p.waitForRoom()
		err = p.add(msg)
		if !p.x.Method.StreamDesc.ServerStreams {
			return err
		}
		if err != nil {
			p.abandon()
			return err
		}
		signal(p.more)
	}
}

// add puts one message into its envelope, and frees it.
func (p *pump) add(msg mem.BufferSlice) (err error) {
	defer msg.Free()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pending == nil {
		p.pending = frontend.GetBuffer(0)
	}
	p.pending = frontend.GrowBuffer(p.pending, msg.Len()+16)
	*p.pending, err = p.x.appendMessage(*p.pending, msg)
	return err
}

// abandon ends a stream of which nothing more is wanted. gRPC goes on writing to the trailers, which finish reads, until Recv has told the end.
func (p *pump) abandon() {
	p.call.Close()
	for {
		msg, err := p.call.Recv()
		if err != nil {
			return
		}
		msg.Free()
	}
}

// waitForRoom returns when the writer has caught up, or when the RPC is over, which receiving again will tell.
func (p *pump) waitForRoom() {
	for {
		p.mu.Lock()
		full := p.pending != nil && len(*p.pending) >= maxPending
		p.mu.Unlock()
		if !full {
			return
		}
		select {
		case <-p.room:
		case <-p.call.Context().Done():
			return
		}
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// batch is what waited.
type batch struct {
	buf    *[]byte // nil: nothing
	header metadata.MD
	over   bool
	err    error
}

func (p *pump) take() batch {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := batch{buf: p.pending, header: p.header, over: p.over, err: p.err}
	p.pending = nil
	if b.buf != nil {
		signal(p.room)
	}
	return b
}

// run writes until the stream is over.
func (p *pump) run(s *sender) {
	drain := p.x.Options.Drain.Done()
	var delay <-chan time.Time
	opened := false
	for {
		var b batch
		select {
		case <-p.more:
			b = p.take()
		case <-drain:
			drain = nil
			if d := p.x.Options.CloseDelay; d > 0 {
				timer := time.NewTimer(d)
				defer timer.Stop()
				delay = timer.C
				continue
			}
			b = p.drained()
		case <-delay:
			b = p.drained()
		}
		if b.over {
			p.finish(b, opened, s)
			return
		}
		if !opened && (b.buf != nil || b.header != nil && p.early()) {
			p.x.open(b.header)
			opened = true
		}
		if err := p.flush(b, opened); err != nil {
			p.lost(err)
			return
		}
	}
}

// early reports whether the header may be written before there is a message. On HTTP/1.1 it would cost the connection, see closeEarly,
// and gain nothing: clients do not look for it before they have sent their request.
func (p *pump) early() bool { return p.x.R.ProtoMajor > 1 || p.x.body.Ended() }

// flush writes a batch, or the header alone: a client may wait for it before it says anything.
func (p *pump) flush(b batch, opened bool) error {
	if b.buf != nil {
		defer frontend.PutBuffer(b.buf)
		if err := p.x.write(*b.buf); err != nil {
			return err
		}
	}
	if !opened {
		return nil
	}
	// A writer that cannot flush has no buffer, or is a test's.
	if err := http.NewResponseController(p.x.W).Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

// finish writes the last batch and the end.
func (p *pump) finish(b batch, opened bool, s *sender) {
	// Now nobody may be using the RPC whose metadata is read below.
	p.call.Close()
	<-p.work.Done()
	if b.buf == nil {
		b.buf = frontend.GetBuffer(0)
	}
	defer frontend.PutBuffer(b.buf)
	var e *frontend.Error
	if err := s.explain(b.err); err != nil {
		e = AsError(err)
		p.x.Info.Fail(e)
	}
	if !opened {
		if e != nil && b.header == nil && len(*b.buf) == 0 {
			p.x.closeEarly()
			p.x.Protocol.Refuse(p.call.Trailer(), e)
			return
		}
		p.x.open(b.header)
	}
	*b.buf = p.x.Protocol.End(*b.buf, p.x.W.Header(), p.call.Trailer(), e)
	if err := p.x.write(*b.buf); err != nil {
		p.lost(err)
	}
}

// drained is what waits, and the end because the server stops.
func (p *pump) drained() batch {
	b := p.take()
	if !b.over {
		b.over, b.err = true, frontend.Errorf(codes.Unavailable, "the server is shutting down")
	}
	return b
}

// lost notes that the client is gone.
func (p *pump) lost(err error) {
	p.x.Info.Fail(frontend.Errorf(codes.Canceled, "the client went away").WithCause(err))
}
