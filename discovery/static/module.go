package static

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-grpc/gateway/discovery"
)

func init() {
	caddy.RegisterModule(new(Source))
}

// Source is a fixed list of instances.
type Source struct {
	// The instances, each `host:port` or a Unix socket: `unix//run/user.sock` by its absolute path,
	// or `unix/@user` for an abstract one on Linux. `unix+h2c/` means the same as `unix/`. A host
	// name is one instance, which each connection resolves. Required.
	Addresses []string `json:"addresses,omitempty"`

	state discovery.State
}

// CaddyModule returns the Caddy module information.
func (*Source) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.grpc_gateway.discovery.static",
		New: func() caddy.Module { return new(Source) },
	}
}

// Provision checks the addresses.
func (s *Source) Provision(caddy.Context) (err error) {
	s.state, err = state(s.Addresses)
	return err
}

// ID implements discovery.Source. The order of the addresses does not matter.
func (s *Source) ID() string {
	addresses := make([]string, len(s.state.Endpoints))
	for i, e := range s.state.Endpoints {
		addresses[i] = e.Addr
	}
	return "static:///" + strings.Join(addresses, ",")
}

// Watch implements discovery.Source. The only state never changes.
func (s *Source) Watch(ctx context.Context, publish func(discovery.State)) {
	publish(s.state)
	<-ctx.Done()
}

// Fixed implements discovery.Fixed.
func (*Source) Fixed() {}

// UnmarshalTarget implements discovery.TargetUnmarshaler:
//
//	static:///10.0.0.1:9001,10.0.0.2:9001
//	static:///unix//run/a.sock,unix//run/b.sock
func (s *Source) UnmarshalTarget(t discovery.Target) error {
	if t.Scheme != "static" {
		return fmt.Errorf("expected the scheme static, found %s", discovery.Excerpt(t.Scheme))
	}
	if t.Authority != "" {
		return errors.New("expected three slashes before the addresses, as in static:///10.0.0.1:9001,10.0.0.2:9001")
	}
	if err := t.CheckQuery(); err != nil {
		return err
	}
	addresses, err := splitAddrs(t.Path)
	s.Addresses = addresses
	return err
}

// UnmarshalCaddyfile sets up the source from Caddyfile tokens. Syntax:
//
//	static <host:port or unix//path>...
func (s *Source) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if kind := d.Val(); kind != "static" {
		return d.Errf("discover %s: expected static", kind)
	}
	s.Addresses = d.RemainingArgs()
	if _, err := state(s.Addresses); err != nil {
		return d.Errf("discover static: %w", err)
	}
	if d.NextBlock(d.Nesting()) {
		return d.Errf("unknown option %q: discover static has none", d.Val())
	}
	return nil
}

// Interface guards.
var (
	_ caddy.Provisioner           = (*Source)(nil)
	_ caddyfile.Unmarshaler       = (*Source)(nil)
	_ discovery.Fixed             = (*Source)(nil)
	_ discovery.Source            = (*Source)(nil)
	_ discovery.TargetUnmarshaler = (*Source)(nil)
)
