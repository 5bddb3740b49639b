// Package pool keeps the connections to the instances of one service. A channel is a
// grpc.ClientConn with its own balancing policy. A discovery feed tells it the instances.
//
// The package is not a client: it moves raw messages and knows no schema.
package pool

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/url"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/keepalive"

	"github.com/caddy-grpc/gateway/discovery"
)

// Channel is the connection pool of one service. It implements grpc.ClientConnInterface and is safe
// for concurrent use.
//
// A sent message of type mem.BufferSlice and a received one of type *mem.BufferSlice pass through
// raw. All other messages go through the proto codec. Grpc frees what is sent. The receiver frees
// what is received.
type Channel struct {
	balancer    *balancer
	conn        *grpc.ClientConn
	unsubscribe func()
	// leases is the number of calls in flight or waiting. It also holds closedBit.
	leases   atomic.Int64
	retiring atomic.Bool
	// lingered is true once the channel closes when its last lease is returned.
	lingered atomic.Bool
	// cut is true if the channel was closed while it had calls.
	cut    atomic.Bool
	budget retryBudget
	// options apply to every call.
	options []grpc.CallOption
	// contexts holds attempt contexts that are free to be used again.
	contexts sync.Pool
	// wholeCalls holds *wholeCall values that are free to be used again.
	wholeCalls sync.Pool
	// done is closed when the channel has closed.
	done chan struct{}
}

var _ grpc.ClientConnInterface = (*Channel)(nil)

// Feed is the part of discovery.Feed that a channel needs.
type Feed interface {
	State() discovery.State
	Subscribe(fn func(discovery.State)) (cancel func())
}

// Open starts a channel. It dials every known instance in the background and never blocks. The name
// of the service is for logs and errors. An error means that the settings are wrong.
func Open(name string, s Settings, feed Feed, log *zap.Logger) (*Channel, error) {
	return open(name, s, feed, log, rand.Uint64)
}

func open(name string, s Settings, feed Feed, log *zap.Logger, random func() uint64) (*Channel, error) {
	s, err := s.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("settings of the channel to %s: %w", name, err)
	}
	b := newBalancer(name, s, log, random)
	b.dialer, b.security = newDialer(&b.settings), newCredentials(&b.settings)
	conn, err := grpc.NewClient(resolverScheme+":///"+url.PathEscape(name), dialOptions(s, b)...)
	if err != nil {
		return nil, fmt.Errorf("opening the channel to %s: %w", name, err)
	}
	b.clientConn = conn
	c := &Channel{balancer: b, conn: conn, done: make(chan struct{}), options: callOptions(s)}
	conn.Connect() // builds the policy, dials nothing yet
	if s := feed.State(); s.Synced || len(s.Endpoints) > 0 {
		// Calls may come at once, and Subscribe may take a moment to pass the state on.
		b.onFeed(s)
	}
	c.unsubscribe = feed.Subscribe(b.onFeed)
	go c.run()
	return c, nil
}

// The flow-control windows, in bytes. They are fixed. A window that grows by itself would let a
// stream that was fast once hold up to 16 MiB after its reader has stopped, and here anybody can be
// the reader.
//
// A message larger than the stream's window still arrives at full speed, because grpc widens the
// window for the message that is being read. The connection's window holds nothing by itself. It is
// large enough that one stalled stream does not slow down the others.
const (
	streamWindow = 64 << 10
	connWindow   = 8 << 20
)

// dialOptions define how connections are made and kept.
func dialOptions(s Settings, b *balancer) []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithResolvers(balancerResolver{b}),
		grpc.WithDefaultServiceConfig(serviceConfig),
		grpc.WithDisableServiceConfig(),
		// This turns off retries of calls that may have been executed. For a call that was not,
		// grpc still asks for another connection. See grpcPicker.
		grpc.WithDisableRetry(),
		grpc.WithIdleTimeout(0),
		grpc.WithTransportCredentials(b.security),
		grpc.WithContextDialer(b.dialer),
		grpc.WithStaticStreamWindowSize(streamWindow),
		grpc.WithStaticConnWindowSize(connWindow),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: s.BackoffBase, Multiplier: backoffMultiplier, Jitter: backoffJitter, MaxDelay: s.BackoffMax},
			MinConnectTimeout: s.ConnectTimeout,
		}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time: s.KeepaliveTime, Timeout: s.KeepaliveTimeout, PermitWithoutStream: s.PermitWithoutStream,
		}),
	}
}

// callOptions returns the options of every call. As default options of the grpc.ClientConn they
// would be merged with the call's own options on every call.
func callOptions(s Settings) []grpc.CallOption {
	return []grpc.CallOption{
		grpc.ForceCodecV2(rawMessages), grpc.MaxCallRecvMsgSize(s.MaxReceiveSize),
		grpc.MaxRetryRPCBufferSize(math.MaxInt), // stream.keep has the limit.
	}
}

// NewStream starts an RPC. The policy picks an endpoint, and the call takes a lease on it and on
// the channel. The stream also has the method Endpoint() string. That is the address of the picked
// instance, and "" before there is one. Its method RecvWaiting receives many messages at once.
//
// A status that the instance sent is returned unchanged, with grpc's own type. Every other error
// was made in this process and has a type of this package. The message of its status names no
// address.
//
//   - *UnavailableError says that nothing was sent, and why.
//   - *LostError says that the connection was lost during the call.
//   - *CallError has the other reasons, such as the deadline or a message that is too large.
//
// Called on the call path; takes no lock of the balancer.
func (c *Channel) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	if c.retries(desc, opts) {
		r, err := c.newRetryStream(ctx, desc, method, opts)
		if err != nil {
			return nil, err
		}
		return r, nil
	}
	s, _, err := c.newStream(ctx, desc, method, nil, opts)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// newStream makes one attempt at a call. If it can, it avoids endpoints that were tried before. If
// a is nil, this is the only attempt. The lease belongs to the stream, even if there is an error.
//
// Called on the call path; takes no lock of the balancer.
func (c *Channel) newStream(ctx context.Context, desc *grpc.StreamDesc, method string, a *attempts, opts []grpc.CallOption) (*stream, *lease, error) {
	s := &stream{
		lease: lease{Context: ctx, channel: c, attempts: a, unary: !desc.ClientStreams && !desc.ServerStreams, uncounted: isUncounted(opts)},
		desc:  desc, method: method,
	}
	s.lease.stream = s
	if !c.acquire() {
		return nil, &s.lease, c.closedError()
	}
	if a != nil && a.mayFollow() {
		s.lease.makeCancellable()
	}
	s.options = append(append(s.room[:0], c.options...), opts...)
	cs, err := s.begin()
	if err != nil {
		s.lease.end(err)
		return nil, &s.lease, s.lease.explain(err, func() bool { return false })
	}
	s.current = cs
	return s, &s.lease, nil
}

// WaitReady waits until an endpoint is READY or ctx is done. If ctx is done, the error says why no
// endpoint is READY.
func (c *Channel) WaitReady(ctx context.Context) error { return c.balancer.waitReady(ctx, c.done) }

// OnEndpointReady registers fn. It is called when an instance becomes READY that was not connected
// before, or that may have been replaced. That is the moment to read its schema again. A lost
// connection that was made again counts as a replacement, because a restarted instance looks the
// same.
//
// Calls of fn do not overlap and do not block the channel. stop unregisters fn. A call of fn that
// is running goes on.
func (c *Channel) OnEndpointReady(fn func(addr string)) (stop func()) { return c.balancer.listen(fn) }

// Snapshot returns the channel's state for operators.
func (c *Channel) Snapshot() Snapshot {
	s := c.balancer.snapshot()
	s.Leases = int(c.leases.Load() &^ closedBit)
	s.Retiring = c.retiring.Load()
	s.Retries = c.budget.used.Load()
	return s
}

// guarded returns the dialer with the guard's check for the instance at addr. Without a guard it
// returns the dialer unchanged.
func guarded(dialer *net.Dialer, guard Guard, addr string) *net.Dialer {
	if guard == nil {
		return dialer
	}
	d := *dialer
	d.ControlContext = guard.Control(addr)
	return &d
}
