package protovalidate

import (
	"context"
	"fmt"

	"golang.org/x/sync/semaphore"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/caddy-grpc/gateway/checks"
)

const (
	// largeMessage is the size in bytes from which a message waits at the gate.
	largeMessage = 16 << 10
	// maxDecoded is what the decoded forms of large messages may take at a time, in bytes.
	maxDecoded = 256 << 20

	// What decoding makes of a message, a field and an element of a packed list, in bytes. Measured
	// with dynamicpb: 64 KiB of empty messages take 9 MiB.
	messageMemory = 256
	fieldMemory   = 64
	packedMemory  = 24
)

// gate bounds what decoded messages take at a time. Safe for concurrent use.
type gate struct{ room *semaphore.Weighted }

func newGate() *gate { return &gate{semaphore.NewWeighted(maxDecoded)} }

// enter waits until there is room for a message. A message that would need more than all the room
// is refused.
func (g *gate) enter(ctx context.Context, wire []byte, md protoreflect.MessageDescriptor) (leave func(), err error) {
	if len(wire) < largeMessage {
		return func() {}, nil
	}
	n := decodedSize(wire, md, maxNesting)
	if n > maxDecoded {
		return nil, &checks.Refusal{Message: "the request message has more parts than can be checked"}
	}
	if err := g.room.Acquire(ctx, n); err != nil {
		return nil, fmt.Errorf("wait for other messages to be checked: %w", err)
	}
	return func() { g.room.Release(n) }, nil
}

// decodedSize is about what the decoded form of a message takes in memory. An empty message takes
// two bytes on the wire, and a hundred times as much when it is decoded. What is malformed or
// nested too deeply counts no further, because decoding stops there.
func decodedSize(wire []byte, md protoreflect.MessageDescriptor, nesting int) int64 {
	size := int64(messageMemory + len(wire))
	if nesting == 0 {
		return size
	}
	for len(wire) > 0 {
		num, kind, n := protowire.ConsumeTag(wire)
		if n < 0 {
			return size
		}
		value := wire[n:]
		if n = protowire.ConsumeFieldValue(num, kind, value); n < 0 {
			return size
		}
		wire, value = value[n:], value[:n]
		size += fieldMemory
		fd := md.Fields().ByNumber(num)
		if fd == nil {
			continue
		}
		switch kind {
		case protowire.StartGroupType:
			value, _ = protowire.ConsumeGroup(num, value)
		case protowire.BytesType:
			value, _ = protowire.ConsumeBytes(value)
		default:
			continue
		}
		switch {
		case fd.Message() != nil:
			size += decodedSize(value, fd.Message(), nesting-1)
		case fd.IsList() && fd.Kind() != protoreflect.StringKind && fd.Kind() != protoreflect.BytesKind:
			size += packedMemory * int64(len(value)) // Of one byte each, at the worst.
		}
	}
	return size
}
