package frontend

import (
	"context"
	"sync/atomic"

	"google.golang.org/grpc/mem"
)

const (
	// maxUnsent is how many messages of one stream gRPC may hold that it has not written yet.
	// grpc-go itself counts bytes only (64 KiB), while each message costs it some 300 bytes besides
	// its own.
	//
	// It must be larger than the number of messages that the pool lets gRPC keep for a second
	// attempt (pool.replayMessages), because gRPC lets go of those only when there are more.
	maxUnsent = 512
	// packedFrom is from how many unsent messages on a small message is copied out of its buffer. A
	// stream whose upstream keeps up never gets there.
	packedFrom = 16
)

// unsent counts the messages of one stream that gRPC has taken and not written yet. It is the pool
// that their buffers return to, and so it learns when gRPC lets go of them. One goroutine sends.
type unsent struct {
	messages atomic.Int32
	room     chan struct{} // Of one: half of the messages are written.
}

// packed is what a packed message has as its second part, so that gRPC tells when it lets go of it.
// It has a capacity because gRPC does not return small buffers, and nobody ever writes to it.
var packed = make([]byte, 0, tinyBuffer)

func newUnsent() *unsent { return &unsent{room: make(chan struct{}, 1)} }

// wait returns when there is room for a message, or false when ctx is done before.
func (u *unsent) wait(ctx context.Context) bool {
	if u.messages.Load() < maxUnsent {
		return true
	}
	// Half of them at a time, so that the goroutines that send and write take turns less often.
	for u.messages.Load() > maxUnsent/2 {
		select {
		case <-u.room:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// message makes a message of a buffer from GetBuffer, which it takes over.
func (u *unsent) message(b *[]byte) mem.BufferSlice {
	if u.messages.Add(1) <= packedFrom || len(*b) > cap(*b)/4 {
		return mem.BufferSlice{mem.NewBuffer(b, u)}
	}
	exact := append(make(mem.SliceBuffer, 0, len(*b)), *b...)
	PutBuffer(b)
	return mem.BufferSlice{exact, mem.NewBuffer(&packed, u)}
}

// Get implements mem.BufferPool.
func (u *unsent) Get(size int) *[]byte { return spare.Get(size) }

// Put implements mem.BufferPool. gRPC calls it when a message is written, or never will be.
func (u *unsent) Put(b *[]byte) {
	if b != &packed {
		spare.Put(b)
	}
	if u.messages.Add(-1) == maxUnsent/2 {
		select {
		case u.room <- struct{}{}:
		default:
		}
	}
}
