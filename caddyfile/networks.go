package caddyfile

import (
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-grpc/gateway/module"
)

// parseNetworks parses
//
//	networks {
//		allow <range>...
//		deny  <range>...
//	}
//
// A range is a CIDR range, an IP address, or private_ranges, which means the same as in Caddy's
// matcher remote_ip.
func parseNetworks(d *dispenser, u *module.Upstream) error {
	const syntax = "a block with allow and deny"
	if _, err := args(d, 0, 0, syntax); err != nil {
		return err
	}
	line := *d
	n := new(module.Networks)
	opts := options{"allow": ranges(&n.Allow), "deny": ranges(&n.Deny)}
	if err := opts.parse(d, "networks", "allow", "deny"); err != nil {
		return err
	}
	if len(n.Allow)+len(n.Deny) == 0 {
		return line.Errf("networks: expected %s", syntax)
	}
	u.Networks = n
	return nil
}

func ranges(to *[]string) option {
	return func(d *dispenser) error {
		got, err := args(d, 1, anyNumber, "at least one range such as 10.0.0.0/8, or private_ranges")
		for _, text := range got {
			if text == "private_ranges" {
				*to = append(*to, caddyhttp.PrivateRangesCIDR()...)
			} else {
				*to = append(*to, text)
			}
		}
		return err
	}
}
