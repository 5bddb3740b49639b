package discovery_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caddy-grpc/gateway/discovery"
)

// registration is an instance in a registry of many services.
type registration struct {
	id, addr string
	created  int64
}

// directory is a registry of many services with a blocking query.
type directory struct {
	lists chan map[string][]registration
}

func (d *directory) poll(ctx context.Context) (map[string][]registration, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case services := <-d.lists:
		if services == nil {
			return nil, errors.New("no leader")
		}
		return services, nil
	}
}

// catalog knows all services of such a registry.
type catalog struct{ registry *directory }

// ID names what is watched and how.
func (c *catalog) ID() string { return "consul://localhost:8500" }

// Watch publishes the instances of all services.
func (c *catalog) Watch(ctx context.Context, publish func(discovery.State)) {
	var state discovery.State
	var backoff discovery.Backoff
	for ctx.Err() == nil {
		services, err := c.registry.poll(ctx) // blocks until something changes
		if state.Err = err; err == nil {
			state = discovery.State{Synced: true, LastContact: time.Now()}
			for name, instances := range services {
				for _, in := range instances {
					state.Endpoints = append(state.Endpoints, discovery.Endpoint{
						ID: name + "/" + in.id, Service: name, Addr: in.addr, Created: in.created,
					})
				}
			}
			slices.SortFunc(state.Endpoints, func(a, b discovery.Endpoint) int { return strings.Compare(a.ID, b.ID) })
			backoff.Reset()
		}
		publish(state)
		if err != nil {
			select {
			case <-ctx.Done():
			case <-time.After(backoff.Next()):
			}
		}
	}
}

// A catalog is a source whose endpoints name their service.
func Example_catalog() {
	var _ discovery.Catalog = (*catalog)(nil)
	ctx, cancel := context.WithCancel(context.Background())
	r := &directory{lists: make(chan map[string][]registration, 2)}
	r.lists <- map[string][]registration{
		"order": {{"1", "10.0.0.3:9000", 12}},
		"user":  {{"1", "10.0.0.1:9000", 7}, {"2", "10.0.0.2:9000", 9}},
	}
	r.lists <- nil // an error

	c := &catalog{registry: r}
	c.Watch(ctx, func(state discovery.State) {
		for _, e := range state.Endpoints {
			fmt.Println(e.Service, e.Addr, e.Created)
		}
		fmt.Println("error:", state.Err)
		if state.Err != nil {
			cancel()
		}
	})
	// Output:
	// order 10.0.0.3:9000 12
	// user 10.0.0.1:9000 7
	// user 10.0.0.2:9000 9
	// error: <nil>
	// order 10.0.0.3:9000 12
	// user 10.0.0.1:9000 7
	// user 10.0.0.2:9000 9
	// error: no leader
}
