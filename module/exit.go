package module

import (
	"context"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// followExit has calls and streams told when the process begins to exit. That is before the HTTP servers stop, which by default wait
// for their requests without end.
func followExit(ctx caddy.Context) error {
	app, err := ctx.App("events")
	if err != nil {
		return err
	}
	return app.(*caddyevents.App).On("stopping", exitHandler{ctx})
}

type exitHandler struct{ ctx caddy.Context }

// Handle implements caddyevents.Handler. On exit streams are ended, and calls cut off when their drain timeout is over. Configs also stop
// when another takes over; nothing happens then.
func (h exitHandler) Handle(context.Context, caddy.Event) error {
	if !caddy.Exiting() {
		return nil
	}
	exitDrain.Close()
	channels.Range(func(_, v any) bool {
		c := v.(*sharedChannel)
		time.AfterFunc(h.shutdownDelay()+c.drainTimeout(), c.cut)
		return true
	})
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

// cut ends the channel with the calls that are still in flight.
func (c *sharedChannel) cut() {
	if ch := c.channel.Load(); ch != nil {
		c.shutdown(ch, 0)
	}
}

// Interface guard.
var _ caddyevents.Handler = exitHandler{}
