package rpcwire

const (
	// smallMessage is the size up to which a message that waits has no buffer of its own, in bytes.
	smallMessage = 1 << 10
	// keptSmall is how much memory for such messages an ended call keeps, in bytes.
	keptSmall = 4 << 10
)

// queue has the messages of a stream that have come and were not received yet. Small ones are
// stored one after the other, and get a buffer when they are received. So many of them hold little
// more than what has come.
type queue struct {
	// waiting are the messages, from first on.
	waiting []waiting
	first   int
	// small has the bytes of the small ones, from smallFirst on. The current message may be at its
	// end.
	small      []byte
	smallFirst int
}

// waiting is a message in the queue.
type waiting struct {
	// buf has the message. Nil: it is a small one.
	buf        *[]byte
	size       int
	compressed bool
}

func (q *queue) len() int { return len(q.waiting) - q.first }

func (q *queue) push(w waiting) {
	if q.first > 0 && len(q.waiting) == cap(q.waiting) {
		n := copy(q.waiting, q.waiting[q.first:])
		clear(q.waiting[n:])
		q.waiting, q.first = q.waiting[:n], 0
	}
	q.waiting = append(q.waiting, w)
}

// pop returns the next message, or none.
func (q *queue) pop(buffers Buffers) Message {
	if q.len() == 0 {
		return Message{}
	}
	w := q.waiting[q.first]
	q.waiting[q.first] = waiting{}
	q.first++
	if q.len() == 0 {
		q.waiting, q.first = q.waiting[:0], 0
	}
	if w.buf == nil {
		w.buf = buffers.Get(w.size)
		q.smallFirst += copy(*w.buf, q.small[q.smallFirst:])
		if q.smallFirst == len(q.small) {
			q.small, q.smallFirst = q.small[:0], 0
		}
	}
	return Message{Buf: w.buf, Compressed: w.compressed}
}

// addSmall takes bytes of a small message.
func (q *queue) addSmall(p []byte) {
	if q.smallFirst > 0 && len(q.small)+len(p) > cap(q.small) {
		n := copy(q.small, q.small[q.smallFirst:])
		q.small, q.smallFirst = q.small[:n], 0
	}
	q.small = append(q.small, p...)
}

// empty drops all messages.
func (q *queue) empty(buffers Buffers) {
	for _, w := range q.waiting[q.first:] {
		if w.buf != nil {
			buffers.Put(w.buf)
		}
	}
	clear(q.waiting)
	if cap(q.small) > keptSmall {
		q.small = nil
	}
	q.waiting, q.first, q.small, q.smallFirst = q.waiting[:0], 0, q.small[:0], 0
}
