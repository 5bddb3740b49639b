package caddyfile

import (
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddy-grpc/gateway/discovery/clienttls"
	"github.com/caddy-grpc/gateway/module"
)

// parseUpstream parses
//
//	upstream <name> {
//		discover         <kind> <argument>... { ... }
//		descriptors      reflection { ... } | protoset <file>... | proto <file>... { ... }
//		connections      <n> [<max>]
//		subset           <n> [<key>]
//		networks         { allow <range>...; deny <range>... }
//		balance          p2c | round_robin | hash <placeholder>
//		transport        grpc | wire
//		keepalive        <time> [<timeout>] [permit_without_stream]
//		backoff          <base> [<max>]
//		retry            <attempts> { ... } | off
//		eject            <failures> [<base time>] { ... } | off
//		health_check     [<service>]
//		connect_timeout  <duration>
//		timeout          <duration> | off
//		max_receive_size <size>
//		tls              { ... }
//		authority        <host[:port]>
//		drain_timeout    <duration>
//		require_ready    <duration>
//		snapshot         on | off
//	}
func parseUpstream(d *dispenser) (name string, _ *module.Upstream, err error) {
	name, err = one(d, "a name")
	if err != nil {
		return "", nil, err
	}
	if isURL(name) || strings.ContainsAny(name, "/ ") {
		return "", nil, d.Errf("upstream %q: expected a name without slashes and spaces", name)
	}
	line := *d // for errors about the block as a whole
	u := new(module.Upstream)
	if err := upstreamOptions(u).parse(d, "upstream"); err != nil {
		return "", nil, err
	}
	if err := u.Validate(); err != nil {
		return "", nil, line.Errf("upstream %q: %w", name, err)
	}
	return name, u, nil
}

func upstreamOptions(u *module.Upstream) options {
	return options{
		"discover":         func(d *dispenser) error { return parseDiscover(d, u) },
		"descriptors":      func(d *dispenser) error { return parseDescriptors(d, u) },
		"connections":      func(d *dispenser) error { return parseConnections(d, u) },
		"balance":          func(d *dispenser) error { return parseBalance(d, u) },
		"transport":        choice(&u.Transport, "grpc", "wire"),
		"keepalive":        func(d *dispenser) error { return parseKeepalive(d, u) },
		"backoff":          backoff(&u.Backoff),
		"retry":            func(d *dispenser) error { return parseRetry(d, u) },
		"eject":            func(d *dispenser) error { return parseEject(d, u) },
		"health_check":     func(d *dispenser) error { return parseHealthCheck(d, u) },
		"connect_timeout":  duration(&u.ConnectTimeout),
		"subset":           func(d *dispenser) error { return parseSubset(d, u) },
		"networks":         func(d *dispenser) error { return parseNetworks(d, u) },
		"timeout":          timeout(&u.Timeout),
		"max_receive_size": size(&u.MaxReceiveSize),
		"tls":              func(d *dispenser) error { return parseTLS(d, &u.TLS) },
		"authority":        text(&u.Authority, "a host or host:port"),
		"drain_timeout":    duration(&u.DrainTimeout),
		"require_ready":    duration(&u.RequireReady),
		"snapshot":         onOff(&u.Snapshot),
	}
}

// discoveryNamespace is the namespace of the guests.
const discoveryNamespace = "http.grpc_gateway.discovery."

// parseDiscover parses `discover <kind> ...`. The guest parses its own line, starting with the
// kind. The kind up to its first "+" is the name of the module: `dns+srv` is the guest `dns`.
func parseDiscover(d *dispenser, u *module.Upstream) error {
	if !d.NextArg() {
		return d.Err("discover: expected a kind of source, such as etcd, static or dns")
	}
	word := d.Val()
	if strings.HasSuffix(word, "+tls") {
		return d.Errf("discover %s: expected the kind of the source alone; the option tls of the upstream secures its connections", word)
	}
	kind, _, _ := strings.Cut(word, "+")
	if _, err := caddy.GetModule(discoveryNamespace + kind); err != nil {
		return d.Errf("discover %s: there is no such source: expected one of %s", kind, guestNames(discoveryNamespace))
	}
	guest, err := caddyfile.UnmarshalModule(d, discoveryNamespace+kind)
	if err != nil {
		return err
	}
	u.DiscoverRaw = caddyconfig.JSONModuleObject(guest, "source", kind, nil)
	return nil
}

func parseConnections(d *dispenser, u *module.Upstream) error {
	got, err := args(d, 1, 2, "<n> [<max>]")
	if err != nil {
		return err
	}
	if u.Connections, err = parseCount(got[0]); err != nil {
		return d.Errf("connections %w", err)
	}
	if len(got) == 2 {
		if u.MaxConnections, err = parseCount(got[1]); err != nil {
			return d.Errf("connections %w", err)
		}
		if u.MaxConnections < u.Connections {
			return d.Errf("connections: the maximum %d is below the minimum %d", u.MaxConnections, u.Connections)
		}
	}
	return nil
}

func parseKeepalive(d *dispenser, u *module.Upstream) error {
	const syntax = "<time> [<timeout>] [permit_without_stream]"
	got, err := args(d, 1, 3, syntax)
	if err != nil {
		return err
	}
	k := new(module.Keepalive)
	u.Keepalive = k
	if n := len(got); n > 1 && got[n-1] == "permit_without_stream" {
		k.PermitWithoutStream = true
		got = got[:n-1]
	}
	if len(got) > 2 {
		return d.Errf("keepalive: expected %s", syntax)
	}
	if k.Time, err = parseDuration(got[0]); err != nil {
		return d.Errf("keepalive %w", err)
	}
	if len(got) == 2 {
		if k.Timeout, err = parseDuration(got[1]); err != nil {
			return d.Errf("keepalive %w", err)
		}
	}
	return nil
}

// parseSubset parses `subset <n> [<key>]`.
func parseSubset(d *dispenser, u *module.Upstream) error {
	got, err := args(d, 1, 2, "<n> [<key>]")
	if err != nil {
		return err
	}
	if u.Subset, err = parseCount(got[0]); err != nil {
		return d.Errf("subset %w", err)
	}
	if len(got) == 2 {
		u.SubsetKey = got[1]
	}
	return nil
}

// parseHealthCheck parses `health_check [<service>]`.
func parseHealthCheck(d *dispenser, u *module.Upstream) error {
	got, err := args(d, 0, 1, "the name of a service, or no argument")
	if err != nil {
		return err
	}
	u.HealthCheck = new(module.HealthCheck)
	if len(got) == 1 {
		u.HealthCheck.Service = got[0]
	}
	return noBlock(d, "health_check")
}

// parseDescriptors parses
//
//	descriptors reflection { refresh <duration> | off }
//	descriptors protoset <file>...
//	descriptors proto <file>... { import_path <dir>... }
func parseDescriptors(d *dispenser, u *module.Upstream) error {
	got, err := args(d, 1, anyNumber, "reflection, protoset <file>... or proto <file>...")
	if err != nil {
		return err
	}
	desc := &module.Descriptors{Source: got[0], Files: got[1:]}
	u.Descriptors = desc
	opts := options{}
	switch desc.Source {
	case module.DescriptorsReflection:
		if len(desc.Files) > 0 {
			return d.Err("descriptors reflection: expected no argument")
		}
		desc.Files = nil
		opts["refresh"] = timeout(&desc.Refresh)
	case module.DescriptorsProtoset, module.DescriptorsProto:
		if len(desc.Files) == 0 {
			return d.Errf("descriptors %s: expected at least one file", desc.Source)
		}
		if desc.Source == module.DescriptorsProtoset {
			return noBlock(d, "descriptors protoset")
		}
		opts["import_path"] = func(d *dispenser) error {
			dirs, err := args(d, 1, anyNumber, "at least one directory")
			desc.ImportPaths = append(desc.ImportPaths, dirs...)
			return err
		}
	default:
		return d.Errf("descriptors %q: expected reflection, protoset or proto", desc.Source)
	}
	return opts.parse(d, "descriptors "+desc.Source, "import_path")
}

// parseTLS parses a tls block.
func parseTLS(d *dispenser, to **reverseproxy.TLSConfig) (err error) {
	*to, err = clienttls.Unmarshal(d)
	return err
}
