package rpcwire

import "encoding/binary"

const (
	// prefixSize is the size of gRPC's prefix: a flag, and the length in four bytes.
	prefixSize = 5
	// copyMax is the size up to which Send copies a message and returns, in bytes.
	copyMax = 16 << 10
	// copiedMax is how many copied bytes of a stream may wait to be written.
	copiedMax = 64 << 10
)

// outgoing are the bytes of a call that are not written yet: first those that were copied, then the
// prefix and the parts of a message that is borrowed from its sender. The owner's lock guards it.
type outgoing struct {
	// window is how many bytes the peer allows on the stream. It may be negative.
	window int64

	copied []byte
	// off is how many bytes of copied were taken.
	off    int
	prefix [prefixSize]byte
	// prefixLeft is how many bytes of the prefix were not taken yet.
	prefixLeft int
	// parts are the borrowed parts, of which those before part were taken. partsLeft is what is
	// left.
	parts           [][]byte
	part, partsLeft int

	// closed is true if no message follows. ended is true if END_STREAM was written.
	closed, ended bool
	// sleeping is true while the sender waits for sendWake.
	sleeping bool
}

func (o *outgoing) left() int { return len(o.copied) - o.off + o.prefixLeft + o.partsLeft }

// blocked reports whether the sender must wait.
func (o *outgoing) blocked() bool { return o.prefixLeft+o.partsLeft > 0 }

// add appends a message. It returns the number of bytes.
func (o *outgoing) add(framed bool, parts [][]byte, mayCopy bool) int {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	var prefix [prefixSize]byte
	binary.BigEndian.PutUint32(prefix[1:], uint32(n))
	size := n
	if !framed {
		size += prefixSize
	}
	if mayCopy && size <= copyMax && o.left()+size <= copiedMax {
		o.makeRoom(size)
		if !framed {
			o.copied = append(o.copied, prefix[:]...)
		}
		for _, p := range parts {
			o.copied = append(o.copied, p...)
		}
		return size
	}
	if !framed {
		o.prefix, o.prefixLeft = prefix, prefixSize
	}
	o.parts, o.part, o.partsLeft = append(o.parts[:0], parts...), 0, n
	return size
}

// makeRoom drops the copied bytes that were taken, if n more need the room and half of all were
// taken. It never moves more bytes than were taken since the last time. At most copiedMax bytes are
// left, so copied has never more than twice as many, and what append adds.
func (o *outgoing) makeRoom(n int) {
	if o.off == len(o.copied) || o.off >= len(o.copied)/2 && cap(o.copied)-len(o.copied) < n {
		o.copied = o.copied[:copy(o.copied, o.copied[o.off:])]
		o.off = 0
	}
}

// take appends the next n bytes to dst. There must be as many.
func (o *outgoing) take(dst []byte, n int) []byte {
	if c := min(n, len(o.copied)-o.off); c > 0 {
		dst = append(dst, o.copied[o.off:o.off+c]...)
		o.off += c
		n -= c
	}
	if c := min(n, o.prefixLeft); c > 0 {
		from := prefixSize - o.prefixLeft
		dst = append(dst, o.prefix[from:from+c]...)
		o.prefixLeft -= c
		n -= c
	}
	for n > 0 {
		part := o.parts[o.part]
		c := min(n, len(part))
		dst = append(dst, part[:c]...)
		o.partsLeft -= c
		n -= c
		if c == len(part) {
			o.parts[o.part] = nil
			o.part++
		} else {
			o.parts[o.part] = part[c:]
		}
	}
	return dst
}

// drop forgets what was not written.
func (o *outgoing) drop() {
	o.copied, o.off, o.prefixLeft, o.partsLeft = o.copied[:0], 0, 0, 0
	clear(o.parts)
	o.parts, o.part = o.parts[:0], 0
}

// reset makes room for another call. It keeps memory of a usual size.
func (o *outgoing) reset() {
	copied, parts := o.copied[:0], o.parts[:0]
	if cap(copied) > copyMax {
		copied = nil
	}
	*o = outgoing{copied: copied, parts: parts}
}
