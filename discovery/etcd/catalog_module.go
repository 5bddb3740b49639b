package etcd

import (
	"context"
	"fmt"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-grpc/gateway/discovery"
	"github.com/caddy-grpc/gateway/discovery/caddyblock"
)

func init() {
	caddy.RegisterModule(new(Catalog))
}

// Catalog finds all services that register under a prefix in etcd, with one watch. It keeps the
// last list through every outage of etcd. The page docs/catalog.md describes what the gateway does
// with it.
type Catalog struct {
	// The name of a cluster in the app grpc_gateway. Default: `default`, unless `endpoints` are
	// given.
	Cluster string `json:"cluster,omitempty"`

	// The members of a cluster that needs no other settings. This replaces `cluster`.
	Endpoints []string `json:"endpoints,omitempty"`

	// The keys to watch: everything under this prefix and a slash. `/` is all of etcd or, with the
	// layouts kratos, kitex and micro, everything under the base that these use in etcd.
	// Placeholders such as `{env.STAGE}` are resolved when the config is loaded. Required.
	Prefix string `json:"prefix,omitempty"`

	// How services register: `auto`, `gozero`, `etcd`, `kratos`, `kitex`, `micro` or `plain`.
	// Default: `auto`, which recognises each entry by its value. In all of them the service is the
	// part of the key between the prefix and the last slash.
	Layout string `json:"layout,omitempty"`

	// How long a mass disappearance of the instances of a service is doubted, and the loss of its
	// last one: see the field of the source `etcd`. Default: 60s. Negative: etcd is believed at
	// once.
	Hold caddy.Duration `json:"hold,omitempty"`

	source Source // with the resolved settings
}

// CaddyModule returns the Caddy module information.
func (*Catalog) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.grpc_gateway.catalogs.etcd",
		New: func() caddy.Module { return new(Catalog) },
	}
}

// Provision resolves the cluster's name. It connects to nothing.
func (c *Catalog) Provision(ctx caddy.Context) error {
	c.source = Source{Cluster: c.Cluster, Endpoints: c.Endpoints, Hold: c.Hold}
	if err := c.source.Validate(); err != nil {
		return err
	}
	cluster, err := c.source.cluster(ctx)
	if err != nil {
		return err
	}
	c.source.settings = cluster.settings
	if c.source.layout, err = ParseLayout(c.Layout); err != nil {
		return err
	}
	prefix, err := caddy.NewReplacer().ReplaceOrErr(c.Prefix, true, true)
	if err != nil {
		return fmt.Errorf("prefix: %w", err)
	}
	c.source.prefix, err = c.source.layout.CatalogPrefix(prefix)
	return err
}

// ID implements discovery.Source.
func (c *Catalog) ID() string { return c.source.ID() }

// Watch implements discovery.Source. The client belongs to the watch, which may outlive the config.
func (c *Catalog) Watch(ctx context.Context, publish func(discovery.State)) {
	c.source.watch(ctx, publish, func(t *table) { t.catalog = true })
}

// LogsTrouble implements discovery.LogsTrouble.
func (*Catalog) LogsTrouble() {}

// UnmarshalCaddyfile sets up the catalog from Caddyfile tokens. Syntax:
//
//	etcd <prefix> {
//		cluster   <name>
//		endpoints <host:port>...
//		layout    auto | gozero | etcd | kratos | kitex | micro | plain
//		hold      <duration> | off
//	}
//
// The block is a part of the block of `catalog`, which takes its own options out.
func (c *Catalog) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	block := caddyblock.Block{
		Directive: "catalog", Kind: "etcd", Expected: "one prefix, as in: catalog fleet etcd /microservices",
		Options: map[string]caddyblock.Option{
			"cluster":   caddyblock.Text(&c.Cluster),
			"endpoints": {Parse: c.unmarshalEndpoints},
			"layout":    {Parse: c.unmarshalLayout},
			"hold":      caddyblock.Hold(&c.Hold),
		},
	}
	prefix, line, err := block.Unmarshal(d)
	if err != nil {
		return err
	}
	c.Prefix = prefix
	if _, err := LayoutAuto.CatalogPrefix(c.Prefix); err != nil {
		return line.WrapErr(err)
	}
	if c.Cluster != "" && len(c.Endpoints) > 0 {
		return line.Err("catalog etcd: expected either cluster or endpoints, found both")
	}
	return nil
}

func (c *Catalog) unmarshalEndpoints(d *caddyfile.Dispenser) error {
	if err := caddyblock.Texts(&c.Endpoints).Parse(d); err != nil {
		return err
	}
	if _, err := checkEndpoints(c.Endpoints, false); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

func (c *Catalog) unmarshalLayout(d *caddyfile.Dispenser) error {
	if err := caddyblock.Text(&c.Layout).Parse(d); err != nil {
		return err
	}
	if _, err := ParseLayout(c.Layout); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

// Interface guards.
var (
	_ caddy.Provisioner     = (*Catalog)(nil)
	_ caddyfile.Unmarshaler = (*Catalog)(nil)
	_ discovery.Catalog     = (*Catalog)(nil)
	_ discovery.LogsTrouble = (*Catalog)(nil)
)
