// Package pool keeps the connections to the instances of one service: a channel is a grpc.ClientConn with a
// balancing policy of our own, fed by a discovery feed. It is not a client: it moves raw messages.
package pool

import (
	"context"
	"crypto/tls"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/caddy-grpc/gateway/discovery"
)

// Settings are everything that affects connections. Two channels with equal feeds and equal keys are the same channel.
// The zero value of each field means its default.
type Settings struct {
	Connections, MaxConnections int           // per instance; default 1, 4
	Balance                     string        // "p2c" (default), "round_robin"
	KeepaliveTime               time.Duration // default 5m10s
	KeepaliveTimeout            time.Duration // default 20s
	PermitWithoutStream         bool
	BackoffBase, BackoffMax     time.Duration // default 200ms, 5s
	ConnectTimeout              time.Duration // default 5s
	MaxReceiveSize              int           // bytes, default 4 MiB
	DrainTimeout                time.Duration // default 30s
	Linger                      time.Duration // how long a retired channel waits for late calls; default 5s
	TLS                         *tls.Config   // nil: plaintext
	ServerName                  string        // :authority, default the service key or address
}

// Channel is one pool. It satisfies grpc.ClientConnInterface; messages of type mem.BufferSlice (sent) and *mem.BufferSlice
// (received) pass through raw, others go through the proto codec. Safe for concurrent use.
type Channel struct{}

// Open starts a channel: it dials every known instance in the background and never blocks.
func Open(name string, s Settings, feed *discovery.Feed, log *zap.Logger) (*Channel, error) {
	panic("to be built")
}

// NewStream starts an RPC: the policy picks an endpoint, the call takes a lease on it and on the channel. The stream
// also satisfies interface{ Endpoint() string }, the address that was picked ("" before).
func (c *Channel) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	panic("to be built")
}

// Invoke is a unary call, see NewStream.
func (c *Channel) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	panic("to be built")
}

// WaitReady waits until an endpoint is READY, or ctx is done (with an error that says why there is none).
func (c *Channel) WaitReady(ctx context.Context) error { panic("to be built") }

// OnEndpointReady registers fn to be called (not concurrently, not blocking the channel) when an instance that was not
// connected before, or had been replaced, becomes READY: the moment to read its schema again. stop unregisters.
func (c *Channel) OnEndpointReady(fn func(addr string)) (stop func()) { panic("to be built") }

// Retire lets the channel go, without blocking: late calls are still served for Linger, then it closes as soon as the last
// lease is returned, or at DrainTimeout, when the calls that remain end with UNAVAILABLE. done is closed at the end.
func (c *Channel) Retire() (done <-chan struct{}) { panic("to be built") }

// Snapshot is the channel's state for operators.
func (c *Channel) Snapshot() Snapshot { panic("to be built") }

// Snapshot is what the admin API shows of a pool. Its JSON is public.
type Snapshot struct {
	Leases    int                `json:"leases"`
	Retiring  bool               `json:"retiring,omitempty"`
	Endpoints []EndpointSnapshot `json:"endpoints"`
}

// EndpointSnapshot is one endpoint of a Snapshot.
type EndpointSnapshot struct {
	Address     string    `json:"address"`
	IDs         []string  `json:"ids"`
	Weight      uint32    `json:"weight"`
	State       string    `json:"state"` // IDLE, CONNECTING, READY, TRANSIENT_FAILURE, SHUTDOWN; draining, held, ejected
	Connections int       `json:"connections"`
	InFlight    int64     `json:"in_flight"`
	Picks       uint64    `json:"picks"`
	Failures    uint64    `json:"failures"`
	LastError   string    `json:"last_error,omitempty"`
	Since       time.Time `json:"since"` // of the state
}
