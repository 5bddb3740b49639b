package protovalidate

import (
	"context"
	"fmt"

	"golang.org/x/sync/semaphore"
)

const (
	// largeMessage is the size in bytes from which a message waits at the gate.
	largeMessage = 16 << 10
	// maxDecoding is how many bytes of large messages are judged at a time. Decoded, a message can
	// take a hundred times its size.
	maxDecoding = 4 << 20
)

// gate bounds what decoded messages take at a time. Safe for concurrent use.
type gate struct{ room *semaphore.Weighted }

func newGate() *gate { return &gate{semaphore.NewWeighted(maxDecoding)} }

// enter waits until there is room for a message of the size. A message that is larger than all the
// room is judged alone.
func (g *gate) enter(ctx context.Context, size int) (leave func(), err error) {
	if size < largeMessage {
		return func() {}, nil
	}
	n := int64(min(size, maxDecoding))
	if err := g.room.Acquire(ctx, n); err != nil {
		return nil, fmt.Errorf("wait for other messages to be checked: %w", err)
	}
	return func() { g.room.Release(n) }, nil
}
