package module

import (
	"context"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// followExit subscribes to the beginning of the process's exit. Caddy emits that event before the
// HTTP servers stop, which by default wait for their requests without limit.
func (a *App) followExit() error { return a.events.On("stopping", exitHandler{a.ctx}) }

type exitHandler struct{ ctx caddy.Context }

// Handle implements caddyevents.Handler. On exit it makes streams end, and cuts off the calls that
// remain when their drain timeout is over. Caddy emits the same event when another config takes
// over. Nothing happens then.
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

// shutdownDelay returns how long the HTTP servers go on taking requests.
func (h exitHandler) shutdownDelay() time.Duration {
	app, err := h.ctx.AppIfConfigured("http")
	if err != nil {
		return 0
	}
	return time.Duration(app.(*caddyhttp.App).ShutdownDelay)
}

// Interface guard.
var _ caddyevents.Handler = exitHandler{}
