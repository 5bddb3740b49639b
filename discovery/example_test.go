package discovery_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/caddy-grpc/gateway/discovery"
)

// registry is a registry with a blocking query, as many have: poll returns when the list has
// changed.
type registry struct{ lists chan []discovery.Endpoint }

func (r *registry) poll(ctx context.Context) ([]discovery.Endpoint, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case list := <-r.lists:
		if list == nil {
			return nil, errors.New("no leader")
		}
		return list, nil
	}
}

// source finds instances in such a registry. As a Caddy module it has the address of the registry
// and the name of the service as JSON fields.
type source struct {
	registry *registry
	service  string
}

// ID names what is watched and how: equal IDs share one watch, even across reloads.
func (s *source) ID() string { return "consul://localhost:8500/" + s.service }

// Watch publishes the state now and on every change until ctx is done.
func (s *source) Watch(ctx context.Context, publish func(discovery.State)) {
	var state discovery.State
	var backoff discovery.Backoff // 1 s to 30 s, with jitter
	for ctx.Err() == nil {
		endpoints, err := s.registry.poll(ctx) // blocks until something changes
		if state.Err = err; err == nil {
			state.Synced, state.Endpoints, state.LastContact = true, endpoints, time.Now()
			backoff.Reset()
		}
		publish(state) // after an error: the last list, with the error
		if err != nil {
			select {
			case <-ctx.Done():
			case <-time.After(backoff.Next()):
			}
		}
	}
}

// A source publishes complete lists. After an error it publishes the last list again, with the
// error.
func Example() {
	var _ discovery.Source = (*source)(nil)
	ctx, cancel := context.WithCancel(context.Background())
	r := &registry{lists: make(chan []discovery.Endpoint, 2)}
	r.lists <- []discovery.Endpoint{{ID: "user-1", Addr: "10.0.0.1:9000"}, {ID: "user-2", Addr: "10.0.0.2:9000", Weight: 5}}
	r.lists <- nil // an error

	s := &source{registry: r, service: "user.rpc"}
	fmt.Println(s.ID())
	s.Watch(ctx, func(state discovery.State) {
		fmt.Println(len(state.Endpoints), "instances, error:", state.Err)
		if state.Err != nil {
			cancel()
		}
	})
	// Output:
	// consul://localhost:8500/user.rpc
	// 2 instances, error: <nil>
	// 2 instances, error: no leader
}

// CheckAddr checks what a registry gives. What fails belongs into State.Skipped, with the reason.
func ExampleCheckAddr() {
	for _, addr := range []string{"10.0.0.1:9000", "0.0.0.0:9000"} {
		fmt.Println(discovery.CheckAddr(addr))
	}
	// Output:
	// <nil>
	// expected an address that can be dialled, not an unspecified one, in "0.0.0.0:9000"
}

// Printable makes a text of somebody else fit for a log line or a terminal.
func ExamplePrintable() {
	fmt.Println(discovery.Printable("user-1\nuser-2 is READY"))
	// Output: user-1\nuser-2 is READY
}
