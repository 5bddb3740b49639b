package etcd

import (
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-grpc/gateway/discovery/clienttls"
)

// ClusterOptions returns the names of the options that UnmarshalOption knows.
func ClusterOptions() []string {
	return []string{"dial_timeout", "endpoints", "keepalive", "tls", "user"}
}

// UnmarshalOption sets one option of the cluster from Caddyfile tokens. The dispenser is at its
// name, which is one of ClusterOptions:
//
//	endpoints    <host:port>...
//	user         <name> <password>
//	tls          { ... }
//	dial_timeout <duration>
//	keepalive    <time> [<timeout>]
func (c *Cluster) UnmarshalOption(d *caddyfile.Dispenser) (err error) {
	name := d.Val()
	if name == "tls" {
		c.TLS, err = clienttls.Unmarshal(d)
		return err
	}
	args := d.RemainingArgs()
	switch {
	case name == "endpoints" && len(args) > 0:
		c.Endpoints = args
	case name == "user" && len(args) == 2:
		c.Username, c.Password = args[0], args[1]
	case name == "dial_timeout" && len(args) == 1:
		return parseDurations(d, name, args, &c.DialTimeout)
	case name == "keepalive" && (len(args) == 1 || len(args) == 2):
		return parseDurations(d, name, args, &c.KeepaliveTime, &c.KeepaliveTimeout)
	default:
		return d.Errf("%s: expected %s", name, map[string]string{
			"endpoints":    "at least one host:port",
			"user":         "<name> <password>",
			"dial_timeout": "a duration, such as 5s",
			"keepalive":    "<time> [<timeout>]",
		}[name])
	}
	return nil
}

// parseDurations parses each argument into the field at its place.
func parseDurations(d *caddyfile.Dispenser, name string, args []string, to ...*caddy.Duration) error {
	for i, field := range to {
		if i == len(args) {
			break
		}
		duration, err := caddy.ParseDuration(args[i])
		if err != nil || duration <= 0 {
			return d.Errf("%s %q: expected a duration above 0, such as 5s", name, args[i])
		}
		*field = caddy.Duration(duration)
	}
	return nil
}

// UnmarshalCaddyfile sets up the source from Caddyfile tokens. Syntax:
//
//	etcd <key> {
//		cluster <name>
//		layout  auto | gozero | etcd | kratos | kitex | micro | plain
//		hold    <duration> | off
//
//		endpoints <host:port>... // with the other options of a cluster, in the place of its name
//	}
func (s *Source) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if kind := d.Val(); kind != "etcd" {
		return d.Errf("discover %s: expected etcd", kind)
	}
	if !d.AllArgs(&s.Key) {
		return d.Err("expected one key, as in: discover etcd user.rpc")
	}
	line := *d // for errors about the block as a whole
	own := new(Cluster)
	options := map[string]option{
		"cluster": text(&s.Cluster),
		"layout":  text(&s.Layout),
		"hold": func(d *caddyfile.Dispenser) (err error) {
			var value string
			if err := text(&value)(d); err != nil {
				return err
			}
			if s.Hold, err = parseHold(value); err != nil {
				return d.WrapErr(err)
			}
			return nil
		},
	}
	for _, name := range ClusterOptions() {
		options[name] = own.UnmarshalOption
	}
	if err := unmarshalOptions(d, options); err != nil {
		return err
	}
	s.Endpoints, s.Username, s.Password, s.TLS = own.Endpoints, own.Username, own.Password, own.TLS
	s.DialTimeout, s.KeepaliveTime, s.KeepaliveTimeout = own.DialTimeout, own.KeepaliveTime, own.KeepaliveTimeout
	if _, err := ParseLayout(s.Layout); err != nil {
		return line.WrapErr(err)
	}
	if _, err := LayoutAuto.Prefix(s.Key); err != nil {
		return line.WrapErr(err)
	}
	if err := s.Validate(); err != nil {
		return line.Errf("discover etcd: %w", err)
	}
	return nil
}

// option parses one option. The dispenser is at its name.
type option func(d *caddyfile.Dispenser) error

// text is an option with one argument.
func text(to *string) option {
	return func(d *caddyfile.Dispenser) error {
		if !d.AllArgs(to) || *to == "" {
			return d.ArgErr()
		}
		return nil
	}
}

// unmarshalOptions parses the block, if there is one.
func unmarshalOptions(d *caddyfile.Dispenser, options map[string]option) error {
	seen := make(map[string]bool)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		parse, ok := options[name]
		switch {
		case !ok:
			return d.Errf("unknown option %q of discover etcd: expected cluster, hold or layout, or one of a cluster: %s",
				name, strings.Join(ClusterOptions(), ", "))
		case seen[name]:
			return d.Errf("option %s of discover etcd is given twice", name)
		}
		seen[name] = true
		if err := parse(d); err != nil {
			return err
		}
	}
	return nil
}
