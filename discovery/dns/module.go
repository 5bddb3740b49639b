package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-grpc/gateway/discovery"
)

func init() {
	caddy.RegisterModule(new(Source))
}

// Source finds instances by DNS. It looks the name up again and again. When a lookup fails, the
// last addresses stay in use.
type Source struct {
	// The name and port of the service, host:port. Each A and AAAA record is an instance. Either
	// this or `srv` is required.
	Address string `json:"address,omitempty"`

	// The name of SRV records, such as `_grpc._tcp.user.internal`. The records with the lowest
	// priority number are used, with their ports and weights.
	SRV string `json:"srv,omitempty"`

	// The time between two lookups, with 10 % of jitter. After an error the wait is shorter. At
	// least 1s. Default: 30s.
	Refresh caddy.Duration `json:"refresh,omitempty"`

	refresh time.Duration
}

// CaddyModule returns the Caddy module information.
func (*Source) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.grpc_gateway.discovery.dns",
		New: func() caddy.Module { return new(Source) },
	}
}

// Provision checks the settings. It looks nothing up.
func (s *Source) Provision(caddy.Context) (err error) {
	if err := s.check(); err != nil {
		return err
	}
	s.refresh, err = checkRefresh(time.Duration(s.Refresh))
	return err
}

func (s *Source) check() error {
	switch {
	case (s.Address == "") == (s.SRV == ""):
		return errors.New("expected either an address (host:port) or the name of SRV records")
	case s.SRV != "":
		return checkService(s.SRV)
	}
	return discovery.CheckAddr(s.Address)
}

// ID implements discovery.Source.
func (s *Source) ID() string {
	if s.SRV != "" {
		return fmt.Sprintf("dns+srv:///%s?refresh=%v", s.SRV, s.refresh)
	}
	return fmt.Sprintf("dns:///%s?refresh=%v", s.Address, s.refresh)
}

// Watch implements discovery.Source.
func (s *Source) Watch(ctx context.Context, publish func(discovery.State)) {
	p := poller{resolver: net.DefaultResolver, refresh: s.refresh}
	if s.SRV != "" {
		p.lookup = lookupService(s.SRV)
	} else {
		host, port, err := net.SplitHostPort(s.Address)
		if err != nil { // Provision would have refused it
			publish(discovery.State{Err: err})
			<-ctx.Done()
			return
		}
		p.lookup = lookupHost(host, port)
	}
	p.run(ctx, publish)
}

// UnmarshalTarget implements discovery.TargetUnmarshaler:
//
//	dns:///user.internal:9001[?refresh=<duration>]
//	dns+srv:///_grpc._tcp.user.internal[?refresh=<duration>]
func (s *Source) UnmarshalTarget(t discovery.Target) error {
	if t.Authority != "" {
		return errors.New("expected three slashes before the name, as in dns:///user.internal:9001; a DNS server cannot be chosen")
	}
	if err := t.CheckQuery("refresh"); err != nil {
		return err
	}
	switch t.Scheme {
	case "dns":
		s.Address = t.Path
	case "dns+srv":
		s.SRV = t.Path
	default:
		return fmt.Errorf("expected the scheme dns or dns+srv, found %s", discovery.Excerpt(t.Scheme))
	}
	if values := t.Query["refresh"]; len(values) > 0 {
		if err := s.parseRefresh(values[0]); err != nil {
			return err
		}
	}
	return s.check()
}

func (s *Source) parseRefresh(text string) error {
	refresh, err := caddy.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("refresh: %w", err)
	}
	if refresh < minRefresh {
		return fmt.Errorf("expected a refresh of at least %v, found %s", minRefresh, text)
	}
	s.Refresh = caddy.Duration(refresh)
	return nil
}

// UnmarshalCaddyfile sets up the source from Caddyfile tokens. Syntax:
//
//	dns <host:port> {
//		refresh <duration>
//	}
//	dns+srv <name> {
//		refresh <duration>
//	}
//
// Both names are this module's; what comes after a "+" is for the module to understand.
func (s *Source) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	kind, field, example := d.Val(), &s.Address, "user.internal:9001"
	switch kind {
	case "dns":
	case "dns+srv":
		field, example = &s.SRV, "_grpc._tcp.user.internal"
	default:
		return d.Errf("discover %s: expected dns or dns+srv", kind)
	}
	if !d.AllArgs(field) {
		return d.Errf("expected one name, as in: discover %s %s", kind, example)
	}
	if err := s.check(); err != nil {
		return d.Errf("discover %s: %w", kind, err)
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		var text string
		switch name := d.Val(); {
		case name != "refresh":
			return d.Errf("unknown option %q of discover %s: expected refresh", name, kind)
		case s.Refresh != 0:
			return d.Errf("option refresh of discover %s is given twice", kind)
		case !d.AllArgs(&text):
			return d.ArgErr()
		}
		if err := s.parseRefresh(text); err != nil {
			return d.WrapErr(err)
		}
	}
	return nil
}

// Interface guards.
var (
	_ caddy.Provisioner           = (*Source)(nil)
	_ caddyfile.Unmarshaler       = (*Source)(nil)
	_ discovery.Source            = (*Source)(nil)
	_ discovery.TargetUnmarshaler = (*Source)(nil)
)
