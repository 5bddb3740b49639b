package consul

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-grpc/gateway/discovery/clienttls"
)

// UnmarshalCaddyfile sets up the source from Caddyfile tokens. Syntax:
//
//	consul <service> {
//		address    <host:port or unix//path>
//		tag        <tag>...
//		datacenter <name>
//		namespace  <name>
//		partition  <name>
//		token      <token>
//		tls        { ... }
//		hold       <duration> | off
//	}
func (s *Source) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if kind := d.Val(); kind != "consul" {
		return d.Errf("discover %s: expected consul", kind)
	}
	if !d.AllArgs(&s.Service) {
		return d.Err("expected one service, as in: discover consul user")
	}
	line := *d // for errors about the block as a whole
	seen := make(map[string]bool)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		if seen[name] && name != "tag" {
			return d.Errf("option %s of discover consul is given twice", name)
		}
		seen[name] = true
		if err := s.unmarshalOption(d); err != nil {
			return err
		}
	}
	if err := s.check(s.Service); err != nil {
		return line.Errf("discover consul: %w", err)
	}
	return nil
}

// unmarshalOption parses one option. The dispenser is at its name.
func (s *Source) unmarshalOption(d *caddyfile.Dispenser) (err error) {
	texts := map[string]*string{
		"address": &s.Address, "datacenter": &s.Datacenter, "namespace": &s.Namespace, "partition": &s.Partition, "token": &s.Token,
	}
	name := d.Val()
	switch field := texts[name]; {
	case field != nil:
		if !d.AllArgs(field) || *field == "" {
			return d.ArgErr()
		}
	case name == "tag":
		tags := d.RemainingArgs()
		if len(tags) == 0 {
			return d.ArgErr()
		}
		s.Tags = append(s.Tags, tags...)
	case name == "tls":
		s.TLS, err = clienttls.Unmarshal(d)
	case name == "hold":
		var value string
		if !d.AllArgs(&value) {
			return d.ArgErr()
		}
		if s.Hold, err = parseHold(value); err != nil {
			return d.WrapErr(err)
		}
	default:
		return d.Errf("unknown option %q of discover consul: expected address, datacenter, hold, namespace, partition, tag, tls or token", name)
	}
	return err
}
