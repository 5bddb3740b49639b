package pool

import (
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"

	"github.com/caddy-grpc/gateway/internal/rpcwire"
)

// gzipName is the compression that requests say they accept, if the process has it. The gateway
// itself does not register it. Another plugin may.
const gzipName = "gzip"

// errTooLarge is the reason if a message is too large after it was decompressed.
var errTooLarge = errors.New("the message is too large after decompression")

// deliver gives a received message to the caller.
func (o *wireOptions) deliver(m rpcwire.Message, buffers mem.BufferPool, compression string, reply any) error {
	data := mem.BufferSlice{mem.NewBuffer(m.Buf, buffers)}
	if m.Compressed {
		plain, err := decompress(data, buffers, compression, o.maxReceive)
		data.Free()
		if err != nil {
			return err
		}
		data = plain
	}
	if raw, ok := reply.(*mem.BufferSlice); ok {
		*raw = data
		return nil
	}
	defer data.Free()
	if err := newCodec().Unmarshal(data, reply); err != nil {
		return badMessage("decoding the response: %w", err)
	}
	return nil
}

// decompress returns the message that data has in a compressed form. A limit of 0 is grpc-go's
// default.
func decompress(data mem.BufferSlice, buffers mem.BufferPool, compression string, limit int) (mem.BufferSlice, error) {
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
	plain, err := mem.ReadAll(io.LimitReader(r, int64(limit)+1), buffers)
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
