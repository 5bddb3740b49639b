package peers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// backend is the test service on a server of grpc-go, in this process. Proxies are in front of it.
type backend struct {
	addr   string
	log    *os.File
	server *grpc.Server
}

// raw is a codec for messages of type *[]byte.
type raw struct{}

func (raw) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*v.(*[]byte))}, nil
}

func (raw) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

func (raw) Name() string { return "" }

func startBackend(t testing.TB, log string, cfg Config) *backend {
	t.Helper()
	file, err := os.OpenFile(log, os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &backend{addr: lis.Addr().String(), log: file}
	b.server = grpc.NewServer(grpc.ForceServerCodecV2(raw{}), grpc.UnknownServiceHandler(b.serve), grpc.MaxRecvMsgSize(cfg.MaxMessage))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = b.server.Serve(lis)
	}()
	t.Cleanup(func() {
		b.server.Stop()
		<-done
		_ = file.Close()
	})
	return b
}

// serve serves all methods.
func (b *backend) serve(_ any, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	method = strings.TrimPrefix(method, "/peers.Peer/")
	if !slices.Contains([]string{"Unary", "Download", "Upload", "Chat"}, method) {
		return status.Error(codes.Unimplemented, "unknown method "+method)
	}
	md, _ := metadata.FromIncomingContext(stream.Context())
	b.write("start", md)
	echo := metadata.MD{}
	for name, values := range md {
		if strings.HasPrefix(name, "x-echo-") {
			echo[name] = values
		}
	}
	if err := stream.SetHeader(echo); err != nil {
		return err
	}
	last, messages, err := talk(stream, method == "Chat")
	for n := number(md, "x-times"); n > 0 && err == nil && method == "Download"; n-- {
		err = stream.SendMsg(&last)
	}
	if err == nil {
		err = wait(stream.Context(), time.Duration(number(md, "x-wait-ms"))*time.Millisecond)
	}
	if err != nil {
		b.write("cancelled", md)
		return err
	}
	stream.SetTrailer(metadata.Join(echo, metadata.Pairs("x-messages", strconv.Itoa(messages))))
	b.write("end", md)
	if code := codes.Code(number(md, "x-code")); code != codes.OK {
		if details := md.Get("x-details-bin"); len(details) > 0 {
			stream.SetTrailer(metadata.Pairs("grpc-status-details-bin", details[0]))
		}
		return status.Error(code, strings.Join(md.Get("x-message-bin"), ""))
	}
	if method == "Unary" || method == "Upload" {
		return stream.SendMsg(&last)
	}
	return nil
}

// talk reads the messages of a call, and answers each of them if the call is a chat. It returns the
// last one and their number.
func talk(stream grpc.ServerStream, chat bool) (last []byte, messages int, err error) {
	for ; ; messages++ {
		var m []byte
		switch err := stream.RecvMsg(&m); {
		case errors.Is(err, io.EOF):
			return last, messages, nil
		case err != nil:
			return nil, messages, err
		}
		last = m
		if chat {
			if err := stream.SendMsg(&m); err != nil {
				return nil, messages, err
			}
		}
	}
}

func wait(ctx context.Context, d time.Duration) error {
	if d == 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (b *backend) write(what string, md metadata.MD) {
	// A lost line makes the test fail that counts the calls.
	_, _ = fmt.Fprintf(b.log, "%s %s\n", what, strings.Join(md.Get("x-id"), ""))
}

// number is a number in the metadata.
func number(md metadata.MD, name string) int {
	n, _ := strconv.Atoi(strings.Join(md.Get(name), ""))
	return n
}
