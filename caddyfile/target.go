package caddyfile

import (
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddy-grpc/gateway/discovery"
	"github.com/caddy-grpc/gateway/module"
)

// addTarget adds an upstream by a target: the name of one, a URL or a host:port.
func (p *directive) addTarget(d *dispenser, target string) error {
	if !isURL(target) && !strings.Contains(target, ":") {
		if !definedUpstream(p.helper, target) {
			return d.Errf("target %q: expected a URL such as etcd://127.0.0.1:2379/user.rpc, a host:port, or the name of an upstream that the "+
				"global option grpc_gateway defines", target)
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
		return d.Errf("target %s: there is no source %q: expected one of %s", target, kind, guestNames())
	}
	guest := info.New()
	tu, ok := guest.(discovery.TargetUnmarshaler)
	if !ok {
		return d.Errf("target %s: the source %q cannot be configured by a URL; use an upstream block with discover %s", target, kind, kind)
	}
	if err := tu.UnmarshalTarget(t); err != nil {
		return d.Errf("target %s: %w", target, err)
	}
	u := module.HandlerUpstream{Name: targetName(t)}
	u.DiscoverRaw = caddyconfig.JSONModuleObject(guest, "source", kind, nil)
	if t.TLS {
		u.TLS = new(reverseproxy.TLSConfig)
	}
	return p.add(d, u)
}

func isURL(s string) bool { return strings.Contains(s, "://") }

// targetName is what an upstream is called that was given by its target only: the name of the service in it.
func targetName(t discovery.Target) string {
	if name := strings.Trim(t.Path, "/"); name != "" {
		return name
	}
	return t.Authority
}
