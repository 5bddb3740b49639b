// Package pool keeps the connections to the instances of one service: a channel is a
// grpc.ClientConn with a balancing policy of our own, fed by a discovery feed. It is not a client:
// it moves raw messages.
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
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"github.com/caddy-grpc/gateway/discovery"
	"github.com/caddy-grpc/gateway/internal/pool/wire"
)

// Channel is one pool. It satisfies grpc.ClientConnInterface; messages of type mem.BufferSlice
// (sent) and *mem.BufferSlice (received) pass through raw, others go through the proto codec. What
// is sent is freed by grpc, what is received by the receiver. Safe for concurrent use.
type Channel struct {
	fleet       *fleet
	conn        *grpc.ClientConn
	unsubscribe func()
	leases      atomic.Int64 // and closedBit
	retiring    atomic.Bool
	lingered    atomic.Bool // the last lease to be returned closes the channel
	cut         atomic.Bool // the channel was closed under its calls
	budget      retryBudget
	options     []grpc.CallOption // of every call
	contexts    sync.Pool         // those that are free
	done        chan struct{}
}

var _ grpc.ClientConnInterface = (*Channel)(nil)

// Feed is what a channel needs of a discovery.Feed.
type Feed interface {
	State() discovery.State
	Subscribe(fn func(discovery.State)) (cancel func())
}

// Open starts a channel: it dials every known instance in the background and never blocks. The name
// of the service is for logs and errors. An error means that the settings are wrong.
func Open(name string, s Settings, feed Feed, log *zap.Logger) (*Channel, error) {
	return open(name, s, feed, log, rand.Uint64)
}

func open(name string, s Settings, feed Feed, log *zap.Logger, random func() uint64) (*Channel, error) {
	s, err := s.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("settings of the channel to %s: %w", name, err)
	}
	f := newFleet(name, s, log, random)
	conn, err := grpc.NewClient(resolverScheme+":///"+url.PathEscape(name), dialOptions(s, f)...)
	if err != nil {
		return nil, fmt.Errorf("opening the channel to %s: %w", name, err)
	}
	c := &Channel{fleet: f, conn: conn, done: make(chan struct{}), options: callOptions(s)}
	conn.Connect() // builds the policy, dials nothing yet
	if s := feed.State(); s.Synced || len(s.Endpoints) > 0 {
		f.onFeed(s) // Subscribe may take a moment to say so, and calls may come at once
	}
	c.unsubscribe = feed.Subscribe(f.onFeed)
	go c.run()
	return c, nil
}

// Flow-control windows in bytes. They are fixed, because a window that grows by itself lets a
// stream that was fast once hold up to 16 MiB when its reader stands still, and here the reader is
// anybody. A message larger than the stream's window is still taken at full speed: grpc widens the
// window for the message that is being read. The connection's window holds nothing by itself; it is
// as large as it takes for one stalled stream never to matter to the others.
const (
	streamWindow = 64 << 10
	connWindow   = 8 << 20
)

// Until the instance answers, gRPC keeps what was sent, for a second attempt at another instance if
// the first one turns out not to have looked at the call (GOAWAY, REFUSED_STREAM). The first
// message of a call is kept whatever its size. Of a stream, further messages are kept while all are
// at most replayBytes and replayMessages. gRPC's own limit is 256 KiB: a call with a larger message
// would be lost, while 52,000 empty messages would take 15 MiB.
const (
	replayBytes    = 64 << 10
	replayMessages = 64
)

// dialOptions say how connections are made and kept.
func dialOptions(s Settings, f *fleet) []grpc.DialOption {
	security := wire.Credentials{TransportCredentials: insecure.NewCredentials()}
	if s.TLS != nil {
		security = wire.Credentials{TransportCredentials: credentials.NewTLS(s.TLS), Name: s.TLS.ServerName}
	}
	dialer := wire.NewDialer()
	return []grpc.DialOption{
		grpc.WithResolvers(fleetResolver{f}),
		grpc.WithDefaultServiceConfig(serviceConfig),
		grpc.WithDisableServiceConfig(),
		// Of what may have been executed; what was never sent is sent again elsewhere.
		grpc.WithDisableRetry(),
		grpc.WithIdleTimeout(0),
		grpc.WithTransportCredentials(security),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			return guarded(dialer, s.Guard, addr).DialContext(ctx, "tcp", addr)
		}),
		grpc.WithStaticStreamWindowSize(streamWindow),
		grpc.WithStaticConnWindowSize(connWindow),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: s.BackoffBase, Multiplier: 1.6, Jitter: 0.2, MaxDelay: s.BackoffMax},
			MinConnectTimeout: s.ConnectTimeout,
		}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time: s.KeepaliveTime, Timeout: s.KeepaliveTimeout, PermitWithoutStream: s.PermitWithoutStream,
		}),
	}
}

// callOptions are those of every call. As defaults of the grpc.ClientConn they would be put
// together with the call's own anew each time.
func callOptions(s Settings) []grpc.CallOption {
	return []grpc.CallOption{
		grpc.ForceCodecV2(newCodec()), grpc.MaxCallRecvMsgSize(s.MaxReceiveSize),
		grpc.MaxRetryRPCBufferSize(math.MaxInt), // stream.SendMsg has the limit.
	}
}

// NewStream starts an RPC: the policy picks an endpoint, the call takes a lease on it and on the
// channel. The stream also satisfies interface{ Endpoint() string }, the address that was picked
// ("" before).
//
// A status that the instance sent is returned as it came, with grpc's own type. Every other error
// was made in this process and has a type of this package, with a status whose message names no
// address: *UnavailableError says that nothing was sent, and why; *LostError says that the
// connection was lost during the call; *CallError has the other reasons, such as the deadline and a
// message that is too large.
//
// Called on the call path; takes no lock of the fleet.
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

// newStream makes one attempt at a call, if possible at none of the endpoints that were tried
// before; a is nil when it is the only one. The lease is the stream's, also when there is an error.
//
// Called on the call path; takes no lock of the fleet.
func (c *Channel) newStream(ctx context.Context, desc *grpc.StreamDesc, method string, a *attempts, opts []grpc.CallOption) (*stream, *lease, error) {
	s := &stream{lease: lease{Context: ctx, channel: c, attempts: a, unary: !desc.ClientStreams && !desc.ServerStreams, uncounted: isUncounted(opts)}}
	if !c.acquire() {
		return nil, &s.lease, c.closedError()
	}
	if a != nil && a.mayFollow() {
		s.lease.makeCancellable()
	}
	options := append(append(append(s.options[:0], c.options...), opts...), grpc.OnFinish(s.lease.end))
	cs, err := c.conn.NewStream(&s.lease, desc, method, options...)
	if err != nil {
		s.lease.end(err)
		return nil, &s.lease, s.lease.explain(err, func() bool { return false })
	}
	s.ClientStream = cs
	return s, &s.lease, nil
}

// WaitReady waits until an endpoint is READY, or ctx is done (with an error that says why there is
// none).
func (c *Channel) WaitReady(ctx context.Context) error { return c.fleet.waitReady(ctx, c.done) }

// OnEndpointReady registers fn to be called (not concurrently, not blocking the channel) when an
// instance becomes READY that was not connected before, or had been replaced: the moment to read
// its schema again. That a connection was lost and made anew counts as replaced, because a
// restarted instance looks just so. stop unregisters; a call that is running goes on.
func (c *Channel) OnEndpointReady(fn func(addr string)) (stop func()) { return c.fleet.listen(fn) }

// Snapshot is the channel's state for operators.
func (c *Channel) Snapshot() Snapshot {
	s := c.fleet.snapshot()
	s.Leases = int(c.leases.Load() &^ closedBit)
	s.Retiring = c.retiring.Load()
	s.Retries = c.budget.used.Load()
	return s
}

// guarded returns the dialer with the check for an instance, if there is one.
func guarded(dialer *net.Dialer, guard Guard, addr string) *net.Dialer {
	if guard == nil {
		return dialer
	}
	d := *dialer
	d.ControlContext = guard.Control(addr)
	return &d
}
