package main

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"

	"github.com/caddy-grpc/gateway/bench/internal/canned"
	"github.com/caddy-grpc/gateway/bench/internal/raw"
)

// grpcClient makes the calls of a floor with grpc-go.
type grpcClient struct{ *grpc.ClientConn }

func newGRPCClient(backend, ca string) (floorClient, error) {
	creds := insecure.NewCredentials()
	if ca != "" {
		var err error
		if creds, err = credentials.NewClientTLSFromFile(ca, "bench.local"); err != nil {
			return nil, err
		}
	}
	cc, err := grpc.NewClient("passthrough:///"+backend, grpc.WithTransportCredentials(creds),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(raw.Codec{}), grpc.WaitForReady(true)))
	if err != nil {
		return nil, err
	}
	return grpcClient{cc}, nil
}

func (c grpcClient) Invoke(ctx context.Context, w *canned.Work) error {
	var reply mem.BufferSlice
	if err := c.ClientConn.Invoke(ctx, w.RPC, w.Request, &reply); err != nil {
		return err
	}
	reply.Free()
	return nil
}

func (c grpcClient) Stream(ctx context.Context, w *canned.Work, each func(i int) error) error {
	cs, err := c.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, w.RPC)
	if err != nil {
		return err
	}
	if err := cs.SendMsg(w.Request); err != nil {
		return err
	}
	if err := cs.CloseSend(); err != nil {
		return err
	}
	for i := 0; ; i++ {
		var reply mem.BufferSlice
		if err := cs.RecvMsg(&reply); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		reply.Free()
		if err := each(i); err != nil {
			return err
		}
	}
}
