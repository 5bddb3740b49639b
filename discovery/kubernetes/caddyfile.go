package kubernetes

import "github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

// UnmarshalCaddyfile sets up the source from Caddyfile tokens. Syntax:
//
//	kubernetes <namespace>/<service>[:<port>] {
//		kubeconfig <file>
//		context    <name>
//		hold       <duration> | off
//	}
func (s *Source) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if kind := d.Val(); kind != "kubernetes" {
		return d.Errf("discover %s: expected kubernetes", kind)
	}
	var name, hold string
	if !d.AllArgs(&name) {
		return d.Err("expected one service, as in: discover kubernetes shop/user:grpc")
	}
	if err := s.parseName(name); err != nil {
		return d.Errf("discover kubernetes: %w", err)
	}
	line := *d // for errors about the block as a whole
	options := map[string]*string{"kubeconfig": &s.Kubeconfig, "context": &s.Context, "hold": &hold}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option := d.Val()
		field, ok := options[option]
		switch {
		case !ok:
			return d.Errf("unknown option %q of discover kubernetes: expected context, hold or kubeconfig", option)
		case *field != "":
			return d.Errf("option %s of discover kubernetes is given twice", option)
		case !d.AllArgs(field) || *field == "":
			return d.ArgErr()
		}
		if option == "hold" {
			var err error
			if s.Hold, err = parseHold(hold); err != nil {
				return d.WrapErr(err)
			}
		}
	}
	if err := s.check(); err != nil {
		return line.Errf("discover kubernetes: %w", err)
	}
	return nil
}
