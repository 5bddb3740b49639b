package frontend

import (
	"sync"

	"google.golang.org/grpc/mem"
)

// Buffers come in two sizes, so that a small message does not pin a large buffer. Larger ones than the larger are left to the
// garbage collector: a rare huge message must not stay in memory.
const (
	smallBuffer = 4 << 10
	largeBuffer = 64 << 10
	maxRetained = 1 << 20
)

// Buffers are pooled byte slices that are appended to. GetBuffer and PutBuffer are their only users' interface; NewBuffer hands
// one to gRPC.
type bufferPool struct{ small, large sync.Pool }

// buffers is shared by all frontends: it holds no state but spare memory.
var buffers bufferPool

// GetBuffer returns an empty buffer with room for about size bytes (0: not known).
func GetBuffer(size int) *[]byte { return buffers.Get(size) }

// PutBuffer gives a buffer back. It must not be used afterwards, nor anything that points into it.
func PutBuffer(b *[]byte) { buffers.Put(b) }

// NewMessage makes a message for Call.Send of a buffer from GetBuffer, which it takes over: it returns to the pool when
// gRPC has sent it.
func NewMessage(b *[]byte) mem.BufferSlice {
	return mem.BufferSlice{mem.NewBuffer(b, &buffers)}
}

// Get implements mem.BufferPool, except that the length is 0 and size is the capacity.
func (p *bufferPool) Get(size int) *[]byte {
	pool, least := &p.small, smallBuffer
	if size > smallBuffer {
		pool, least = &p.large, largeBuffer
	}
	if b, ok := pool.Get().(*[]byte); ok && cap(*b) >= size {
		*b = (*b)[:0]
		return b
	}
	b := make([]byte, 0, max(size, least))
	return &b
}

// Put implements mem.BufferPool.
func (p *bufferPool) Put(b *[]byte) {
	switch c := cap(*b); {
	case c < smallBuffer || c > maxRetained:
	case c < largeBuffer:
		p.small.Put(b)
	default:
		p.large.Put(b)
	}
}
