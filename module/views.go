package module

import (
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-grpc/gateway/discovery"
	"github.com/caddy-grpc/gateway/internal/pool"
	"github.com/caddy-grpc/gateway/internal/routes"
)

// UpstreamView is an upstream as the admin API shows it. Its JSON is public.
type UpstreamView struct {
	Name string `json:"name"`
	// Target is the ID of the source of its instances.
	Target string `json:"target"`
	// Key names the pool of connections. Upstreams with equal keys share a pool, and the pool
	// outlives a reload that does not change the key.
	Key string `json:"key"`
	// Generations is the number of users of the pool: upstreams of the config in force, and during
	// a reload those of the config before, and the schema if it is read by reflection. 0 means that
	// the pool drains.
	Generations int          `json:"generations"`
	Registry    RegistryView `json:"registry"`
	// Refused are the instances that are not connected because of their address.
	Refused []RefusedView `json:"refused,omitempty"`
	Schema  SchemaView    `json:"schema,omitzero"`
	pool.Snapshot
}

// RegistryView is the state of a source of instances.
type RegistryView struct {
	// Synced is true once a complete list was obtained.
	Synced bool `json:"synced"`
	// Stale is true if the list may be out of date: the registry cannot be reached, or has no
	// quorum.
	Stale bool `json:"stale"`
	// Snapshot is when the list was saved, if it is the one on disk. The registry has not answered
	// since the start.
	Snapshot    *time.Time    `json:"snapshot,omitempty"`
	Revision    int64         `json:"revision,omitempty"`
	LastContact *time.Time    `json:"last_contact,omitempty"`
	Error       string        `json:"error,omitempty"`
	Instances   int           `json:"instances"`
	Skipped     []SkippedView `json:"skipped,omitempty"`
}

// SkippedView is an entry of the registry that could not be used.
type SkippedView struct {
	ID     string `json:"id"`
	Reason string `json:"reason"`
}

// HandlerView is what one handler does, as the admin API shows it. Its JSON is public.
type HandlerView struct {
	Upstreams []string `json:"upstreams"`
	// Pending says why not all routes are known yet, in the words that clients get.
	Pending string `json:"pending,omitempty"`
	// PendingUpstreams are the upstreams whose schema is not known.
	PendingUpstreams []PendingView `json:"pending_upstreams,omitempty"`
	Routes           []RouteView   `json:"routes"`
	Problems         []Problem     `json:"problems,omitempty"`
}

// PendingView is an upstream whose schema is not known. While there is one, a path that it may have
// is answered with 503 instead of 404. Its JSON is public.
type PendingView struct {
	Upstream string `json:"upstream"`
	// Since is when the gateway began to look for the schema.
	Since time.Time `json:"since"`
	// Reason is why the last attempt to read it failed.
	Reason string `json:"reason"`
}

// RouteView is one way to reach a method, as the admin API shows it. Its JSON is public.
type RouteView = routes.View

// Problem is something in routes or schemas that does not work as it is written. Its JSON is
// public.
type Problem = routes.Problem

// view returns the upstream as operators see it.
func (u *upstream) view() UpstreamView {
	generations, _ := channels.References(u.channel.key)
	snapshot, ok := u.channel.snapshot()
	if !ok || snapshot.Endpoints == nil {
		snapshot.Endpoints = []pool.EndpointSnapshot{}
	}
	registry := u.feed.state()
	if u.feed.whole != nil { // It is not told when nothing but this changes.
		whole := u.feed.whole.state()
		registry.LastContact, registry.Revision = whole.LastContact, whole.Revision
	}
	return UpstreamView{
		Name:        u.label(),
		Target:      u.feed.key,
		Key:         hash(u.channel.key)[:16],
		Generations: generations,
		Registry:    registryView(registry),
		Refused:     u.channel.admission.views(),
		Schema:      u.schema.view(),
		Snapshot:    snapshot,
	}
}

// isStale reports whether a list may be out of date.
func isStale(s discovery.State) bool { return s.Stale || s.Synced && s.Err != nil }

func registryView(s discovery.State) RegistryView {
	v := RegistryView{
		Synced:    s.Synced,
		Stale:     isStale(s),
		Revision:  s.Revision,
		Instances: len(s.Endpoints),
	}
	if !s.Snapshot.IsZero() {
		v.Snapshot = &s.Snapshot
	}
	if !s.LastContact.IsZero() {
		v.LastContact = &s.LastContact
	}
	if s.Err != nil {
		v.Error = s.Err.Error()
	}
	for _, skipped := range s.Skipped {
		v.Skipped = append(v.Skipped, SkippedView(skipped))
	}
	return v
}

// upstreamViews returns the upstreams of the config in force, each once, and pools of earlier
// configs that still drain.
func (a *App) upstreamViews() []UpstreamView {
	views := []UpstreamView{}
	seen := make(map[string]bool)
	for _, u := range a.all() {
		if label := u.label(); !seen[label] {
			seen[label] = true
			views = append(views, u.view())
		}
	}
	for _, c := range draining.all() {
		if snapshot, ok := c.snapshot(); ok {
			views = append(views, UpstreamView{
				Name: c.name, Target: c.feed.key, Key: hash(c.key)[:16], Registry: registryView(c.feed.state()),
				Refused: c.admission.views(), Snapshot: snapshot,
			})
		}
	}
	return views
}

// handlerViews returns the handlers of the config, in the order in which Caddy made them.
func (a *App) handlerViews() []HandlerView {
	views := []HandlerView{}
	for _, h := range a.handlers {
		views = append(views, h.routing.view())
	}
	return views
}

func (r *routing) view() HandlerView {
	t := r.table.Load()
	v := HandlerView{Pending: t.Pending, Routes: t.Views, Problems: t.Problems}
	if v.Routes == nil {
		v.Routes = []RouteView{}
	}
	for _, m := range t.members {
		v.Upstreams = append(v.Upstreams, m.label)
		if m.catalog != nil {
			v.PendingUpstreams = append(v.PendingUpstreams, PendingView{Upstream: m.label, Since: m.catalog.opened, Reason: m.catalog.trouble()})
			continue
		}
		if m.schema == nil {
			v.PendingUpstreams = append(v.PendingUpstreams, m.upstream.schema.pendingView(m.label))
		}
	}
	return v
}

// routesOf provisions a config for the command line, without starting it, and returns its handlers.
func routesOf(config *caddy.Config) ([]HandlerView, error) {
	app, err := provisioned(config)
	if err != nil {
		return nil, err
	}
	views := app.handlerViews()
	return views, app.Cleanup()
}

// provisioned makes the app of a config for the command line. It does not start. The caller must
// clean it up.
func provisioned(config *caddy.Config) (*App, error) {
	ctx, err := caddy.ProvisionContext(config)
	if err != nil {
		return nil, err
	}
	app, err := ctx.App(appName)
	if err != nil {
		return nil, err
	}
	return app.(*App), nil
}
