package pool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"

	"github.com/caddy-grpc/gateway/internal/buffers"
	"github.com/caddy-grpc/gateway/internal/rpcwire"
	"github.com/caddy-grpc/gateway/internal/unary"
)

// gzipName is the compression that requests say they accept, if the process has it. The gateway
// itself does not register it. Another plugin may.
const gzipName = "gzip"

// errTooLarge is the reason if a message is too large after it was decompressed.
var errTooLarge = errors.New("the message is too large after decompression")

// received is where the buffers of received messages come from. The pool of grpc-go has a buffer of
// 1 MiB for a message of 33 KiB, and of 32 KiB for one of 16 KiB and a few bytes. Go's allocator
// gives large buffers of these sizes a span each, so one that is held holds no other memory.
var received = buffers.New(1<<20, 1<<10+128, 4<<10, 8<<10, 20<<10, 32<<10, 48<<10, 64<<10, 128<<10, 256<<10, 512<<10, 1<<20)

// largestOf returns the size of the largest of the messages, each of which has gRPC's prefix: a
// flag, and the length in four bytes.
func largestOf(framed []byte) int {
	largest := 0
	for len(framed) > 0 {
		size := int(binary.BigEndian.Uint32(framed[1:]))
		largest = max(largest, size)
		framed = framed[5+size:]
	}
	return largest
}

// plainMessage returns a received message, decompressed if need be.
func plainMessage(m rpcwire.Message, pool mem.BufferPool, compression string, limit int) (unary.Message, error) {
	if !m.Compressed {
		return unary.InOne(m.Buf, pool), nil
	}
	data := mem.BufferSlice{mem.NewBuffer(m.Buf, pool)}
	defer data.Free()
	plain, err := decompress(data, pool, compression, limit)
	if err != nil {
		return unary.Message{}, err
	}
	return unary.InParts(plain), nil
}

// deliver gives a received message to the caller.
func (o *wireOptions) deliver(m rpcwire.Message, pool mem.BufferPool, compression string, reply any) error {
	plain, err := plainMessage(m, pool, compression, o.maxReceive)
	if err != nil {
		return err
	}
	data := plain.Take()
	if raw, ok := reply.(*mem.BufferSlice); ok {
		*raw = data
		return nil
	}
	defer data.Free()
	if err := rawMessages.Unmarshal(data, reply); err != nil {
		return badMessage("decoding the response: %w", err)
	}
	return nil
}

// decompress returns the message that data has in a compressed form. A limit of 0 is grpc-go's
// default.
func decompress(data mem.BufferSlice, pool mem.BufferPool, compression string, limit int) (mem.BufferSlice, error) {
	c := encoding.GetCompressor(compression)
	if c == nil {
		return nil, badMessage("no decompressor for grpc-encoding %q is installed", compression)
	}
	if limit == 0 {
		limit = defaultMaxReceive
	}
	compressed := data.Reader()
	defer compressed.Close()
	r, err := c.Decompress(compressed)
	if err != nil {
		return nil, badMessage("decompressing the message: %w", err)
	}
	plain, err := mem.ReadAll(io.LimitReader(r, int64(limit)+1), pool)
	switch {
	case err != nil:
		plain.Free()
		return nil, badMessage("decompressing the message: %w", err)
	case plain.Len() > limit:
		plain.Free()
		return nil, &wireError{kind: failureAnswerTooLarge, code: codes.ResourceExhausted, cause: fmt.Errorf("%w: more than %d bytes", errTooLarge, limit)}
	}
	return plain, nil
}

// defaultMaxReceive is the maximum size of a received message of calls that do not say one.
const defaultMaxReceive = 4 << 20
