package main

import (
	"context"
	"fmt"
	"net"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/reflection"

	"github.com/caddy-grpc/gateway/examples/quickstart/userpb"
)

// instance is one running copy of the demo service: a gRPC server that is registered in etcd.
type instance struct {
	addr         string
	server       *grpc.Server
	served       chan struct{} // closed when the server has ended
	registration *registration
}

// startInstance serves the demo service on a free port of this machine and registers it.
func startInstance(ctx context.Context, etcd *clientv3.Client, key string, store *userStore) (*instance, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for an instance: %w", err)
	}
	inst := &instance{addr: listener.Addr().String(), server: grpc.NewServer(), served: make(chan struct{})}
	userpb.RegisterUserServiceServer(inst.server, &userService{store: store, addr: inst.addr})
	reflection.Register(inst.server) // The gateway learns the schema and the routes from this.
	go func() {
		defer close(inst.served)
		_ = inst.server.Serve(listener)
	}()
	if inst.registration, err = register(ctx, etcd, key, inst.addr); err != nil {
		inst.server.Stop()
		<-inst.served
		return nil, err
	}
	return inst, nil
}

// close withdraws the registration first, so that no new call comes. Then it waits for the calls in
// flight.
func (i *instance) close() {
	i.registration.close()
	timer := time.AfterFunc(5*time.Second, i.server.Stop)
	defer timer.Stop()
	i.server.GracefulStop()
	<-i.served
}

// kill ends the instance as a crash would: its connections break, and it stays registered until its
// lease ends.
func (i *instance) kill() {
	i.server.Stop()
	<-i.served
	i.registration.abandon()
}
