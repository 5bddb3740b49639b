package etcd

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-grpc/gateway/discovery/caddyblock"
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
	own := new(Cluster)
	block := caddyblock.Block{
		Directive: "discover", Kind: "etcd", Expected: "one key, as in: discover etcd user.rpc",
		Options: map[string]caddyblock.Option{
			"cluster": caddyblock.Text(&s.Cluster), "layout": caddyblock.Text(&s.Layout), "hold": caddyblock.Hold(&s.Hold),
		},
	}
	for _, name := range ClusterOptions() {
		block.Options[name] = caddyblock.Option{Parse: own.UnmarshalOption}
	}
	key, line, err := block.Unmarshal(d)
	if err != nil {
		return err
	}
	s.Key = key
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
