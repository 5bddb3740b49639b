package frontend

import (
	"errors"
	"io"
)

// promised is how many bytes of a body are allocated because a header says that they will come. The
// buffer grows with what comes: a promise costs nothing.
const promised = 4 << 10

// ErrTooLarge says that there is more than the limit.
var ErrTooLarge = errors.New("larger than the limit")

// ReadAll reads up to the end of the body, and never past it, into a buffer from GetBuffer. size is
// the length in bytes that the body claims to have, negative if it claims none. limit is the length
// that it may have. The error is ErrTooLarge or that of reading, and then there is no buffer.
func ReadAll(r io.Reader, size, limit int64) (*[]byte, error) {
	room := 0
	if size >= 0 {
		room = int(min(size, promised-1)) + 1 // The end needs room, too.
	}
	buf := GetBuffer(room)
	for {
		b := *buf
		if int64(len(b)) > limit {
			PutBuffer(buf)
			return nil, ErrTooLarge
		}
		if len(b) == cap(b) {
			more := int64(len(b))
			if size >= more {
				more = min(size-more+1, 3*more)
			}
			buf = GrowBuffer(buf, int(more))
			b = *buf
		}
		free := b[len(b):cap(b)]
		if left := limit - int64(len(b)); int64(len(free)) > left {
			free = free[:left+1] // One more tells that there is too much.
		}
		n, err := r.Read(free)
		*buf = b[:len(b)+n]
		switch {
		case errors.Is(err, io.EOF) && int64(len(*buf)) <= limit:
			return buf, nil
		case err != nil && !errors.Is(err, io.EOF):
			PutBuffer(buf)
			return nil, err
		}
	}
}
