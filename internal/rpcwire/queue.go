package rpcwire

import (
	"encoding/binary"
	"slices"
)

const (
	// smallMessage is the size up to which a message that waits has no buffer of its own, in bytes.
	smallMessage = 1 << 10
	// firstChunk is the capacity of the first chunk that waits, in bytes. Any small message fits.
	firstChunk = smallMessage + 128
	// nextChunk is the capacity of the others, in bytes.
	nextChunk = 4 << 10
)

// queue has the messages of a call that have come and were not received yet. Small ones are stored
// in chunks as they came, one after the other, and get a buffer when they are received. So many of
// them hold little more than what has come. An empty queue holds no chunk.
type queue struct {
	// count is the number of messages.
	count int
	// head is the first message if it has a buffer and came when no other waited. Otherwise it is
	// empty.
	head Message
	// chunks have the others, in the order in which they came: the prefix, and the bytes of a small
	// one. Each is in one piece. The current message may be at the end.
	chunks []*[]byte
	// taken is how much of the first chunk was received.
	taken int
	// large are the buffers of the others that are large.
	large []*[]byte
}

// largeFlag marks the prefixes of messages whose bytes are not in the chunks.
const largeFlag = 0x80

// begin begins a small message.
func (q *queue) begin(prefix [prefixSize]byte, buffers Buffers) {
	chunk := q.room(prefixSize+int(binary.BigEndian.Uint32(prefix[1:])), buffers)
	*chunk = append(*chunk, prefix[:]...)
}

// add adds bytes to the message that has begun.
func (q *queue) add(p []byte) {
	chunk := q.chunks[len(q.chunks)-1]
	*chunk = append(*chunk, p...)
}

// end ends the message that has begun.
func (q *queue) end() { q.count++ }

// abandon drops the message that has begun. n is how much of it has come, with its prefix.
func (q *queue) abandon(n int, buffers Buffers) {
	last := len(q.chunks) - 1
	chunk := q.chunks[last]
	*chunk = (*chunk)[:len(*chunk)-n]
	if len(*chunk) == 0 || last == 0 && len(*chunk) == q.taken {
		putChunk(chunk, buffers)
		q.chunks = q.chunks[:last]
		if last == 0 {
			q.taken = 0
		}
	}
}

// push adds a large message.
func (q *queue) push(m Message, buffers Buffers) {
	q.count++
	if q.count == 1 {
		q.head = m
		return
	}
	prefix := [prefixSize]byte{largeFlag}
	if m.Compressed {
		prefix[0]++
	}
	chunk := q.room(prefixSize, buffers)
	*chunk = append(*chunk, prefix[:]...)
	q.large = append(q.large, m.Buf)
}

// room returns the last chunk, which has room for n bytes more.
func (q *queue) room(n int, buffers Buffers) *[]byte {
	size := firstChunk
	if last := len(q.chunks) - 1; last >= 0 {
		if chunk := q.chunks[last]; cap(*chunk)-len(*chunk) >= n {
			return chunk
		}
		size = nextChunk
	}
	chunk := buffers.Get(size)
	*chunk = (*chunk)[:0]
	q.chunks = append(q.chunks, chunk)
	return chunk
}

// pop returns the next message, or none.
func (q *queue) pop(buffers Buffers) Message {
	if q.count == 0 {
		return Message{}
	}
	q.count--
	if m := q.head; m.Buf != nil {
		q.head = Message{}
		return m
	}
	p := q.next()
	m := Message{Compressed: p[0]&1 == 1}
	if p[0]&largeFlag != 0 {
		m.Buf = q.large[0]
		q.large = slices.Delete(q.large, 0, 1)
	} else {
		m.Buf = buffers.Get(len(p) - prefixSize)
		copy(*m.Buf, p[prefixSize:])
	}
	q.drop(len(p), buffers)
	return m
}

// appendNext appends the next message with its prefix. It returns false if there is none, or if it
// is large or compressed.
func (q *queue) appendNext(dst []byte, buffers Buffers) ([]byte, bool) {
	if q.count == 0 || q.head.Buf != nil {
		return dst, false
	}
	p := q.next()
	if p[0] != 0 {
		return dst, false
	}
	q.count--
	dst = append(dst, p...)
	q.drop(len(p), buffers)
	return dst, true
}

// next is what the chunks have of the next message. It is valid until drop.
func (q *queue) next() []byte {
	p := (*q.chunks[0])[q.taken:]
	return p[:prefixSize+int(binary.BigEndian.Uint32(p[1:]))]
}

// drop drops what next has returned.
func (q *queue) drop(n int, buffers Buffers) {
	q.taken += n
	if q.taken == len(*q.chunks[0]) { // nothing else is in it
		putChunk(q.chunks[0], buffers)
		q.chunks = slices.Delete(q.chunks, 0, 1)
		q.taken = 0
	}
}

func putChunk(chunk *[]byte, buffers Buffers) {
	*chunk = (*chunk)[:cap(*chunk)]
	buffers.Put(chunk)
}

// empty drops all messages, and the one that has begun.
func (q *queue) empty(buffers Buffers) {
	if q.head.Buf != nil {
		buffers.Put(q.head.Buf)
	}
	for _, buf := range q.large {
		buffers.Put(buf)
	}
	for _, chunk := range q.chunks {
		putChunk(chunk, buffers)
	}
	clear(q.large)
	clear(q.chunks)
	*q = queue{chunks: q.chunks[:0], large: q.large[:0]}
}
