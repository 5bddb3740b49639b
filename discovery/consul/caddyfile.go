package consul

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-grpc/gateway/discovery/caddyblock"
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
	block := caddyblock.Block{
		Directive: "discover", Kind: "consul", Expected: "one service, as in: discover consul user", Options: s.blockOptions(),
	}
	service, line, err := block.Unmarshal(d)
	if err != nil {
		return err
	}
	s.Service = service
	if err := s.check(s.Service); err != nil {
		return line.Errf("discover consul: %w", err)
	}
	return nil
}

// options are those of the block.
func (s *Source) blockOptions() map[string]caddyblock.Option {
	return map[string]caddyblock.Option{
		"address":    caddyblock.Text(&s.Address),
		"tag":        caddyblock.Texts(&s.Tags),
		"datacenter": caddyblock.Text(&s.Datacenter),
		"namespace":  caddyblock.Text(&s.Namespace),
		"partition":  caddyblock.Text(&s.Partition),
		"token":      caddyblock.Text(&s.Token),
		"tls": {Parse: func(d *caddyfile.Dispenser) (err error) {
			s.TLS, err = clienttls.Unmarshal(d)
			return err
		}},
		"hold": caddyblock.Hold(&s.Hold),
	}
}
