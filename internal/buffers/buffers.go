// Package buffers has a pool of byte slices of a few sizes. The sizes bound how much larger than
// its content a buffer is. What is held for a peer then stays in proportion to what it sent.
package buffers

import (
	"slices"
	"sync"
)

// Pool is a pool of buffers. It implements mem.BufferPool of grpc-go. It is safe for concurrent
// use.
type Pool struct {
	// sizes are the capacities of new buffers, in bytes, in ascending order.
	sizes []int
	// free has the buffers whose capacity is at least that size, and less than the next.
	free []sync.Pool
	// limit is the largest capacity that is kept, in bytes.
	limit int
}

// New returns a pool of buffers with the given capacities, in bytes and in ascending order. Buffers
// that are larger than the last size have the capacity that is asked for. The pool keeps buffers of
// up to limit bytes. The garbage collector takes larger ones, because a rare huge message must not
// stay in memory.
func New(limit int, sizes ...int) *Pool {
	if len(sizes) == 0 || !slices.IsSorted(sizes) {
		panic("buffers: expected sizes in ascending order")
	}
	return &Pool{sizes: sizes, free: make([]sync.Pool, len(sizes)), limit: limit}
}

// Get returns a buffer of length n, in bytes. It has any content.
func (p *Pool) Get(n int) *[]byte {
	i, _ := slices.BinarySearch(p.sizes, n)
	if i == len(p.sizes) {
		i--
	}
	if b, ok := p.free[i].Get().(*[]byte); ok && cap(*b) >= n {
		*b = (*b)[:n]
		return b
	}
	b := make([]byte, n, max(n, p.sizes[i]))
	return &b
}

// Put gives a buffer back. Neither the buffer nor anything that points into it may be used
// afterwards. Buffers that are too small or too large for the pool are dropped.
func (p *Pool) Put(b *[]byte) {
	i, exact := slices.BinarySearch(p.sizes, cap(*b))
	if !exact {
		i--
	}
	if i >= 0 && cap(*b) <= p.limit {
		p.free[i].Put(b)
	}
}
