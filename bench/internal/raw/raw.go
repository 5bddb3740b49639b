// Package raw is a grpc codec for messages that are bytes already: it sends []byte, and receives
// into a *mem.BufferSlice without a copy (the receiver frees it).
package raw

import (
	"fmt"

	"google.golang.org/grpc/mem"
)

// Codec is an encoding.CodecV2.
type Codec struct{}

// Name makes it go under the content type of protobuf.
func (Codec) Name() string { return "proto" }

// Marshal takes a []byte.
func (Codec) Marshal(v any) (mem.BufferSlice, error) {
	b, ok := v.([]byte)
	if !ok {
		return nil, fmt.Errorf("cannot send a %T", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(b)}, nil
}

// Unmarshal takes a *mem.BufferSlice.
func (Codec) Unmarshal(data mem.BufferSlice, v any) error {
	into, ok := v.(*mem.BufferSlice)
	if !ok {
		return fmt.Errorf("cannot receive a %T", v)
	}
	data.Ref()
	*into = data
	return nil
}
