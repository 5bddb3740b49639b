package caddyfile

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/caddy-grpc/gateway/module"
)

// catalogNamespace is the namespace of the guests that know all services of a registry.
const catalogNamespace = "http.grpc_gateway.catalogs."

// catalogTarget is what a target that names a catalog begins with.
const catalogTarget = "catalog:"

// parseCatalog parses
//
//	catalog <name> <kind> <argument>... {
//		include  <glob>...
//		exclude  <glob>...
//		require  <name>=<value>...
//		limit    <n>
//		idle     <duration>
//		upstream { <the options of an upstream> }
//		<options of the kind>
//	}
//
// Every other option belongs to the guest.
func parseCatalog(d *dispenser, app *module.App) error {
	line := *d // for errors about the block as a whole
	start := d.Token()
	if !d.NextArg() {
		return d.Err("catalog: expected <name> <kind> <argument>..., such as: catalog fleet etcd /")
	}
	name := d.Val()
	if strings.ContainsAny(name, ":/ ") {
		return d.Errf("catalog %q: expected a name without colons, slashes and spaces", name)
	}
	if _, ok := app.Catalogs[name]; ok {
		return d.Errf("catalog %q is defined twice in the global option grpc_gateway", name)
	}
	if !d.NextArg() {
		return d.Errf("catalog %s: expected the kind of registry, such as etcd", name)
	}
	kind := d.Val()
	c := new(module.Catalog)
	guest := []caddyfile.Token{d.Token()}
	for d.NextArg() {
		guest = append(guest, d.Token())
	}
	lines, err := parseCatalogBlock(d, c)
	if err != nil {
		return err
	}
	if len(lines) > 0 {
		opening, closing := start, lines[len(lines)-1]
		opening.Text, closing.Text = "{", "}"
		closing.Line += closing.NumLineBreaks() + 1
		guest = append(append(append(guest, opening), lines...), closing)
	}
	if c.RegistryRaw, err = parseCatalogGuest(d, kind, guest); err != nil {
		return err
	}
	if err := c.Validate(); err != nil {
		return line.Errf("catalog %q: %w", name, err)
	}
	if app.Catalogs == nil {
		app.Catalogs = make(map[string]*module.Catalog)
	}
	app.Catalogs[name] = c
	return nil
}

// parseCatalogBlock parses the options of every catalog, and returns the tokens of the others.
func parseCatalogBlock(d *dispenser, c *module.Catalog) (others []caddyfile.Token, err error) {
	opts := catalogOptions(c)
	first := make(map[string]int)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		parse, ok := opts[name]
		if !ok {
			others = append(others, d.NextSegment()...)
			continue
		}
		repeatable := name == "include" || name == "exclude" || name == "require"
		if line, ok := first[name]; ok && !repeatable {
			return nil, d.Errf("option %q comes twice in catalog: the first is in line %d", name, line)
		}
		first[name] = d.Line()
		if err := parse(d); err != nil {
			return nil, err
		}
	}
	return others, nil
}

func catalogOptions(c *module.Catalog) options {
	return options{
		"include": serviceGlobs(&c.Include),
		"exclude": serviceGlobs(&c.Exclude),
		"require": func(d *dispenser) error { return parseRequire(d, c) },
		"limit":   number(&c.Limit, "a number from 1 to 10000"),
		"idle":    duration(&c.Idle),
		"upstream": func(d *dispenser) error {
			if _, err := args(d, 0, 0, "a block, without a name"); err != nil {
				return err
			}
			c.Upstream = new(module.Upstream)
			return upstreamOptions(c.Upstream).parse(d, "upstream of catalog")
		},
	}
}

// serviceGlobs is an option with patterns for the names of services.
func serviceGlobs(to *[]string) option {
	return func(d *dispenser) error {
		got, err := args(d, 1, anyNumber, "at least one pattern for the name of a service")
		*to = append(*to, got...)
		return err
	}
}

// parseRequire parses `require <name>=<value>...`.
func parseRequire(d *dispenser, c *module.Catalog) error {
	got, err := args(d, 1, anyNumber, "<name>=<value>...")
	if err != nil {
		return err
	}
	for _, pair := range got {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || name == "" {
			return d.Errf("require %s: expected <name>=<value>", pair)
		}
		if _, ok := c.Require[name]; ok {
			return d.Errf("require: %s comes twice", name)
		}
		if c.Require == nil {
			c.Require = make(map[string]string)
		}
		c.Require[name] = value
	}
	return nil
}

// parseCatalogGuest lets the guest parse its tokens, which begin with the kind.
func parseCatalogGuest(d *dispenser, kind string, tokens []caddyfile.Token) (json.RawMessage, error) {
	info, err := caddy.GetModule(catalogNamespace + kind)
	if err != nil {
		return nil, d.Errf("catalog %s: there is no such registry: expected one of %s", kind, catalogNames())
	}
	guest := info.New()
	unmarshaler, ok := guest.(caddyfile.Unmarshaler)
	if !ok {
		return nil, d.Errf("catalog %s: the module %T cannot be configured in a Caddyfile", kind, guest)
	}
	if err := unmarshaler.UnmarshalCaddyfile(caddyfile.NewDispenser(tokens)); err != nil {
		return nil, err
	}
	return caddyconfig.JSONModuleObject(guest, "source", kind, nil), nil
}

func catalogNames() string {
	mods := caddy.GetModules(strings.TrimSuffix(catalogNamespace, "."))
	names := make([]string, len(mods))
	for i, m := range mods {
		names[i] = m.ID.Name()
	}
	return strings.Join(names, ", ")
}

// addCatalog adds the target `catalog:<name>`.
func (p *directive) addCatalog(d *dispenser, name string) error {
	if !definedCatalog(p.helper, name) {
		return d.Errf("target %s%s: the global option grpc_gateway defines no catalog %q", catalogTarget, name, name)
	}
	if slices.Contains(p.handler.Catalogs, name) {
		return d.Errf("target %s%s comes twice in grpc_gateway", catalogTarget, name)
	}
	p.handler.Catalogs = append(p.handler.Catalogs, name)
	return nil
}

// definedCatalog reports whether the global option defines the catalog.
func definedCatalog(h httpcaddyfile.Helper, name string) bool {
	app, ok := h.Option(optionName).(httpcaddyfile.App)
	if !ok {
		return false
	}
	var parsed module.App
	if err := json.Unmarshal(app.Value, &parsed); err != nil {
		return false
	}
	_, ok = parsed.Catalogs[name]
	return ok
}
