package frontend

import (
	"sync/atomic"

	"google.golang.org/grpc/mem"

	"github.com/caddy-grpc/gateway/internal/buffers"
)

// Buffers come in a few sizes, so that a small message does not hold a large buffer. The wire form
// of a request is kept until its call is answered, and there may be many. Buffers larger than
// maxRetained are left to the garbage collector, because a rare huge message must not stay in
// memory.
const (
	tinyBuffer   = 1<<10 + 128 // gRPC does not give back buffers of up to 1 KiB.
	smallBuffer  = 4 << 10
	batchBuffer  = 20 << 10 // For a stream: 16 KiB that wait, and the message that exceeds them.
	mediumBuffer = 32 << 10
	largeBuffer  = 64 << 10
	maxRetained  = 1 << 20
)

// spare is shared by all frontends. It holds only spare memory. Its buffers are byte slices that
// are appended to. They are taken by GetBuffer and given back by PutBuffer. Call.Send and
// Options.Invoke hand them to gRPC.
var spare = buffers.New(maxRetained, tinyBuffer, smallBuffer, batchBuffer, mediumBuffer, largeBuffer)

// GetBuffer returns an empty buffer with room for about size bytes. 0: not known.
func GetBuffer(size int) *[]byte {
	if size == 0 {
		size = smallBuffer
	}
	b := spare.Get(size)
	*b = (*b)[:0]
	return b
}

// PutBuffer gives a buffer back. Neither the buffer nor anything that points into it may be used
// afterwards.
func PutBuffer(b *[]byte) { spare.Put(b) }

// GrowBuffer returns a buffer with the content of b and room for n more bytes. It is b itself if b
// has the room. Otherwise it replaces b.
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

// newMessage makes a message of a buffer from GetBuffer and takes it over. The buffer returns to
// the pool when gRPC has sent it.
func newMessage(b *[]byte) mem.BufferSlice {
	return mem.BufferSlice{mem.NewBuffer(b, spare)}
}

// AppendParts appends the parts of a message. They are valid until the message is freed.
func AppendParts(dst [][]byte, msg mem.BufferSlice) [][]byte {
	for _, part := range msg {
		dst = append(dst, part.ReadOnlyData())
	}
	return dst
}

// Flat returns a message in one piece. It is valid as long as the parts, and until free is called.
func Flat(parts [][]byte) (wire []byte, free func()) {
	switch len(parts) {
	case 0:
		return nil, func() {}
	case 1:
		return parts[0], func() {}
	}
	n := 0
	for _, part := range parts {
		n += len(part)
	}
	buf := GetBuffer(n)
	for _, part := range parts {
		*buf = append(*buf, part...)
	}
	return *buf, func() { PutBuffer(buf) }
}

// Ratio is the recent ratio of the size of results of a conversion to that of their inputs. With
// it, a buffer is large enough and not much larger. The zero value knows nothing yet. Safe for
// concurrent use.
type Ratio struct {
	parts uint32 // In parts of ratioOne, used atomically. 0: not known.
}

const (
	ratioOne = 64
	ratioMax = 16 * ratioOne
)

// Guess is the likely size of the result for an input of this size. It is that of the input before
// anything was learned. A result larger than its input and than maxRetained must grow as it is
// made: what one client has sent must not cost memory for the large inputs of others.
func (r *Ratio) Guess(input int) int {
	parts := int(atomic.LoadUint32(&r.parts))
	if parts == 0 {
		return input
	}
	return min((input/ratioOne+1)*parts, max(input, maxRetained))
}

// Learn notes a result. Larger ones count at once, and smaller ones in the long run. A result that
// fits into any buffer is not noted.
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
