package rpcwire

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/codes"
)

const (
	// firstPart is the size of the buffer that a message gets when its prefix has come, in bytes. A
	// larger message gets more when it has filled that. So a prefix alone costs little.
	firstPart = 64 << 10
	// growBy is how many times larger each further buffer is.
	growBy = 8
)

// incoming is what came from the peer for a call. The connection's lock guards it until the call
// has ended.
type incoming struct {
	// answered is true once a header block has come.
	answered bool
	// headed is true once header is set.
	headed          bool
	header, trailer []Field
	// encoding is the compression that the header names.
	encoding string
	// foreign is the error of a response that is not gRPC. Nil: it is, or is not known yet.
	foreign *foreign

	// window is how many bytes the peer may still send on the stream.
	window int
	// held is the size of the messages in the queue, with their prefixes.
	held int

	// prefix is the prefix of the current message. prefixGot is how much of it has come.
	prefix    [prefixSize]byte
	prefixGot int
	// begun is true while there is a current message: its prefix is complete.
	begun bool
	// part is the current message. Nil: there is none, or it goes to the queue as it comes.
	part *[]byte
	// got is how much of the message has come, and size how much will have come.
	got, size int

	// queue has the messages that were not received yet.
	queue queue
	// delivered is the number of messages that have come.
	delivered int

	// awaited is true while the receiver waits for a message.
	awaited bool
	// sleeping is true while the receiver waits for recvWake.
	sleeping bool
}

// partial is how many bytes of an incomplete message have come.
func (in *incoming) partial() int { return in.prefixGot + in.got }

// remaining is how many bytes of the current message are still to come. 0: there is none.
func (in *incoming) remaining() int { return in.size - in.got }

// release gives back the messages that nobody received, and the current one.
func (in *incoming) release(c *Conn) {
	in.abandonPart(c)
	in.queue.empty(c.opts.Buffers)
}

// abandonPart gives back the current message.
func (in *incoming) abandonPart(c *Conn) {
	switch {
	case in.part != nil:
		c.opts.Buffers.Put(in.part)
	case in.begun:
		in.queue.abandon(prefixSize+in.got, c.opts.Buffers)
	}
	in.begun, in.part = false, nil
}

// reset is for a call that was released.
func (in *incoming) reset() {
	*in = incoming{header: emptied(in.header), trailer: emptied(in.trailer), queue: in.queue}
}

func (c *Conn) putBack(m Message) {
	if m.Buf != nil {
		c.opts.Buffers.Put(m.Buf)
	}
}

// assembleLocked takes message bytes from a DATA frame. It returns an error if they are not
// acceptable.
func (c *Conn) assembleLocked(call *Call, p []byte) *Error {
	in := &call.in
	for len(p) > 0 {
		if !in.begun {
			n := copy(in.prefix[in.prefixGot:], p)
			in.prefixGot += n
			p = p[n:]
			if in.prefixGot < prefixSize {
				return nil
			}
			if err := c.beginMessage(call); err != nil {
				return err
			}
		}
		now := p[:min(len(p), in.remaining())]
		p = p[len(now):]
		if in.part == nil {
			in.queue.add(now)
			in.got += len(now)
		}
		for in.part != nil && len(now) > 0 {
			if in.got == len(*in.part) {
				c.growPart(in)
			}
			n := copy((*in.part)[in.got:], now)
			in.got += n
			now = now[n:]
		}
		if in.got == in.size {
			if err := c.endMessageLocked(call); err != nil {
				return err
			}
		}
	}
	return nil
}

// beginMessage checks the prefix and gets a buffer.
func (c *Conn) beginMessage(call *Call) *Error {
	in := &call.in
	flag, size := in.prefix[0], binary.BigEndian.Uint32(in.prefix[1:])
	if limit := call.maxMessage(); int64(size) > int64(limit) {
		return &Error{
			Kind: KindAnswerTooLarge, Code: codes.ResourceExhausted,
			Message: fmt.Sprintf("a message has %d bytes, expected at most %d", size, limit),
		}
	}
	switch {
	case flag > 1:
		return notGRPC("a message has the flags %#x, expected 0 or 1", flag)
	case flag == 1 && (in.encoding == "" || in.encoding == "identity"):
		return notGRPC("a message is compressed, but the header has no grpc-encoding")
	case flag == 1 && c.opts.Decompresses != nil && !c.opts.Decompresses(in.encoding):
		return &Error{Kind: KindCompression, Code: codes.Internal, Message: fmt.Sprintf("a message has the unknown grpc-encoding %q", in.encoding)}
	}
	in.begun, in.size, in.got = true, int(size), 0
	if call.req.Unary || in.size > smallMessage {
		in.part = c.opts.Buffers.Get(min(in.size, firstPart))
	} else {
		in.queue.begin(in.prefix, c.opts.Buffers)
	}
	return nil
}

// growPart gives the current message a larger buffer.
func (c *Conn) growPart(in *incoming) {
	larger := c.opts.Buffers.Get(min(in.size, growBy*len(*in.part)))
	copy(*larger, (*in.part)[:in.got])
	c.opts.Buffers.Put(in.part)
	in.part = larger
}

// endMessageLocked puts the complete message into the queue.
func (c *Conn) endMessageLocked(call *Call) *Error {
	in := &call.in
	in.delivered++
	if call.req.Unary && in.delivered > 1 {
		return &Error{Kind: KindNotOneMessage, Code: codes.Internal, Message: "the peer sent another message after the first"}
	}
	if in.part == nil {
		in.queue.end()
	} else {
		in.queue.push(Message{Buf: in.part, Compressed: in.prefix[0] == 1}, c.opts.Buffers)
	}
	if !call.req.Unary {
		in.held += in.size + prefixSize
		if in.sleeping {
			wake(call.recvWake)
		}
	}
	in.begun, in.part, in.prefixGot, in.got, in.size = false, nil, 0, 0, 0
	return nil
}

// consumedLocked notes that the caller has received bytes of a stream.
func (c *Conn) consumedLocked(call *Call, n int) {
	call.in.held -= n
	c.widenLocked(call)
}

// widenLocked lets the peer send more on a stream, if that is worth a frame. The peer may send as
// much as fits the window beside what the caller has not received. While the caller waits for a
// message, the rest of that message may come, however large it is.
func (c *Conn) widenLocked(call *Call) {
	in := &call.in
	if call.state != callOpen {
		return
	}
	reading := in.awaited || call.req.Unary
	want := c.opts.StreamWindow - in.held
	if reading {
		want = max(want, in.remaining())
	} else {
		want -= in.partial()
	}
	more := want - in.window
	needed := reading && in.window < in.remaining()
	if more <= 0 || more < c.opts.StreamWindow/4 && !needed {
		return
	}
	in.window += more
	c.control.updates = append(c.control.updates, update{call.id, uint32(more)})
	c.wakeWriterLocked()
}

// dataLocked takes the payload of a DATA frame for an open stream. size is the payload's size with
// its padding, all of which counts for flow control.
func (c *Conn) dataLocked(call *Call, p []byte, size int, end bool) {
	in := &call.in
	if size > in.window {
		c.resetLocked(call, http2.ErrCodeFlowControl, notGRPC("the peer sent %d bytes, but the window of the stream has %d", size, in.window))
		return
	}
	in.window -= size
	switch {
	case in.foreign != nil:
		if in.foreign.data(p) || end {
			c.resetLocked(call, http2.ErrCodeProtocol, in.foreign.end())
			return
		}
	case !in.headed:
		c.resetLocked(call, http2.ErrCodeProtocol, notGRPC("DATA came before the header"))
		return
	default:
		if err := c.assembleLocked(call, p); err != nil {
			c.resetLocked(call, http2.ErrCodeCancel, err)
			return
		}
	}
	if end {
		c.finishLocked(call, notGRPC("the peer closed the stream without a status"))
		return
	}
	c.widenLocked(call)
}

// finishLocked ends a call whose peer has closed the stream. Nil means that the peer sent a status.
// If the request is not complete, the peer does not want the rest (RFC 9113, section 8.1).
func (c *Conn) finishLocked(call *Call, err *Error) {
	in := &call.in
	switch {
	case err != nil:
	case in.prefixGot > 0:
		err = notGRPC("the stream ended in the middle of a message")
	case call.req.Unary && in.delivered == 0 && call.status.Code == codes.OK:
		err = &Error{Kind: KindNotOneMessage, Code: codes.Internal, Message: "the peer sent no message"}
	}
	if call.out.ended {
		c.endLocked(call, err)
		return
	}
	in.window = 0 // nothing may follow
	c.resetLocked(call, http2.ErrCodeNo, err)
}
