package kubernetes

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-grpc/gateway/discovery/caddyblock"
)

// UnmarshalCaddyfile sets up the source from Caddyfile tokens. Syntax:
//
//	kubernetes <namespace>/<service>[:<port>] {
//		kubeconfig <file>
//		context    <name>
//		hold       <duration> | off
//	}
func (s *Source) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	block := caddyblock.Block{
		Directive: "discover", Kind: "kubernetes", Expected: "one service, as in: discover kubernetes shop/user:grpc",
		Options: map[string]caddyblock.Option{
			"kubeconfig": caddyblock.Text(&s.Kubeconfig), "context": caddyblock.Text(&s.Context), "hold": caddyblock.Hold(&s.Hold),
		},
	}
	name, line, err := block.Unmarshal(d)
	if err != nil {
		return err
	}
	if err := s.parseName(name); err != nil {
		return line.Errf("discover kubernetes: %w", err)
	}
	if err := s.check(); err != nil {
		return line.Errf("discover kubernetes: %w", err)
	}
	return nil
}
