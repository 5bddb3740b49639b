package rpctest

import (
	"context"

	"google.golang.org/grpc"
)

// Panicking is an upstream whose streams panic, either when a message is sent or when one is
// received.
type Panicking struct {
	grpc.ClientConnInterface
	Send bool
}

// NewStream implements grpc.ClientConnInterface.
func (p Panicking) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	s, err := p.ClientConnInterface.NewStream(ctx, desc, method, opts...)
	return panicking{s, p.Send}, err
}

type panicking struct {
	grpc.ClientStream
	send bool
}

func (p panicking) SendMsg(m any) error {
	if p.send {
		panic("a message is sent")
	}
	return p.ClientStream.SendMsg(m)
}

func (p panicking) RecvMsg(m any) error {
	if !p.send {
		panic("a message is received")
	}
	return p.ClientStream.RecvMsg(m)
}
