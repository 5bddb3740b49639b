package module

import (
	"context"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"go.uber.org/zap"

	"github.com/caddy-grpc/gateway/discovery/etcd"
)

// appName is the name of the app, of the directive and of the global option of the Caddyfile.
const appName = "grpc_gateway"

func init() {
	caddy.RegisterModule(new(App))
	caddy.RegisterModule(new(Handler))
	caddy.RegisterModule(new(GRPCError))
	caddy.RegisterModule(new(Status))
	caddy.RegisterModule(new(MatchGRPCMethod))
	caddy.RegisterModule(new(adminAPI))
	caddy.RegisterModule(new(eventOrigin))
}

// App holds what handlers share: registries and upstreams. It exists even if the config does not
// mention it, because handlers register their own upstreams with it.
//
// Upstreams outlive configs. A reload that does not change how an upstream connects keeps its
// connections.
type App struct {
	// The etcd clusters by name, which `etcd` sources of instances refer to. A source that names
	// none refers to `default`. Default: none.
	Etcd map[string]*etcd.Cluster `json:"etcd,omitempty"`

	// The upstreams by name, which handlers refer to. They are connected even if no handler does.
	// Default: none.
	Upstreams map[string]*Upstream `json:"upstreams,omitempty"`

	// The catalogs by name: registries whose services become upstreams by themselves. Handlers
	// refer to them. Default: none.
	Catalogs map[string]*Catalog `json:"catalogs,omitempty"`

	ctx       caddy.Context
	log       *zap.Logger
	catalogs  []*catalog           // by name
	upstreams map[string]*upstream // those of Upstreams
	inline    []*upstream          // those that handlers define
	handlers  []*Handler
	events    *caddyevents.App
	origin    caddy.Context // the context of events

	// releases give back the references on shared values. They are in the order of acquisition.
	releases []func()
	// starting ends when Start has ended, or will not be called any more. started ends it.
	starting context.Context
	started  context.CancelFunc
}

// exitGrace is how much longer than the drain timeout the exit of the process waits for connections
// and watches to close.
const exitGrace = 5 * time.Second

// CaddyModule returns the Caddy module information.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  appName,
		New: func() caddy.Module { return new(App) },
	}
}

// Provision makes the upstreams, without network I/O. They start with the app.
func (a *App) Provision(ctx caddy.Context) error {
	a.ctx = ctx
	a.log = printable(ctx.Logger())
	a.starting, a.started = context.WithCancel(context.Background())
	if err := registerMetrics(ctx.GetMetricsRegistry()); err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	if err := a.followEvents(); err != nil {
		return err
	}
	if err := a.followExit(); err != nil {
		return err
	}
	if err := a.provisionEtcd(ctx); err != nil {
		return err
	}
	a.upstreams = make(map[string]*upstream, len(a.Upstreams))
	for _, name := range sortedKeys(a.Upstreams) {
		u := a.Upstreams[name]
		if u == nil {
			return fmt.Errorf("upstream %q: expected an object", name)
		}
		opened, err := a.open(ctx, name, u)
		if err != nil {
			return fmt.Errorf("upstream %q: %w", name, err)
		}
		a.upstreams[name] = opened
	}
	return a.provisionCatalogs(ctx)
}

// provisionCatalogs makes the catalogs, without network I/O.
func (a *App) provisionCatalogs(ctx caddy.Context) error {
	for _, name := range sortedKeys(a.Catalogs) {
		config := a.Catalogs[name]
		if config == nil {
			return fmt.Errorf("catalog %q: expected an object", name)
		}
		c, err := openCatalog(ctx, name, config)
		if err != nil {
			return fmt.Errorf("catalog %q: %w", name, err)
		}
		a.catalogs = append(a.catalogs, c)
		a.releases = append(a.releases, c.close)
	}
	return nil
}

// catalog returns the catalog with this name, or nil.
func (a *App) catalog(name string) *catalog {
	for _, c := range a.catalogs {
		if c.name == name {
			return c
		}
	}
	return nil
}

// provisionEtcd resolves the secrets of the clusters and loads their certificates.
func (a *App) provisionEtcd(ctx caddy.Context) error {
	for _, name := range sortedKeys(a.Etcd) {
		c := a.Etcd[name]
		if c == nil {
			return fmt.Errorf("etcd cluster %q: expected an object", name)
		}
		if err := c.Provision(ctx); err != nil {
			return fmt.Errorf("etcd cluster %q: %w", name, err)
		}
	}
	return nil
}

// EtcdCluster implements etcd.ClusterProvider.
func (a *App) EtcdCluster(name string) (*etcd.Cluster, error) {
	c, ok := a.Etcd[name]
	if !ok {
		return nil, fmt.Errorf("there is no etcd cluster named %[1]q: define it with the global option grpc_gateway { etcd %[1]s { endpoints ... } }, "+
			"in JSON apps/grpc_gateway/etcd/%[1]s", name)
	}
	return c, nil
}

// open makes the run-time form of an upstream. Cleanup gives back what it acquires.
func (a *App) open(ctx caddy.Context, name string, config *Upstream) (*upstream, error) {
	u, err := openUpstream(ctx, name, config, func(release func()) { a.releases = append(a.releases, release) })
	if err != nil {
		return nil, err
	}
	if u.requireReady > 0 {
		u.starting = a.starting
	}
	if _, ok := a.Upstreams[name]; !ok {
		a.inline = append(a.inline, u)
	}
	return u, nil
}

// all returns the upstreams of the app and its handlers: first the named ones, by name. The last
// ones are those that catalogs have now.
func (a *App) all() []*upstream {
	all := make([]*upstream, 0, len(a.upstreams)+len(a.inline))
	for _, name := range sortedKeys(a.upstreams) {
		all = append(all, a.upstreams[name])
	}
	all = append(all, a.inline...)
	for _, c := range a.catalogs {
		all = append(all, c.upstreams()...)
	}
	return all
}

// Start begins to watch, to connect and to read schemas, for what is new in this config. It returns
// at once unless an upstream has require_ready.
func (a *App) Start() error {
	defer a.started()
	all := a.all()
	labelUpstreams(all)
	a.applySnapshots()
	a.applyListeners()
	bus.begin(a)
	for _, u := range all {
		u.start()
	}
	for _, c := range a.catalogs {
		c.start(func() { bus.relabel(a) })
	}
	for _, h := range a.handlers {
		h.routing.start()
		h.description.start()
	}
	if err := a.waitReady(all); err != nil {
		return err
	}
	running.add(a)
	return nil
}

// Stop leaves everything running. When Cleanup gives back the references, what no later config
// refers to ends. By then the HTTP servers have stopped.
func (a *App) Stop() error {
	running.remove(a)
	bus.end(a)
	return nil
}

// Cleanup gives back the references on shared values. A value that nobody else holds ends in the
// background, after the calls in flight. If the process exits, Cleanup waits for that, within
// limits. By then the HTTP servers have waited for their requests.
func (a *App) Cleanup() error {
	if a.started != nil {
		a.started()
	}
	running.remove(a)
	bus.end(a)
	for _, h := range a.handlers {
		h.routing.stop()
		h.description.stop()
	}
	limit := exitGrace
	for _, u := range a.all() {
		limit = max(limit, u.channel.drainTimeout()+exitGrace)
	}
	exiting := caddy.Exiting()
	if exiting { // The channels of earlier reloads linger for late calls, and none will come.
		for _, c := range draining.all() {
			leaving.run(func() { c.cut(c.drainTimeout()) })
		}
	}
	for i := len(a.releases) - 1; i >= 0; i-- {
		a.releases[i]()
	}
	a.releases = nil
	if !exiting {
		if present := running.newest(); present != nil { // This app may have failed to start.
			present.applySnapshots()
			present.applyListeners()
		}
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if err := leaving.wait(ctx); err != nil {
		return fmt.Errorf("waiting for upstreams to close: %w", err)
	}
	return nil
}

// Interface guards.
var (
	_ caddy.App            = (*App)(nil)
	_ caddy.Provisioner    = (*App)(nil)
	_ caddy.CleanerUpper   = (*App)(nil)
	_ etcd.ClusterProvider = (*App)(nil)
)
