package module

import (
	"context"
	"errors"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// followEvents has calls and streams told when the process begins to exit. That is before the HTTP servers stop, which by default wait
// for their requests without end. And it has the app told when the config runs: before, subscriptions to its own events
// may be incomplete.
func (a *App) followEvents() error {
	app, err := a.ctx.App("events")
	if err != nil {
		return err
	}
	a.events = app.(*caddyevents.App)
	if a.origin, err = newEventOrigin(a.ctx); err != nil {
		return err
	}
	return errors.Join(a.events.On("stopping", exitHandler{a.ctx}), a.events.On("started", startHandler{a}))
}

type startHandler struct{ app *App }

// Handle implements caddyevents.Handler.
func (h startHandler) Handle(context.Context, caddy.Event) error {
	listeners.ready(h.app)
	return nil
}

type exitHandler struct{ ctx caddy.Context }

// Handle implements caddyevents.Handler. On exit streams are ended, and calls cut off when their drain timeout is over. Configs also stop
// when another takes over; nothing happens then.
func (h exitHandler) Handle(context.Context, caddy.Event) error {
	if !caddy.Exiting() {
		return nil
	}
	exitDrain.Close()
	all := draining.all()
	channels.Range(func(_, v any) bool {
		all = append(all, v.(*sharedChannel))
		return true
	})
	for _, c := range all {
		time.AfterFunc(h.shutdownDelay()+c.drainTimeout(), func() { c.cut(0) })
	}
	return nil
}

// shutdownDelay is how long the HTTP servers go on to take requests.
func (h exitHandler) shutdownDelay() time.Duration {
	app, err := h.ctx.AppIfConfigured("http")
	if err != nil {
		return 0
	}
	return time.Duration(app.(*caddyhttp.App).ShutdownDelay)
}

// cut ends the channel without lingering, and the calls that are still in flight after the limit.
func (c *sharedChannel) cut(limit time.Duration) {
	if ch := c.channel.Load(); ch != nil {
		c.shutdown(ch, limit)
	}
}

// Interface guards.
var (
	_ caddyevents.Handler = exitHandler{}
	_ caddyevents.Handler = startHandler{}
)
