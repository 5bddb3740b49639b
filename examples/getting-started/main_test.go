package main

import (
	"errors"
	"io"
	"net"
	"slices"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"example.com/greeter/greetpb"
)

// serve runs the service without etcd, as long as the test.
func serve(t *testing.T) greetpb.GreeterClient {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	greetpb.RegisterGreeterServer(server, &greeter{addr: listener.Addr().String()})
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return greetpb.NewGreeterClient(conn)
}

func TestGreet(t *testing.T) {
	client := serve(t)
	for name, c := range map[string]struct {
		who, text string
		code      codes.Code
	}{
		"a name":  {who: "Ada", text: "Hello, Ada!"},
		"no name": {code: codes.InvalidArgument},
	} {
		t.Run(name, func(t *testing.T) {
			greeting, err := client.Greet(t.Context(), &greetpb.GreetRequest{Name: c.who})
			if status.Code(err) != c.code || greeting.GetText() != c.text {
				t.Errorf("%q, %v; want %q, %v", greeting.GetText(), err, c.text, c.code)
			}
		})
	}
}

func TestCountdown(t *testing.T) {
	stream, err := serve(t).Countdown(t.Context(), &greetpb.CountdownRequest{From: 2})
	if err != nil {
		t.Fatal(err)
	}
	var got []int32
	for {
		count, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, count.GetNumber())
	}
	if want := []int32{2, 1}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
