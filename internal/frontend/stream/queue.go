package stream

import (
	"encoding/binary"
	"errors"
	"io"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/frontend/envelope"
)

// A Queue holds the encoded messages that wait for a client.
type Queue struct {
	set  Settings
	more chan struct{} // Has room for one signal: something was added, or the RPC is over.
	room chan struct{} // Has room for one signal: what waited was taken.
	work *frontend.Confined
	// parts are those of the message that is being encoded. It belongs to the receiving goroutine.
	parts [][]byte

	mu      sync.Mutex
	pending *[]byte // Nil if nothing waits, so that a quiet stream holds no buffer.
	waiting int     // How many messages are in pending.
	ends    []int   // Only with Settings.KeepEnds.
	count   uint64
	header  metadata.MD // Nil before it is there, and if the RPC failed without.
	over    bool
	err     error // Why it is over. Nil for success.
}

// New starts to receive. Stop must be called.
func New(s Settings) *Queue {
	q := &Queue{set: s, more: make(chan struct{}, 1), room: make(chan struct{}, 1)}
	q.work = frontend.GoConfined(q.receive, func() { q.end(frontend.Errorf(codes.Internal, "the gateway failed")) })
	return q
}

// Stop ends the RPC and waits for the receiving goroutine. It panics if that goroutine has
// panicked.
func (q *Queue) Stop() {
	q.set.Source.Close()
	<-q.work.Done()
	if q.pending != nil {
		frontend.PutBuffer(q.pending)
		q.pending = nil
	}
	q.work.Wait()
}

// receive runs until the RPC is over.
func (q *Queue) receive() {
	if header := q.set.Source.Header(); header != nil {
		q.mu.Lock()
		q.header = header
		q.mu.Unlock()
		signal(q.more)
	}
	err := q.receiveAll()
	if errors.Is(err, io.EOF) {
		err = nil
	}
	q.end(err)
}

// end notes that the RPC is over.
func (q *Queue) end(err error) {
	q.mu.Lock()
	q.over, q.err = true, err
	q.mu.Unlock()
	signal(q.more)
}

func (q *Queue) receiveAll() error {
	full := false
	for {
		// Room is waited for before a message is received, so that the message waits where flow
		// control counts it.
		if full && !q.waitForRoom() {
			return q.discard()
		}
		msg, err := q.set.Source.Recv()
		if err != nil {
			return err
		}
		q.parts = frontend.AppendParts(q.parts[:0], msg)
		full, err = q.add(msg.Len())
		msg.Free()
		if q.set.Single {
			return err
		}
		if err == nil && !full {
			full, err = q.addWaiting()
		}
		if errors.Is(err, errLeft) {
			return q.discard()
		}
		if err != nil {
			q.set.Source.Close()
			_ = q.discard()
			return err
		}
	}
}

// discard receives what nobody will read, up to the error that ends an RPC that was cancelled. gRPC
// goes on writing to the trailer metadata until then.
func (q *Queue) discard() error {
	for {
		msg, err := q.set.Source.Recv()
		if err != nil {
			return err
		}
		msg.Free()
	}
}

// maxWaiting is how many bytes of messages are received at once without waiting. The last one may
// exceed it. Each of them has 1 KiB at most, so all of them fit into a buffer of 4 KiB.
const maxWaiting = 3000

// errLeft says that the RPC was ended while there was no room.
var errLeft = errors.New("the RPC was ended")

// addWaiting adds the messages that have come as well. If there is no room for one, it waits. full
// is that of add.
func (q *Queue) addWaiting() (full bool, err error) {
	framed := frontend.GetBuffer(4 << 10)
	defer frontend.PutBuffer(framed)
	var messages int
	*framed, messages = q.set.Source.RecvWaiting(*framed, maxWaiting)
	rest := *framed
	for range messages {
		if full && !q.waitForRoom() {
			return true, errLeft
		}
		end := envelope.HeaderSize + int(binary.BigEndian.Uint32(rest[1:]))
		q.parts = append(q.parts[:0], rest[envelope.HeaderSize:end])
		if full, err = q.add(end - envelope.HeaderSize); err != nil {
			return full, err
		}
		rest = rest[end:]
	}
	return full, nil
}

// add encodes the message that q.parts has, and forgets it. full reports that no further message
// should be received now.
func (q *Queue) add(size int) (full bool, err error) {
	defer clear(q.parts) // a quiet stream holds no message
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.pending == nil {
		q.pending = frontend.GetBuffer(0)
	}
	q.pending = frontend.GrowBuffer(q.pending, q.set.Sink.Room(size))
	out, err := q.set.Sink.Append(*q.pending, q.parts, q.count+1)
	if err != nil {
		return false, err
	}
	*q.pending = out
	q.count++
	q.waiting++
	if q.set.KeepEnds {
		q.ends = append(q.ends, len(out))
	}
	if !q.set.Single {
		signal(q.more)
	}
	return q.fullLocked(), nil
}

// maxEnds is how many messages may wait if their ends are kept: each end takes memory, even that of
// an empty message.
const maxEnds = 1 << 10

// fullLocked reports whether so much waits that no further message should be received. Caller must
// hold q.mu.
func (q *Queue) fullLocked() bool {
	return q.pending != nil && (len(*q.pending) >= q.set.Limit || len(q.ends) >= maxEnds)
}

// waitForRoom waits until the writer has caught up. It reports false if the RPC was ended instead.
func (q *Queue) waitForRoom() bool {
	for {
		q.mu.Lock()
		full := q.fullLocked()
		q.mu.Unlock()
		if !full {
			return true
		}
		select {
		case <-q.room:
		case <-q.set.Source.Context().Done():
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

// batch is what the writer takes at one time.
type batch struct {
	buf    *[]byte // Nil if no message waits.
	ends   []int
	header metadata.MD
	over   bool
	err    error
}

// take returns what waits. The only message of a method that answers once waits for the end, which
// follows at once, so that both are written together.
func (q *Queue) take() batch {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.set.Single && !q.over {
		return batch{header: q.header}
	}
	b := batch{buf: q.pending, ends: q.ends, header: q.header, over: q.over, err: q.err}
	q.pending, q.ends = nil, nil
	if b.buf == nil {
		return b
	}
	signal(q.room)
	if q.waiting == 0 { // The message that the buffer was for could not be encoded.
		frontend.PutBuffer(b.buf)
		b.buf = nil
	}
	q.waiting = 0
	return b
}

// drained is what waits, with the end because the server stops.
func (q *Queue) drained() batch {
	b := q.take()
	if !b.over {
		b.over, b.err = true, frontend.Errorf(codes.Unavailable, "the server is shutting down")
	}
	return b
}
