package caddyfile

import (
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddy-grpc/gateway/discovery"
	"github.com/caddy-grpc/gateway/module"
)

// addTargets adds an upstream for each target of a line. Several addresses are refused, because
// they look like the instances of one service, and each would be a service.
func (p *directive) addTargets(d *dispenser, targets []string) error {
	for _, t := range targets {
		if isCatalog(t) {
			continue
		}
		if isAddress(t) && !slices.Contains(p.addresses, t) {
			p.addresses = append(p.addresses, t)
		}
	}
	if len(p.addresses) > 1 {
		return d.Errf("grpc_gateway has several addresses: instances of one service are one target, static:///%s; services of their own are "+
			"static:///%s", strings.Join(p.addresses, ","), strings.Join(p.addresses, " static:///"))
	}
	for _, t := range targets {
		if err := p.addTarget(d, t); err != nil {
			return err
		}
	}
	return nil
}

// addTarget adds an upstream for a target: the name of an upstream, a URL, a host:port or a Unix
// socket. A target `catalog:<name>` adds all services of a catalog.
func (p *directive) addTarget(d *dispenser, target string) error {
	if isCatalog(target) {
		return p.addCatalog(d, strings.TrimPrefix(target, catalogTarget))
	}
	if !isURL(target) && !isAddress(target) {
		if !definedUpstream(p.helper, target) {
			return d.Errf("target %q: expected a URL such as etcd://127.0.0.1:2379/user.rpc, a host:port, a Unix socket such as "+
				"unix//run/user.sock, or the name of an upstream that the global option grpc_gateway defines", target)
		}
		return p.add(d, module.HandlerUpstream{Name: target})
	}
	t, err := discovery.ParseTarget(target)
	if err != nil {
		return d.WrapErr(err)
	}
	kind, _, _ := strings.Cut(t.Scheme, "+")
	info, err := caddy.GetModule(discoveryNamespace + kind)
	if err != nil {
		return d.Errf("target %s: there is no source %q: expected one of %s", target, kind, guestNames(discoveryNamespace))
	}
	guest := info.New()
	tu, ok := guest.(discovery.TargetUnmarshaler)
	if !ok {
		return d.Errf("target %s: the source %q cannot be configured by a URL; use an upstream block with discover %s", target, kind, kind)
	}
	if err := tu.UnmarshalTarget(t); err != nil {
		return d.Errf("target %s: %w", target, err)
	}
	u := module.HandlerUpstream{Name: targetName(t)} // applyBeside adds options.
	u.DiscoverRaw = caddyconfig.JSONModuleObject(guest, "source", kind, nil)
	if t.TLS {
		u.TLS = new(reverseproxy.TLSConfig)
	}
	return p.add(d, u)
}

func isCatalog(s string) bool {
	return strings.HasPrefix(s, catalogTarget) && !isPort(s[len(catalogTarget):])
}

// isPort reports whether a text is a number. A host may have the name `catalog`.
func isPort(s string) bool {
	_, err := strconv.ParseUint(s, 10, 16)
	return err == nil
}

func isURL(s string) bool { return strings.Contains(s, "://") }

// isAddress reports whether a target is a bare host:port or Unix socket.
func isAddress(s string) bool {
	return discovery.IsUnix(s) || !isURL(s) && strings.Contains(s, ":")
}

// targetName returns the name of an upstream that is given only by a target: the name of the
// service in it. For a Unix socket it is the path. Names are a part of paths in the admin API,
// which has no two slashes in a row.
func targetName(t discovery.Target) string {
	path := t.Path
	if t.Scheme == "static" && discovery.IsUnix(path) {
		path = strings.ReplaceAll(path, "unix/", "")
	}
	if name := strings.Trim(path, "/"); name != "" {
		return name
	}
	return t.Authority
}
