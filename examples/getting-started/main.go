// Command greeter is a gRPC service that registers itself in etcd.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"

	"example.com/greeter/greetpb"
)

// greeter implements the service.
type greeter struct {
	greetpb.UnimplementedGreeterServer

	addr string
}

// Greet implements the service.
func (g *greeter) Greet(_ context.Context, req *greetpb.GreetRequest) (*greetpb.Greeting, error) {
	if req.GetName() == "" {
		return nil, status.Error(codes.InvalidArgument, "name must not be empty")
	}
	return &greetpb.Greeting{Text: "Hello, " + req.GetName() + "!", ServedBy: g.addr}, nil
}

// Countdown implements the service.
func (g *greeter) Countdown(req *greetpb.CountdownRequest, stream grpc.ServerStreamingServer[greetpb.Count]) error {
	for n := req.GetFrom(); n > 0; n-- {
		if err := stream.Send(&greetpb.Count{Number: n}); err != nil {
			return err
		}
		select {
		case <-time.After(time.Second):
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
	return nil
}

func main() {
	listen := flag.String("listen", "127.0.0.1:9001", "address of this instance")
	etcd := flag.String("etcd", "127.0.0.1:2379", "address of etcd")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *listen, *etcd)
	stop()
	if err != nil {
		log.Fatal(err)
	}
}

// run serves until ctx is done.
func run(ctx context.Context, listen, etcd string) error {
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	server := grpc.NewServer()
	greetpb.RegisterGreeterServer(server, &greeter{addr: listen})
	reflection.Register(server) // The gateway learns the methods from this.

	client, err := clientv3.New(clientv3.Config{Endpoints: []string{etcd}, DialTimeout: 5 * time.Second})
	if err != nil {
		return fmt.Errorf("connect to etcd: %w", err)
	}
	defer client.Close()
	go func() {
		keepRegistered(ctx, client, listen)
		// No new calls come now. Those in flight have five seconds to finish.
		time.AfterFunc(5*time.Second, server.Stop)
		server.GracefulStop()
	}()
	return server.Serve(listener)
}

// keepRegistered keeps the address registered until ctx is done. If etcd was away for so long that
// the registration is lost, it registers again.
func keepRegistered(ctx context.Context, client *clientv3.Client, addr string) {
	for ctx.Err() == nil {
		if err := register(ctx, client, addr); err != nil && ctx.Err() == nil {
			log.Print(err)
			time.Sleep(time.Second)
		}
	}
}

// register puts the address under the key greeter/, with a lease. It returns when the lease is lost
// or ctx is done.
func register(ctx context.Context, client *clientv3.Client, addr string) error {
	lease, err := client.Grant(ctx, 10) // Seconds that the key outlives this process at most.
	if err != nil {
		return fmt.Errorf("ask etcd for a lease: %w", err)
	}
	defer func() {
		// ctx may be done, and the key must go all the same.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
		defer cancel()
		_, _ = client.Revoke(ctx, lease.ID)
	}()
	if _, err := client.Put(ctx, "greeter/"+addr, addr, clientv3.WithLease(lease.ID)); err != nil {
		return fmt.Errorf("register in etcd: %w", err)
	}
	alive, err := client.KeepAlive(ctx, lease.ID)
	if err != nil {
		return fmt.Errorf("keep the lease alive: %w", err)
	}
	log.Printf("registered %s", addr)
	for range alive { // It is closed when the lease is lost.
	}
	return nil
}
