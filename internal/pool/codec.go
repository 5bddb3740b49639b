package pool

import (
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// codec passes raw messages through by reference. It leaves all other messages to the proto codec.
// So reflection clients and the gateway's raw calls share one channel.
type codec struct {
	messages encoding.CodecV2
}

// rawMessages is the codec of all calls.
var rawMessages = newCodec()

func newCodec() codec { return codec{messages: encoding.GetCodecV2(proto.Name)} }

// Marshal passes a raw message on with the sender's reference. Grpc frees it when the message is
// written or will not be replayed.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	switch raw := v.(type) {
	case mem.BufferSlice:
		return raw, nil
	case *wholeCall:
		return raw.countedRequest(), nil
	}
	return c.messages.Marshal(v)
}

// Unmarshal passes the received buffers on without a copy. The receiver frees them.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	if raw, ok := v.(*mem.BufferSlice); ok {
		data.Ref()
		*raw = data
		return nil
	}
	return c.messages.Unmarshal(data, v)
}

// Name is empty so that requests have the plain content type "application/grpc", like those of
// every default client. Some servers and proxies compare the content type instead of parsing it.
func (codec) Name() string { return "" }
