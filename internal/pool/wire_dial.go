package pool

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"

	"github.com/caddy-grpc/gateway/discovery"
	"github.com/caddy-grpc/gateway/internal/pool/wire"
	"github.com/caddy-grpc/gateway/internal/rpcwire"
)

const (
	// wireUserAgent is the user-agent of calls over rpcwire. It has the form that gRPC asks for.
	wireUserAgent = "grpc-go-gateway"
	// shortestKeepalive is the shortest keepalive time. It is grpc-go's.
	shortestKeepalive = 10 * time.Second
	// backoffMultiplier is the growth of the pause between attempts to connect.
	backoffMultiplier = 1.6
	// backoffJitter is the part of the pause that is left to chance.
	backoffJitter = 0.2
)

// dialFunc connects to the instance at an address.
type dialFunc func(ctx context.Context, addr string) (net.Conn, error)

// newDialer returns the function that connects to instances.
func newDialer(s *Settings) dialFunc {
	dialer := wire.NewDialer()
	return func(ctx context.Context, addr string) (net.Conn, error) {
		d := guarded(dialer, s.Guard, addr)
		if path, ok := discovery.UnixPath(addr); ok {
			return d.DialContext(ctx, "unix", path)
		}
		return d.DialContext(ctx, "tcp", addr)
	}
}

// newCredentials returns what secures connections.
func newCredentials(s *Settings) wire.Credentials {
	if s.TLS == nil {
		return wire.Credentials{TransportCredentials: insecure.NewCredentials()}
	}
	return wire.Credentials{TransportCredentials: s.TLS, Name: serverName(s.TLS)}
}

// dial makes the connection c.
func (k *wireLink) dial(ctx context.Context, c *wireConn) error {
	b := k.balancer
	raw, err := b.dialer(ctx, k.conn.endpoint.addr)
	if err != nil {
		return inTime(ctx, err)
	}
	nc, err := b.security.Secure(ctx, k.conn, raw)
	if err != nil {
		return fmt.Errorf("TLS handshake: %w", inTime(ctx, err))
	}
	o := k.options(c)
	c.keepalive = o.KeepaliveTime
	if c.conn, err = rpcwire.New(ctx, nc, o); err != nil {
		return fmt.Errorf("HTTP/2 handshake: %w", err)
	}
	return nil
}

// inTime adds to an error that the time to connect is over, because the error may not say so.
func inTime(ctx context.Context, err error) error {
	if late := ctx.Err(); late != nil && !errors.Is(err, late) {
		return fmt.Errorf("%w: %w", late, err)
	}
	return err
}

// options are those of a connection.
func (k *wireLink) options(c *wireConn) rpcwire.Options {
	s := &k.balancer.settings
	o := rpcwire.Options{
		Authority: s.Authority, UserAgent: wireUserAgent,
		StreamWindow: streamWindow, ConnWindow: connWindow, MaxMessage: s.MaxReceiveSize,
		// The context limits the handshake.
		HandshakeTimeout: 2 * max(s.ConnectTimeout, s.BackoffMax),
		KeepaliveTime:    max(s.KeepaliveTime, shortestKeepalive, time.Duration(k.balancer.pings.Load())),
		KeepaliveTimeout: s.KeepaliveTimeout, PermitWithoutStream: s.PermitWithoutStream,
		Decompresses: func(name string) bool { return encoding.GetCompressor(name) != nil },
		Reads:        &k.conn.endpoint.reads, Buffers: k.balancer.buffers, Events: c, Admission: k.balancer.admission,
	}
	if o.Authority == "" {
		o.Authority = k.conn.ServerName()
	}
	if s.TLS != nil {
		o.Scheme = "https"
	}
	return o
}

// slowDownPings doubles the keepalive time of new connections, because an instance has closed one
// with that time for its pings. grpc-go does the same.
func (b *balancer) slowDownPings(was time.Duration) {
	for {
		now := b.pings.Load()
		if int64(2*was) <= now || b.pings.CompareAndSwap(now, int64(2*was)) {
			return
		}
	}
}

// checkViolation notes if the instance has violated HTTP/2. See violated.
func (k *wireLink) checkViolation(err error) {
	var e *rpcwire.ConnError
	if errors.As(err, &e) && (e.Reason == rpcwire.ReasonProtocol || e.Reason == rpcwire.ReasonHandshake && e.Code != http2.ErrCodeNo) {
		k.balancer.violated(k.conn, e)
	}
}
