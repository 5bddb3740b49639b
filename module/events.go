package module

import (
	"context"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"go.uber.org/zap"

	"github.com/caddy-grpc/gateway/discovery"
	"github.com/caddy-grpc/gateway/internal/pool"
)

// Names of the events that the app emits through Caddy's events app. docs/operations.md says when
// they are emitted, and what their data is.
const (
	eventEndpointAdded       = "grpc_gateway.endpoint_added"
	eventEndpointRemoved     = "grpc_gateway.endpoint_removed"
	eventEndpointReady       = "grpc_gateway.endpoint_ready"
	eventEndpointLost        = "grpc_gateway.endpoint_lost"
	eventEndpointUnreachable = "grpc_gateway.endpoint_unreachable"
	eventEndpointEjected     = "grpc_gateway.endpoint_ejected"
	eventEndpointReadmitted  = "grpc_gateway.endpoint_readmitted"
	eventEndpointHeld        = "grpc_gateway.endpoint_held"
	eventUpstreamDown        = "grpc_gateway.upstream_down"
	eventUpstreamUp          = "grpc_gateway.upstream_up"
	eventSchemaChanged       = "grpc_gateway.schema_changed"
	eventRegistryLost        = "grpc_gateway.registry_lost"
	eventRegistryRestored    = "grpc_gateway.registry_restored"
	eventSnapshotUsed        = "grpc_gateway.snapshot_used"
	eventServiceAdded        = "grpc_gateway.service_added"
	eventServiceRemoved      = "grpc_gateway.service_removed"
)

// eventNames are all of them.
var eventNames = [...]string{
	eventEndpointAdded, eventEndpointRemoved, eventEndpointReady, eventEndpointLost, eventEndpointUnreachable, eventEndpointEjected,
	eventEndpointReadmitted, eventEndpointHeld, eventUpstreamDown, eventUpstreamUp, eventSchemaChanged, eventRegistryLost,
	eventRegistryRestored, eventSnapshotUsed, eventServiceAdded, eventServiceRemoved,
}

// followEvents loads Caddy's events app and subscribes to the start of the config. Before that, the
// subscriptions to this app's own events may be incomplete.
func (a *App) followEvents() error {
	app, err := a.ctx.App("events")
	if err != nil {
		return err
	}
	a.events = app.(*caddyevents.App)
	if a.origin, err = newEventOrigin(a.ctx); err != nil {
		return err
	}
	return a.events.On("started", startHandler{a})
}

type startHandler struct{ app *App }

// Handle implements caddyevents.Handler.
func (h startHandler) Handle(context.Context, caddy.Event) error {
	bus.ready(h.app)
	return nil
}

// occurrence is something that happened to a pool, a registry or a schema. It becomes an event for
// each upstream that uses it.
type occurrence struct {
	event string
	of    any            // *sharedChannel, *sharedFeed, *sharedSchema or *catalog
	data  map[string]any // of the event, but for the upstream unless that is another one
}

// Observe implements pool.Observer.
func (c *sharedChannel) Observe(e pool.Event) {
	if !bus.any() {
		return
	}
	o := occurrence{of: c, data: make(map[string]any)}
	if e.Instance != "" {
		o.data["instance"] = e.Instance
	}
	switch e.Kind {
	case pool.EventDown:
		o.event, o.data["error"], o.data["instances"] = eventUpstreamDown, e.Error, e.Instances
	case pool.EventUp:
		o.event, o.data["seconds"] = eventUpstreamUp, e.For.Seconds()
	case pool.EventHeld:
		o.event = eventEndpointHeld
	case pool.EventReady:
		o.event = eventEndpointReady
	case pool.EventLost:
		o.event = eventEndpointLost
	case pool.EventUnreachable:
		o.event, o.data["error"] = eventEndpointUnreachable, e.Error
	case pool.EventEjected:
		o.event, o.data["error"], o.data["seconds"] = eventEndpointEjected, e.Error, e.For.Seconds()
	case pool.EventReadmitted:
		o.event = eventEndpointReadmitted
	default:
		return
	}
	bus.post(o)
}

// report posts what is new in a state.
func (f *sharedFeed) report(before, now discovery.State) {
	post := func(event string, data map[string]any) {
		data["target"] = f.key
		bus.post(occurrence{event, f, data})
	}
	if f.whole == nil {
		f.reportRegistry(before, now, post)
	}
	if f.division == nil {
		eachNew(before.Endpoints, now.Endpoints, func(addr string) { post(eventEndpointAdded, map[string]any{"instance": addr}) })
		eachNew(now.Endpoints, before.Endpoints, func(addr string) { post(eventEndpointRemoved, map[string]any{"instance": addr}) })
	}
}

// reportRegistry posts what is new about the registry.
func (f *sharedFeed) reportRegistry(before, now discovery.State, post func(event string, data map[string]any)) {
	switch {
	case now.Err != nil && before.Err == nil:
		post(eventRegistryLost, map[string]any{"error": now.Err.Error(), "instances": len(now.Endpoints)})
	case now.Err == nil && before.Err != nil:
		post(eventRegistryRestored, map[string]any{"instances": len(now.Endpoints)})
	}
	if !now.Snapshot.IsZero() && before.Snapshot.IsZero() {
		post(eventSnapshotUsed, map[string]any{"instances": len(now.Endpoints), "saved": now.Snapshot.Format(time.RFC3339)})
	}
}

// eachNew visits each address that only the list b has, once.
func eachNew(a, b []discovery.Endpoint, visit func(addr string)) {
	if len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0]) {
		return // The list is the same. Something else has changed.
	}
	known := make(map[string]struct{}, len(a))
	for i := range a {
		known[a[i].Addr] = struct{}{}
	}
	for i := range b {
		if _, ok := known[b[i].Addr]; !ok {
			known[b[i].Addr] = struct{}{}
			visit(b[i].Addr)
		}
	}
}

// emit tells all subscribers through the events app of the config, one after the other.
func (a *App) emit(o *occurrence, labels []string) {
	defer func() {
		if v := recover(); v != nil { // A handler may be anybody's code.
			a.log.Error("a handler of an event panicked", zap.String("event", o.event), zap.Any("panic", v), zap.Stack("stack"))
		}
	}()
	for _, label := range labels {
		data := make(map[string]any, len(o.data)+1)
		for k, v := range o.data {
			// A service or a registry may have chosen a text, and handlers print it.
			if text, ok := v.(string); ok {
				v = discovery.Printable(text)
			}
			data[k] = v
		}
		if _, named := data["upstream"]; !named {
			data["upstream"] = label
		}
		a.events.Emit(a.origin, o.event, data)
	}
}

// eventOrigin is the module that events come from. They are emitted in its context. The app's own
// context could name another module: if a handler made Caddy load the app, the two contexts keep
// their modules in the same array, and what the handler loads next takes the app's place in it.
type eventOrigin struct{ ctx caddy.Context }

// CaddyModule returns the Caddy module information.
func (*eventOrigin) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "grpc_gateway.events",
		New: func() caddy.Module { return new(eventOrigin) },
	}
}

// Provision keeps the context.
func (o *eventOrigin) Provision(ctx caddy.Context) error {
	o.ctx = ctx
	return nil
}

// newEventOrigin makes a context for events that ends with the config's.
func newEventOrigin(config caddy.Context) (caddy.Context, error) {
	// The cancel function is not used: it would run what belongs to the end of the config.
	fresh, _ := caddy.NewContext(config)
	mod, err := fresh.LoadModuleByID("grpc_gateway.events", nil)
	if err != nil {
		return caddy.Context{}, err
	}
	return mod.(*eventOrigin).ctx, nil
}

// Interface guards.
var (
	_ caddy.Provisioner   = (*eventOrigin)(nil)
	_ caddyevents.Handler = startHandler{}
)
