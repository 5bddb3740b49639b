package frontend

import (
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/mem"
)

// Buffers come in a few sizes, so that a small message does not pin a large buffer: the wire form of a request is kept until its call
// is answered, and there may be many. Much larger ones are left to the garbage collector: a rare huge message must not stay in memory.
const (
	tinyBuffer   = 1<<10 + 128 // gRPC does not give back buffers of up to 1 KiB
	smallBuffer  = 4 << 10
	batchBuffer  = 18 << 10 // of what waits in a stream: 16 KiB and the message that exceeds it
	mediumBuffer = 32 << 10
	largeBuffer  = 64 << 10
	maxRetained  = 1 << 20
)

var bufferSizes = [...]int{tinyBuffer, smallBuffer, batchBuffer, mediumBuffer, largeBuffer}

// Buffers are pooled byte slices that are appended to, a pool for each size. GetBuffer and PutBuffer are their only users' interface;
// Call.Send and Options.Invoke hand one to gRPC.
type bufferPool [len(bufferSizes)]sync.Pool

// buffers is shared by all frontends: it holds no state but spare memory.
var buffers bufferPool

// GetBuffer returns an empty buffer with room for about size bytes (0: not known).
func GetBuffer(size int) *[]byte {
	if size == 0 {
		size = smallBuffer
	}
	return buffers.Get(size)
}

// PutBuffer gives a buffer back. It must not be used afterwards, nor anything that points into it.
func PutBuffer(b *[]byte) { buffers.Put(b) }

// GrowBuffer returns the buffer, or if that has no room for n more bytes, a larger one with its content in its place.
func GrowBuffer(b *[]byte, n int) *[]byte {
	need := len(*b) + n
	if need <= cap(*b) {
		return b
	}
	if need > largeBuffer {
		need = max(need, 2*cap(*b))
	}
	bigger := GetBuffer(need)
	*bigger = append(*bigger, *b...)
	PutBuffer(b)
	return bigger
}

// newMessage makes a message of a buffer from GetBuffer, which it takes over. The buffer returns to the pool
// when gRPC has sent it.
func newMessage(b *[]byte) mem.BufferSlice {
	return mem.BufferSlice{mem.NewBuffer(b, &buffers)}
}

// Get implements mem.BufferPool, except that the length is 0 and size is the capacity.
func (p *bufferPool) Get(size int) *[]byte {
	i := 0
	for i < len(bufferSizes)-1 && bufferSizes[i] < size {
		i++
	}
	if b, ok := p[i].Get().(*[]byte); ok && cap(*b) >= size {
		*b = (*b)[:0]
		return b
	}
	b := make([]byte, 0, max(size, bufferSizes[i]))
	return &b
}

// Put implements mem.BufferPool.
func (p *bufferPool) Put(b *[]byte) {
	c := cap(*b)
	if c > maxRetained {
		return
	}
	for i := len(bufferSizes) - 1; i >= 0; i-- {
		if c >= bufferSizes[i] {
			p[i].Put(b)
			return
		}
	}
}

// Ratio is how large the results of a conversion have been lately beside what was converted, so that a buffer can be had that is large
// enough, and not much larger. The zero value knows nothing yet. Safe for concurrent use.
type Ratio struct{ parts uint32 } // of ratioOne, used atomically; 0: not known

const (
	ratioOne = 64
	ratioMax = 16 * ratioOne
)

// Guess is how large the result for an input of this size will be: as large as the input before anything was learned. A result that is larger
// than its input and than what is kept of buffers is left to grow: what one client has sent must not cost memory for the large inputs of others.
func (r *Ratio) Guess(input int) int {
	parts := int(atomic.LoadUint32(&r.parts))
	if parts == 0 {
		return input
	}
	return min((input/ratioOne+1)*parts, max(input, maxRetained))
}

// Learn notes a result. Larger ones count at once, smaller ones in the long run. What fits into any buffer teaches nothing.
func (r *Ratio) Learn(input, output int) {
	if max(input, output) <= smallBuffer {
		return
	}
	parts := min(ratioMax, uint32(output/(input/ratioOne+1))+1)
	switch was := atomic.LoadUint32(&r.parts); {
	case parts > was:
		atomic.StoreUint32(&r.parts, parts)
	case parts < was-was/8:
		atomic.StoreUint32(&r.parts, was-1)
	}
}
