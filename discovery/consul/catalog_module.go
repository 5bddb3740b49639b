package consul

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"github.com/hashicorp/consul/api"

	"github.com/caddy-grpc/gateway/discovery"
	"github.com/caddy-grpc/gateway/discovery/caddyblock"
)

func init() {
	caddy.RegisterModule(new(Catalog))
}

const (
	// defaultQueries is the default of Catalog.Queries.
	defaultQueries = 64
	maxQueries     = 10_000
)

// Catalog finds all services of a Consul datacenter. It keeps the last list through every outage of
// Consul. The page docs/catalog.md describes what the gateway does with it.
//
// It leaves out the service `consul`, at which Consul's servers talk to each other, and what the
// service mesh registers beside the services.
type Catalog struct {
	// The HTTP address of a Consul agent: `host:port`, or a Unix socket such as
	// `unix//run/consul.sock`. Placeholders such as `{env.HOST_IP}:8500` are resolved when the
	// config is loaded. Default: `127.0.0.1:8500`.
	Address string `json:"address,omitempty"`

	// The tags that an instance must have, all of them. Services without such an instance are not
	// followed, which saves queries. Default: none.
	Tags []string `json:"tags,omitempty"`

	// The maximum number of services that are followed by a query which blocks. Beyond that,
	// services take turns of a second. So a change of one of them may be seen later by one second
	// for each `queries` services. An agent takes 200 connections of one client address by default
	// (`http_max_conns_per_client`), and the gateway makes up to nine more than this. From 1 to
	// 10000. Default: 64.
	Queries int `json:"queries,omitempty"`

	// The datacenter to ask about. Default: the one of the agent.
	Datacenter string `json:"datacenter,omitempty"`

	// The namespace of the services, for Consul Enterprise. Default: the one of the token.
	Namespace string `json:"namespace,omitempty"`

	// The admin partition of the services, for Consul Enterprise. Default: the one of the agent.
	Partition string `json:"partition,omitempty"`

	// The ACL token. It needs `service:read` for the services and `node:read` for their nodes.
	// Services that it may not read are not there. It is written as for the source `consul`.
	// Default: the anonymous token.
	Token string `json:"token,omitempty"`

	// Secures the connection to Consul. The settings are those of `reverse_proxy`'s transport. An
	// empty object means TLS with the system's trusted certificates. Default: no TLS.
	TLS *reverseproxy.TLSConfig `json:"tls,omitempty"`

	// How long a mass disappearance of the instances of a service is doubted, and the loss of its
	// last one: see the field of the source `consul`. Default: 60s. Negative: Consul is believed at
	// once.
	Hold caddy.Duration `json:"hold,omitempty"`

	source Source // with the resolved settings
}

// CaddyModule returns the Caddy module information.
func (*Catalog) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.grpc_gateway.catalogs.consul",
		New: func() caddy.Module { return new(Catalog) },
	}
}

// Provision checks the settings, resolves placeholders and loads certificates. It connects to
// nothing.
func (c *Catalog) Provision(ctx caddy.Context) error {
	if err := c.check(); err != nil {
		return err
	}
	c.source = Source{
		Address: c.Address, Tags: c.Tags, Datacenter: c.Datacenter, Namespace: c.Namespace, Partition: c.Partition,
		Token: c.Token, TLS: c.TLS, Hold: c.Hold, queries: c.queries(),
	}
	return c.source.provision(ctx)
}

// check checks what can be checked before placeholders are resolved.
func (c *Catalog) check() error {
	if c.Queries < 0 || c.Queries > maxQueries {
		return fmt.Errorf("queries %d: expected a number from 1 to %d", c.Queries, maxQueries)
	}
	return (&Source{Tags: c.Tags}).checkTags()
}

// queries is Queries, or its default.
func (c *Catalog) queries() int {
	if c.Queries == 0 {
		return defaultQueries
	}
	return c.Queries
}

// ID implements discovery.Source.
func (c *Catalog) ID() string { return c.source.ID() }

// Watch implements discovery.Source. The connections to Consul belong to the watch, which may
// outlive the config.
func (c *Catalog) Watch(ctx context.Context, publish func(discovery.State)) {
	s := &c.source
	client, done, err := s.client(c.queries() + firstReads + 1)
	if err != nil {
		publish(discovery.State{Err: err, Hold: s.hold()})
		<-ctx.Done()
		return
	}
	defer done()
	run := newCatalog(registry{
		services: func(ctx context.Context, index uint64, wait time.Duration) (map[string][]string, *api.QueryMeta, error) {
			return client.Catalog().Services(s.options(ctx, index, wait))
		},
		instances: func(ctx context.Context, service string, index uint64, wait time.Duration) ([]*api.ServiceEntry, *api.QueryMeta, error) {
			// All instances are asked for, so that those that fail their checks are shown.
			return client.Health().ServiceMultipleTags(service, s.Tags, false, s.options(ctx, index, wait))
		},
	}, s.Tags, c.queries())
	run.state.Hold = s.hold()
	run.run(ctx, publish)
}

// UnmarshalCaddyfile sets up the catalog from Caddyfile tokens. Syntax:
//
//	consul [<address>] {
//		tag        <tag>...
//		queries    <n>
//		datacenter <name>
//		namespace  <name>
//		partition  <name>
//		token      <token>
//		tls        { ... }
//		hold       <duration> | off
//	}
//
// The block is a part of the block of `catalog`, which takes its own options out.
func (c *Catalog) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	var s Source
	block := caddyblock.Block{Directive: "catalog", Kind: "consul", Expected: "one address of a Consul agent at most", Optional: true, Options: s.blockOptions()}
	delete(block.Options, "address") // It is the argument.
	block.Options["queries"] = caddyblock.Option{Parse: c.unmarshalQueries}
	address, line, err := block.Unmarshal(d)
	if err != nil {
		return err
	}
	c.Address, c.Tags, c.Datacenter, c.Namespace, c.Partition = address, s.Tags, s.Datacenter, s.Namespace, s.Partition
	c.Token, c.TLS, c.Hold = s.Token, s.TLS, s.Hold
	if err := c.check(); err != nil {
		return line.Errf("catalog consul: %w", err)
	}
	return nil
}

func (c *Catalog) unmarshalQueries(d *caddyfile.Dispenser) (err error) {
	var value string
	if !d.AllArgs(&value) {
		return d.ArgErr()
	}
	if c.Queries, err = strconv.Atoi(value); err != nil || c.Queries < 1 || c.Queries > maxQueries {
		return d.Errf("queries %s: expected a number from 1 to %d", discovery.Excerpt(value), maxQueries)
	}
	return nil
}

// Interface guards.
var (
	_ caddy.Provisioner     = (*Catalog)(nil)
	_ caddyfile.Unmarshaler = (*Catalog)(nil)
	_ discovery.Catalog     = (*Catalog)(nil)
)
