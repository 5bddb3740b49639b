package module

import (
	"context"
	"time"

	"github.com/caddyserver/caddy/v2"
	"google.golang.org/grpc"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/pool"
	"github.com/caddy-grpc/gateway/internal/unary"
)

// calls is what calls to an upstream go through.
type calls interface {
	grpc.ClientConnInterface
	frontend.UnaryConn
	frontend.AdmittingConn
}

// conn returns what calls to this upstream go through.
func (u *upstream) conn() grpc.ClientConnInterface {
	var conn calls = u.channel
	if u.starting != nil {
		conn = readyConn{u.channel, u.starting}
	}
	if u.touches {
		conn = touchingConn{conn, u.channel}
	}
	if u.hashKey != "" {
		conn = hashedConn{conn, u.hashKey}
	}
	return conn
}

// hashedConn gives calls the key that decides which instance they go to. The key belongs to the
// upstream and not to the channel, because it does not affect connections.
type hashedConn struct {
	calls

	key string // with placeholders
}

// NewStream implements grpc.ClientConnInterface.
func (c hashedConn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	return c.calls.NewStream(c.keyed(ctx), desc, method, opts...)
}

// Invoke implements grpc.ClientConnInterface.
func (c hashedConn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	return c.calls.Invoke(c.keyed(ctx), method, args, reply, opts...)
}

// Call implements frontend.UnaryConn.
func (c hashedConn) Call(ctx context.Context, u *unary.Call) error {
	return c.calls.Call(c.keyed(ctx), u)
}

// keyed puts the key into the context. A call gets no key if it does not belong to a request, or if
// its key is empty.
func (c hashedConn) keyed(ctx context.Context) context.Context {
	if repl, ok := ctx.Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		if key := repl.ReplaceAll(c.key, ""); key != "" {
			return pool.WithHash(ctx, key)
		}
	}
	return ctx
}

// readyConn makes the calls of an upstream with require_ready wait for an instance until the app
// has started.
type readyConn struct {
	*sharedChannel

	starting context.Context //nolint:containedctx // It lasts as long as the app's start.
}

// NewStream implements grpc.ClientConnInterface.
func (c readyConn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	c.await(ctx, time.Time{})
	return c.sharedChannel.NewStream(ctx, desc, method, opts...)
}

// Invoke implements grpc.ClientConnInterface.
func (c readyConn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	c.await(ctx, time.Time{})
	return c.sharedChannel.Invoke(ctx, method, args, reply, opts...)
}

// Call implements frontend.UnaryConn.
func (c readyConn) Call(ctx context.Context, u *unary.Call) error {
	c.await(ctx, u.Deadline)
	return c.sharedChannel.Call(ctx, u)
}

// await waits for the first of these: an instance is ready, the app has started or failed to, the
// call is over.
func (c readyConn) await(ctx context.Context, deadline time.Time) {
	if c.starting.Err() != nil {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if !deadline.IsZero() {
		ctx, cancel = context.WithDeadline(ctx, deadline)
		defer cancel()
	}
	stop := context.AfterFunc(c.starting, cancel)
	defer stop()
	_ = c.waitReady(ctx) // The call that follows says what is wrong.
}
