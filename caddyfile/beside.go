package caddyfile

import "github.com/caddy-grpc/gateway/module"

// beside is what a directive says about its only target. The options of an upstream may be written
// beside it, so that a short config needs no block:
//
//	grpc_gateway etcd://127.0.0.1:2379/user.rpc {
//		descriptors protoset user.binpb
//		tls
//	}
//
// `timeout` is the handler's there, which means the same with one target.
type beside struct {
	upstream module.Upstream
	// option is the first of these options. "": there is none.
	option string
	// line is where it is, for errors.
	line dispenser
}

// addBeside adds the options of an upstream to those of the handler, which win. An upstream that
// has a target has its source from there.
func (p *directive) addBeside(opts options) {
	own := upstreamOptions(&p.beside.upstream)
	delete(own, "discover")
	for name, parse := range own {
		if _, ok := opts[name]; ok {
			continue
		}
		opts[name] = func(d *dispenser) error {
			if p.beside.option == "" {
				p.beside.option, p.beside.line = name, *d
			}
			return parse(d)
		}
	}
}

// applyBeside gives the options to the target, once all targets are known.
func (p *directive) applyBeside() error {
	b := &p.beside
	if b.option == "" {
		return nil
	}
	if n := len(p.handler.Upstreams); n > 1 {
		return b.line.Errf("option %q is for a single target, and grpc_gateway has %d: give each an upstream block with discover", b.option, n)
	}
	target := &p.handler.Upstreams[0]
	switch {
	case len(target.DiscoverRaw) == 0:
		return b.line.Errf("option %q: the global option grpc_gateway defines the upstream %q: expected the option there", b.option, target.Name)
	case p.hasBlock:
		return b.line.Errf("option %q: expected it in the block of the upstream %q", b.option, target.Name)
	}
	b.upstream.DiscoverRaw = target.DiscoverRaw
	if b.upstream.TLS == nil {
		b.upstream.TLS = target.TLS // by +tls in the target's scheme
	}
	target.Upstream = b.upstream
	if err := target.Validate(); err != nil {
		return b.line.Errf("target %s: %w", target.Name, err)
	}
	return nil
}
