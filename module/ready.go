package module

import (
	"context"
	"errors"
	"fmt"
)

// This file is about require_ready. Caddy starts apps in any order. So the servers of a config may
// take requests before its upstreams are ready, and before it is known that the config will stay.
// Such requests wait as long as the app does. See also readyConn.

// waitReady waits for the upstreams that have require_ready, and then for their schemas, without
// which they are of little use.
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
		h.routing.refresh() // It may not know of the schemas yet.
	}
	return errors.Join(errs...)
}

// waitStart waits until the app has started or failed to, if the upstream has require_ready.
func (u *upstream) waitStart(ctx context.Context) {
	if u.starting == nil {
		return
	}
	select {
	case <-u.starting.Done():
	case <-ctx.Done():
	}
}
