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

// leaseTTL is how long a registration outlives an instance that died without saying so, in seconds.
const leaseTTL = 5

// instance is one running copy of the demo service: a gRPC server that has registered itself in etcd.
type instance struct {
	addr   string
	server *grpc.Server
	etcd   *clientv3.Client
	lease  clientv3.LeaseID
	stop   context.CancelFunc
	done   chan struct{}
}

// startInstance serves the demo service on a free port of this machine and registers it in the way of go-zero:
// the key is <service key>/<lease id>, the value host:port, and the lease is kept alive.
func startInstance(ctx context.Context, etcd *clientv3.Client, key string, store *userStore) (*instance, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for an instance: %w", err)
	}
	inst := &instance{addr: listener.Addr().String(), server: grpc.NewServer(), etcd: etcd, done: make(chan struct{})}
	userpb.RegisterUserServiceServer(inst.server, &userService{store: store, addr: inst.addr})
	reflection.Register(inst.server) // the gateway learns the schema and the routes from this
	go func() {
		defer close(inst.done)
		_ = inst.server.Serve(listener)
	}()
	if err := inst.register(ctx, key); err != nil {
		inst.server.Stop()
		<-inst.done
		return nil, err
	}
	return inst, nil
}

func (i *instance) register(ctx context.Context, key string) error {
	grant, err := i.etcd.Grant(ctx, leaseTTL)
	if err != nil {
		return fmt.Errorf("ask etcd for a lease: %w", err)
	}
	i.lease = grant.ID
	if _, err := i.etcd.Put(ctx, fmt.Sprintf("%s/%d", key, grant.ID), i.addr, clientv3.WithLease(grant.ID)); err != nil {
		return fmt.Errorf("register %s in etcd: %w", i.addr, err)
	}
	alive, stop := context.WithCancel(context.Background())
	responses, err := i.etcd.KeepAlive(alive, grant.ID)
	if err != nil {
		stop()
		return fmt.Errorf("keep the lease of %s alive: %w", i.addr, err)
	}
	i.stop = stop
	go func() {
		for range responses { // The channel must be drained; there is nothing to do with an answer.
		}
	}()
	return nil
}

// close takes the registration back first, so that no new call comes, and then waits for those in flight.
func (i *instance) close() {
	i.stop()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_, _ = i.etcd.Revoke(ctx, i.lease) // if etcd is gone, the lease ends by itself
	timer := time.AfterFunc(5*time.Second, i.server.Stop)
	defer timer.Stop()
	i.server.GracefulStop()
	<-i.done
}
