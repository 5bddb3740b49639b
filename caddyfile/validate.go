package caddyfile

import (
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-grpc/gateway/module"
)

// checksNamespace is the namespace of the guests that check request messages.
const checksNamespace = "http.grpc_gateway.checks."

// validate parses
//
//	validate on | warn | off {
//		check <kind> <argument>... { ... }
//	}
func (p *directive) validate(d *dispenser) error {
	v := new(module.Validate)
	if err := choice(&v.Mode, "on", "warn", "off")(d); err != nil {
		return err
	}
	p.handler.Validate = v
	if v.Mode == "off" {
		return noBlock(d, "validate off")
	}
	return options{
		"check": func(d *dispenser) error { return parseCheck(d, v) },
	}.parse(d, "validate", "check")
}

// parseCheck parses `check <kind> ...`. The guest parses its own line, starting with the kind.
func parseCheck(d *dispenser, v *module.Validate) error {
	if !d.NextArg() {
		return d.Err("check: expected a kind of check, such as protovalidate")
	}
	kind := d.Val()
	if _, err := caddy.GetModule(checksNamespace + kind); err != nil {
		return d.Errf("check %s: there is no such check: expected one of %s", kind, guestNames(checksNamespace))
	}
	guest, err := caddyfile.UnmarshalModule(d, checksNamespace+kind)
	if err != nil {
		return err
	}
	v.ChecksRaw = append(v.ChecksRaw, caddyconfig.JSONModuleObject(guest, "check", kind, nil))
	return nil
}

// guestNames are the names of the modules in a namespace that ends in a dot.
func guestNames(namespace string) string {
	mods := caddy.GetModules(strings.TrimSuffix(namespace, "."))
	names := make([]string, len(mods))
	for i, m := range mods {
		names[i] = m.ID.Name()
	}
	return strings.Join(names, ", ")
}
