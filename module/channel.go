package module

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/netpolicy"
	"github.com/caddy-grpc/gateway/internal/pool"
	"github.com/caddy-grpc/gateway/internal/unary"
)

// defaultDrainTimeout is the default of pool.Settings.DrainTimeout.
const defaultDrainTimeout = 30 * time.Second

// sharedChannel is the connection pool to the instances of one service. All upstreams that would
// connect in the same way share it. It is a grpc.ClientConnInterface for the tables of handlers.
type sharedChannel struct {
	key      string
	name     string // for logs: the name of the first upstream
	settings pool.Settings
	feed     *sharedFeed // with a reference
	// admission leaves out instances with refused addresses. Its feed is set by start.
	admission *admission
	log       *zap.Logger

	channel  atomic.Pointer[pool.Channel] // nil before start
	idleness idleness
	settled  atomic.Bool // calls no longer wait for the first instance

	mu      sync.Mutex // guards the fields below, and setting channel
	closed  bool
	started time.Time
	onReady map[int]func(addr string) // subscribers by ID, which start registers
	stops   map[int]func()            // what ends a subscription, by ID
	nextID  int
}

// channelKey is made of everything that affects the connections of a channel, and of nothing else.
// It has no secrets: tlsID is a hash.
func channelKey(feedKey string, s pool.Settings, tlsID string, networks *netpolicy.Policy) string {
	// tlsID stands in for TLS, and networks for Guard. An observer changes no connection.
	s.TLS, s.Guard, s.Observer = nil, nil, nil
	return fmt.Sprintf("%s %+v tls=%s networks=%s", feedKey, s, tlsID, networks.Key())
}

// acquireChannel takes a reference on the channel to the instances of the feed with these settings.
func acquireChannel(
	name string, s pool.Settings, tlsID string, networks *netpolicy.Policy, feed *sharedFeed, log *zap.Logger,
) *sharedChannel {
	key := channelKey(feed.key, s, tlsID, networks)
	feed.hold() // for the channel, if it is new
	c, loaded := acquire(channels, key, func() *sharedChannel {
		return &sharedChannel{
			key: key, name: name, settings: s, feed: feed, log: log, admission: &admission{policy: networks, log: log},
			onReady: make(map[int]func(string)), stops: make(map[int]func()),
		}
	})
	if loaded {
		feed.release()
	}
	return c
}

func (c *sharedChannel) release() { _, _ = channels.Delete(c.key) } // Destruct returns no error.

// hold takes another reference. The caller must hold one already.
func (c *sharedChannel) hold() {
	acquire(channels, c.key, func() *sharedChannel { return c })
}

// start begins to connect, unless that has begun. It returns nil after the end, and if the channel
// cannot be opened.
func (c *sharedChannel) start() *pool.Channel {
	if ch := c.channel.Load(); ch != nil {
		return ch
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if ch := c.channel.Load(); ch != nil || c.closed {
		return ch
	}
	feed := c.feed.start()
	if feed == nil {
		return nil
	}
	settings := c.settings
	settings.Observer, settings.Guard = c, c.admission
	c.admission.feed = feed
	ch, err := pool.Open(c.name, settings, c.admission, c.log)
	if err != nil { // The config was checked, so this is a bug. Calls get UNAVAILABLE.
		c.log.Error("cannot open the channel", zap.Error(err))
		return nil
	}
	for id, fn := range c.onReady {
		c.stops[id] = ch.OnEndpointReady(fn)
	}
	c.started = time.Now()
	c.channel.Store(ch)
	return ch
}

// awaitFirstInstance starts the channel. While the channel is new, it waits until an instance is
// ready, for up to settleTime (3s) after the start. So a reload that brings a new channel fails no
// call. Later a call without an instance fails at once. The wait also ends with ctx, and at the
// deadline unless that is zero.
func (c *sharedChannel) awaitFirstInstance(ctx context.Context, deadline time.Time) *pool.Channel {
	ch := c.start()
	if ch == nil || c.settled.Load() {
		return ch
	}
	if !deadline.IsZero() {
		bounded, cancel := context.WithDeadline(ctx, deadline)
		defer cancel()
		ctx = bounded
	}
	c.mu.Lock()
	settled := c.started.Add(settleTime)
	c.mu.Unlock()
	for ctx.Err() == nil {
		waiting, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		err := ch.WaitReady(waiting)
		cancel()
		if err == nil || !time.Now().Before(settled) || c.hopeless(ch) {
			c.settled.Store(true)
			break
		}
	}
	return ch
}

// hopeless reports whether no instance can be expected soon: none is registered, or all have
// failed.
func (c *sharedChannel) hopeless(ch *pool.Channel) bool {
	if !c.feed.state().Synced {
		return false
	}
	for _, e := range ch.Snapshot().Endpoints {
		if e.State != pool.StateFailing && e.State != pool.StateUnhealthy {
			return false
		}
	}
	return true
}

// onEndpointReady is pool.Channel.OnEndpointReady. It can be called before start.
func (c *sharedChannel) onEndpointReady(fn func(addr string)) (stop func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	id := c.nextID
	c.nextID++
	c.onReady[id] = fn
	if ch := c.channel.Load(); ch != nil {
		c.stops[id] = ch.OnEndpointReady(fn)
	}
	return func() {
		c.mu.Lock()
		stop := c.stops[id]
		delete(c.stops, id)
		delete(c.onReady, id)
		c.mu.Unlock()
		if stop != nil {
			stop()
		}
	}
}

// errClosed is the error of calls that come after the end.
func (c *sharedChannel) errClosed() error {
	return &pool.UnavailableError{Service: c.name, Reason: pool.Closed}
}

// NewStream implements grpc.ClientConnInterface.
func (c *sharedChannel) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	ch := c.awaitFirstInstance(ctx, time.Time{})
	if ch == nil {
		return nil, c.errClosed()
	}
	return ch.NewStream(traced(ctx), desc, method, opts...)
}

// Invoke implements grpc.ClientConnInterface.
func (c *sharedChannel) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	ch := c.awaitFirstInstance(ctx, time.Time{})
	if ch == nil {
		return c.errClosed()
	}
	return ch.Invoke(traced(ctx), method, args, reply, opts...)
}

// Call implements frontend.UnaryConn.
func (c *sharedChannel) Call(ctx context.Context, u *unary.Call) error {
	ch := c.awaitFirstInstance(ctx, u.Deadline)
	if ch == nil {
		u.Drop()
		return c.errClosed()
	}
	u.Metadata = tracedPairs(ctx, u.Metadata)
	return ch.Call(ctx, u)
}

// Admit implements frontend.AdmittingConn.
func (c *sharedChannel) Admit(ctx context.Context, n int64) (release func()) {
	ch := c.channel.Load()
	if ch == nil {
		return func() {}
	}
	return ch.Admit(ctx, n)
}

func (c *sharedChannel) waitReady(ctx context.Context) error {
	ch := c.start()
	if ch == nil {
		return c.errClosed()
	}
	return ch.WaitReady(ctx)
}

// snapshot returns the state for operators. ok is false before start.
func (c *sharedChannel) snapshot() (s pool.Snapshot, ok bool) {
	ch := c.channel.Load()
	if ch == nil {
		return pool.Snapshot{}, false
	}
	return ch.Snapshot(), true
}

// hasReady reports whether an instance is READY.
func (c *sharedChannel) hasReady() bool {
	s, ok := c.snapshot()
	if !ok {
		return false
	}
	for i := range s.Endpoints {
		if s.Endpoints[i].State == pool.StateReady {
			return true
		}
	}
	return false
}

// drainTimeout returns how long calls may go on after the end has begun.
func (c *sharedChannel) drainTimeout() time.Duration {
	if c.settings.DrainTimeout > 0 {
		return c.settings.DrainTimeout
	}
	return defaultDrainTimeout
}

// Destruct implements caddy.Destructor. The channel ends when its calls have ended, and then gives
// back the feed.
func (c *sharedChannel) Destruct() error {
	c.mu.Lock()
	c.closed = true
	ch := c.channel.Load()
	c.mu.Unlock()
	if ch == nil {
		c.feed.release()
		return nil
	}
	draining.add(c)
	var done <-chan struct{}
	if !caddy.Exiting() {
		done = ch.Retire()
	}
	leaving.run(func() {
		if done != nil {
			<-done
		} else {
			c.shutdown(ch, c.drainTimeout())
		}
		pools.forget(c)
		draining.remove(c)
		c.feed.release()
	})
	return nil
}

// shutdown closes the channel after its calls, or when the time is over. It does not linger for
// late calls: the HTTP servers have stopped, or nearly so.
func (c *sharedChannel) shutdown(ch *pool.Channel, limit time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if err := ch.Shutdown(ctx); err != nil {
		c.log.Warn("calls were cut off by the exit", zap.Error(err))
	}
}

// cut ends the channel without lingering. Calls that are still in flight after the limit are cut
// off.
func (c *sharedChannel) cut(limit time.Duration) {
	if ch := c.channel.Load(); ch != nil {
		c.shutdown(ch, limit)
	}
}

// Interface guards.
var (
	_ grpc.ClientConnInterface = (*sharedChannel)(nil)

	// The frontends ask for the type of an error, and do not import the pool.
	_ frontend.LocalError = (*pool.UnavailableError)(nil)
	_ frontend.LocalError = (*pool.LostError)(nil)
	_ frontend.LocalError = (*pool.CallError)(nil)
	_ frontend.UnaryConn  = (*sharedChannel)(nil)
	_ pool.Observer       = (*sharedChannel)(nil)
)
