package module

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/caddy-grpc/gateway/discovery"
	"github.com/caddy-grpc/gateway/internal/pool"
	"github.com/caddy-grpc/gateway/internal/unary"
)

// minIdle is the least value of Catalog.Idle.
const minIdle = time.Second

// poolDraining is the state of an instance that only finishes its calls.
const poolDraining = pool.StateDraining

// idleness says whether a channel rests: then it has one connection to one instance. It is shared
// by all configs that use the channel.
type idleness struct {
	// called is when the last call came, in nanoseconds since 1970. 0: there was none.
	called  atomic.Int64
	resting atomic.Bool
}

// touch notes a call, and wakes a channel that rests. The call itself goes to the one instance that
// is connected.
//
// Called on the call path; takes no lock.
func (c *sharedChannel) touch() {
	now := time.Now().UnixNano()
	// All calls share it, so it is written rarely.
	if now-c.idleness.called.Load() > int64(100*time.Millisecond) {
		c.idleness.called.Store(now)
	}
	if c.idleness.resting.Load() {
		c.awake()
	}
}

// awake connects all instances again.
func (c *sharedChannel) awake() {
	if c.idleness.resting.CompareAndSwap(true, false) {
		leaving.run(func() { c.admission.rest("") })
	}
}

// restAfter makes the channel rest if there was no call for this time, and none is in flight.
func (c *sharedChannel) restAfter(idle time.Duration, now time.Time) {
	last := max(c.idleness.called.Load(), c.startedAt().UnixNano())
	if c.idleness.resting.Load() || now.UnixNano()-last < int64(idle) {
		return
	}
	s, ok := c.snapshot()
	if !ok || s.Leases > 0 || len(s.Endpoints) < 2 && s.Held == 0 {
		return
	}
	// Many gateways must not all choose the same instance.
	var ready []string
	for i := range s.Endpoints {
		if s.Endpoints[i].State == pool.StateReady {
			ready = append(ready, s.Endpoints[i].Address)
		}
	}
	if len(ready) == 0 {
		return
	}
	c.idleness.resting.Store(true)
	c.admission.rest(ready[rand.N(len(ready))]) //nolint:gosec // It spreads load and guards nothing.
	if c.idleness.called.Load() > last {        // A call came meanwhile.
		c.awake()
	}
}

func (c *sharedChannel) startedAt() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.started
}

// rest makes the channel use the instance at this address only, or all instances if it is "".
func (a *admission) rest(addr string) {
	a.publishing.Lock()
	defer a.publishing.Unlock()
	a.mu.Lock()
	a.only = addr
	a.mu.Unlock()
	for fn := range a.subscribers {
		(*fn)(a.admit(a.feed.State()))
	}
}

// rested leaves one instance of those that are admitted, if the channel rests. The others count as
// withdrawn, so that they are not held.
func (a *admission) rested(admitted, withdrawn []discovery.Endpoint) (kept, out []discovery.Endpoint) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.only == "" || len(admitted) < 2 {
		return admitted, withdrawn
	}
	found := false
	for i := range admitted {
		found = found || admitted[i].Addr == a.only
	}
	if !found { // It has gone.
		a.only = admitted[rand.N(len(admitted))].Addr //nolint:gosec // It spreads load and guards nothing.
	}
	for _, e := range admitted {
		if e.Addr == a.only {
			kept = append(kept, e)
		} else {
			withdrawn = append(withdrawn, e)
		}
	}
	return kept, withdrawn
}

// touchingConn notes each call, so that a channel without calls can rest.
type touchingConn struct {
	calls

	channel *sharedChannel
}

// NewStream implements grpc.ClientConnInterface.
func (c touchingConn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	c.channel.touch()
	return c.calls.NewStream(ctx, desc, method, opts...)
}

// Invoke implements grpc.ClientConnInterface.
func (c touchingConn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	c.channel.touch()
	return c.calls.Invoke(ctx, method, args, reply, opts...)
}

// Call implements frontend.UnaryConn.
func (c touchingConn) Call(ctx context.Context, u *unary.Call) error {
	c.channel.touch()
	return c.calls.Call(ctx, u)
}

// rest makes services rest that get no calls, and wakes those that another config has made rest.
func (c *catalog) rest(now time.Time) {
	for _, s := range c.all() {
		if c.idle > 0 {
			s.upstream.channel.restAfter(c.idle, now)
		} else if s.upstream.channel.idleness.resting.Load() {
			s.upstream.channel.awake()
		}
	}
}
