package module

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"

	"github.com/caddy-grpc/gateway/internal/frontend"
)

// This file is about require_ready. Caddy starts apps in any order: the servers of a config may take requests long before its upstreams
// are ready, and before it is clear that it will stay. Such requests wait for as long as the app does.

// waitReady waits for the upstreams that are required to be ready, and then for their schemas, without which they are of little use.
func (a *App) waitReady(all []*upstream) error {
	results := make(chan error)
	waiting := 0
	for _, u := range all {
		if u.requireReady <= 0 {
			continue
		}
		waiting++
		go func() {
			ctx, cancel := context.WithTimeout(a.ctx, u.requireReady)
			defer cancel()
			if err := u.channel.waitReady(ctx); err != nil {
				results <- fmt.Errorf("upstream %q: no instance was ready within require_ready %s: %w", u.label(), u.requireReady, err)
				return
			}
			u.schema.waitRead(a.ctx)
			results <- nil
		}()
	}
	if waiting == 0 {
		return nil
	}
	var errs []error
	for range waiting {
		errs = append(errs, <-results)
	}
	for _, h := range a.handlers {
		h.routing.refresh() // It may not have been told yet.
	}
	return errors.Join(errs...)
}

// waitRead waits until there is a schema, for readTime at most: that there is none is no reason to refuse a config.
func (s *sharedSchema) waitRead(ctx context.Context) {
	live := s.follower()
	if live == nil || s.current() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	_ = live.Wait(ctx) // why there is none is told to clients and operators
}

// waitStart waits, if the upstream has require_ready, until the app has started or failed to.
func (u *upstream) waitStart(ctx context.Context) {
	if u.starting == nil {
		return
	}
	select {
	case <-u.starting.Done():
	case <-ctx.Done():
	}
}

// calls is what calls to an upstream go through.
type calls interface {
	grpc.ClientConnInterface
	frontend.BoundingConn
}

// readyConn has the calls of an upstream with require_ready wait for an instance until the app has started.
type readyConn struct {
	*sharedChannel

	starting context.Context //nolint:containedctx // It is the time of the app's start.
}

// NewStream implements grpc.ClientConnInterface.
func (c readyConn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	c.await(ctx, time.Time{})
	return c.sharedChannel.NewStream(ctx, desc, method, opts...)
}

// Invoke implements grpc.ClientConnInterface.
func (c readyConn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	return c.InvokeUntil(ctx, time.Time{}, method, args, reply, opts...)
}

// InvokeUntil is that of sharedChannel.
func (c readyConn) InvokeUntil(ctx context.Context, deadline time.Time, method string, args, reply any, opts ...grpc.CallOption) error {
	c.await(ctx, deadline)
	return c.sharedChannel.InvokeUntil(ctx, deadline, method, args, reply, opts...)
}

// await waits until an instance is ready, the app has started or failed to, or the call is over, whichever comes first.
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
	_ = c.waitReady(ctx) // The call says what is wrong.
}
