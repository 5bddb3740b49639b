package caddyfile

import (
	"encoding/json"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/caddy-grpc/gateway/module"
)

// parseGlobalOption parses the global option, which may come several times:
//
//	grpc_gateway {
//		etcd [<name>]   { ... }
//		upstream <name> { ... }
//		catalog  <name> <kind> <argument>... { ... }
//	}
func parseGlobalOption(d *dispenser, existing any) (any, error) {
	app := new(module.App)
	if existing, ok := existing.(httpcaddyfile.App); ok {
		if err := json.Unmarshal(existing.Value, app); err != nil {
			return nil, d.WrapErr(err)
		}
	}
	d.Next() // the option's name
	if _, err := args(d, 0, 0, "a block"); err != nil {
		return nil, err
	}
	err := options{
		"etcd":     func(d *dispenser) error { return parseEtcd(d, app) },
		"upstream": func(d *dispenser) error { return addUpstream(d, app) },
		"catalog":  func(d *dispenser) error { return parseCatalog(d, app) },
	}.parse(d, "the global option grpc_gateway", "etcd", "upstream", "catalog")
	if err != nil {
		return nil, err
	}
	return httpcaddyfile.App{Name: optionName, Value: caddyconfig.JSON(app, nil)}, nil
}

func addUpstream(d *dispenser, app *module.App) error {
	name, u, err := parseUpstream(d)
	if err != nil {
		return err
	}
	if _, ok := app.Upstreams[name]; ok {
		return d.Errf("upstream %q is defined twice in the global option grpc_gateway", name)
	}
	if app.Upstreams == nil {
		app.Upstreams = make(map[string]*module.Upstream)
	}
	app.Upstreams[name] = u
	return nil
}

// definedUpstream reports whether the global option defines the upstream.
func definedUpstream(h httpcaddyfile.Helper, name string) bool {
	app, ok := h.Option(optionName).(httpcaddyfile.App)
	if !ok {
		return false
	}
	var parsed module.App
	if err := json.Unmarshal(app.Value, &parsed); err != nil {
		return false
	}
	_, ok = parsed.Upstreams[name]
	return ok
}
