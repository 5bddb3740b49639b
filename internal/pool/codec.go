package pool

import (
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// codec lets raw messages through by reference and leaves all others to the proto codec, so that
// reflection clients and the gateway's own raw calls share one channel.
type codec struct {
	messages encoding.CodecV2
}

func newCodec() codec { return codec{messages: encoding.GetCodecV2(proto.Name)} }

// Marshal hands a raw message on with the sender's reference: grpc frees it once it is written, or
// will not be replayed any more.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	switch raw := v.(type) {
	case mem.BufferSlice:
		return raw, nil
	case *lease: // of a call that keeps its request, to make the call again
		raw.request.Ref()
		return raw.request, nil
	}
	return c.messages.Marshal(v)
}

// Unmarshal hands the received buffers on without a copy; the receiver frees them.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	if raw, ok := v.(*mem.BufferSlice); ok {
		data.Ref()
		*raw = data
		return nil
	}
	return c.messages.Unmarshal(data, v)
}

// Name is empty so that requests carry the plain content type "application/grpc", as those of every
// default client do: some servers and proxies compare it instead of parsing it.
func (codec) Name() string { return "" }
