package envelope

import (
	"encoding/binary"
	"errors"
	"io"

	"google.golang.org/grpc/codes"

	"github.com/caddy-grpc/gateway/internal/frontend"
)

const (
	// readSize is how many bytes are read at a time if it is not known how many will come.
	readSize = 4 << 10
	// manySize is how many bytes are read at a time while small messages come by the thousand. A
	// frame of HTTP/2 usually has 16 KiB at most.
	manySize = 20 << 10
)

// promised is how many bytes are allocated for a message before they have come. A prefix of five
// bytes must not cost more.
const promised = 4 << 10

// unpacked is the largest buffer in bytes that is allocated before a message is decompressed.
const unpacked = 64 << 10

// Reader takes messages from a stream of envelopes. It is for one goroutine.
//
// It reads to the end of its source and never past it, and no more than the limit allows.
type Reader struct {
	src    io.Reader
	limit  int64
	coding Coding

	// buf has what was read ahead. Nil if nothing was, so that an idle stream holds no buffer
	// before its first message.
	buf *[]byte
	pos int   // The position in *buf.
	end error // What reading ended with.
	// many is true if Waiting has found half of readSize or more.
	many bool
}

// NewReader returns a Reader of messages of at most limit bytes, before and after decompression.
// coding is that of compressed messages.
func NewReader(src io.Reader, limit int64, coding Coding) *Reader {
	return &Reader{src: src, limit: limit, coding: coding}
}

// Close gives back the buffer. The source stays open.
func (r *Reader) Close() {
	if r.buf != nil {
		frontend.PutBuffer(r.buf)
		r.buf = nil
	}
	if r.end == nil {
		r.end = io.ErrClosedPipe
	}
}

// More waits until there is something to read. It returns false at the end. The error is the
// source's.
func (r *Reader) More() (bool, error) {
	for r.ahead() == 0 {
		if err := r.fill(); err != nil {
			if errors.Is(err, io.EOF) {
				return false, nil
			}
			return false, err
		}
	}
	return true, nil
}

// Next returns the payload of the next message, decompressed. The caller sends the buffer or gives
// it back with frontend.PutBuffer.
//
// io.EOF is the end. A *frontend.Error says what is wrong with an envelope. Any other error is the
// source's.
func (r *Reader) Next() (*[]byte, error) {
	more, err := r.More()
	if err != nil {
		return nil, err
	}
	if !more {
		return nil, io.EOF
	}
	for r.ahead() < HeaderSize {
		if err := r.fill(); err != nil {
			return nil, truncated(err)
		}
	}
	head := (*r.buf)[r.pos : r.pos+HeaderSize]
	flags, size := head[0], int64(binary.BigEndian.Uint32(head[1:]))
	r.pos += HeaderSize
	switch {
	case flags&^Compressed != 0:
		return nil, frontend.Errorf(codes.Internal, "a message has the flags 0x%02x, which requests cannot have", flags)
	case flags&Compressed != 0 && r.coding == Identity:
		return nil, frontend.Errorf(codes.Internal, "a message is compressed, and no header says with what")
	case size > r.limit:
		return nil, tooLarge(r.limit)
	}
	msg, err := r.payload(int(size))
	if err != nil {
		return nil, err
	}
	if flags&Compressed == 0 {
		return msg, nil
	}
	return r.decompress(msg)
}

// Waiting returns the whole envelopes that were read ahead, as they are, and how many they are. It
// does not wait. It stops before one that is compressed or that Next refuses. They are valid until
// the next call, and Next does not return them.
func (r *Reader) Waiting() (framed []byte, messages int) {
	if r.buf == nil {
		return nil, 0
	}
	b := (*r.buf)[r.pos:]
	n := 0
	for len(b)-n >= HeaderSize && b[n] == 0 {
		size := int64(binary.BigEndian.Uint32(b[n+1:]))
		if size > r.limit || size > int64(len(b)-n-HeaderSize) {
			break
		}
		n += HeaderSize + int(size)
		messages++
	}
	r.pos += n
	r.many = n >= readSize/2
	return b[:n:n], messages
}

func tooLarge(limit int64) *frontend.Error {
	return frontend.Errorf(codes.ResourceExhausted, "a message is larger than %d bytes", limit)
}

func truncated(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return frontend.Errorf(codes.InvalidArgument, "the request ends within a message")
	}
	return err
}

// ahead is how many bytes were read ahead.
func (r *Reader) ahead() int {
	if r.buf == nil {
		return 0
	}
	return len(*r.buf) - r.pos
}

// fill reads more into the buffer.
func (r *Reader) fill() error {
	if r.end != nil {
		return r.end
	}
	r.makeRoom()
	b := *r.buf
	n, err := r.src.Read(b[len(b):cap(b)])
	*r.buf = b[:len(b)+n]
	r.end = err
	if n > 0 {
		return nil // An error comes again with the next read.
	}
	return err
}

// makeRoom makes room in the buffer, which begins with what was read ahead then. The buffer is
// large while many messages come together, and until the next message after them.
func (r *Reader) makeRoom() {
	if r.buf != nil && !r.many && r.ahead() == 0 && cap(*r.buf) >= manySize {
		frontend.PutBuffer(r.buf)
		r.buf = nil
	}
	if r.buf == nil {
		r.buf = frontend.GetBuffer(readSize)
	} else {
		*r.buf = append((*r.buf)[:0], (*r.buf)[r.pos:]...)
	}
	r.pos = 0
	if r.many {
		r.buf = frontend.GrowBuffer(r.buf, manySize-len(*r.buf))
	}
}

// payload takes the next size bytes. The buffer grows with what has come.
func (r *Reader) payload(size int) (*[]byte, error) {
	n := min(size, r.ahead())
	msg := frontend.GetBuffer(min(size, max(promised, 4*n)))
	*msg = append(*msg, (*r.buf)[r.pos:r.pos+n]...)
	r.pos += n
	for len(*msg) < size && r.end == nil {
		have := len(*msg)
		if have == cap(*msg) {
			msg = frontend.GrowBuffer(msg, min(size-have, 3*have))
		}
		out := *msg
		n, err := r.src.Read(out[have:min(size, cap(out))])
		*msg = out[:have+n]
		r.end = err
	}
	if len(*msg) < size {
		frontend.PutBuffer(msg)
		return nil, truncated(r.end)
	}
	return msg, nil
}

// decompress replaces a message by its plain form.
func (r *Reader) decompress(msg *[]byte) (*[]byte, error) {
	defer frontend.PutBuffer(msg)
	plain := frontend.GetBuffer(min(4*len(*msg), unpacked))
	out, err := r.coding.Decompress(*plain, *msg, r.limit)
	*plain = out
	if err == nil {
		return plain, nil
	}
	frontend.PutBuffer(plain)
	if errors.Is(err, ErrTooLarge) {
		return nil, tooLarge(r.limit)
	}
	return nil, frontend.Errorf(codes.InvalidArgument, "a message is not valid %s", r.coding).WithCause(err)
}
