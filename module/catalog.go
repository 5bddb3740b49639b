package module

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-grpc/gateway/discovery"
	"github.com/caddy-grpc/gateway/internal/glob"
)

// defaultLimit is the default of Catalog.Limit.
const defaultLimit = 500

// Catalog makes an upstream of each service that a registry has. The first instance of a service
// creates its upstream. When the last one has gone, and `hold` of the registry allows it, the
// upstream is retired. The page docs/catalog.md describes it.
//
// Whoever may write to the registry decides which services there are. So handlers that refer to a
// catalog must say what they expose.
type Catalog struct {
	// Where the services are: a module in the namespace `http.grpc_gateway.catalogs`, such as
	// `etcd`. Required.
	RegistryRaw json.RawMessage `json:"registry,omitempty" caddy:"namespace=http.grpc_gateway.catalogs inline_key=source"`

	// The services to open, by name. A `*` in a pattern matches any text. Default: all services.
	Include []string `json:"include,omitempty"`

	// The services to leave out, in the same form. `exclude` wins over `include`. Default: none.
	Exclude []string `json:"exclude,omitempty"`

	// Metadata that the registration of an instance must have. Instances without it are left out,
	// and so are services without such an instance. A `*` in a value matches any text. Registries
	// without metadata, such as that of go-zero, then have no services at all. Default: none.
	Require map[string]string `json:"require,omitempty"`

	// The maximum number of services that are open. The oldest registrations are. Further ones are
	// shown, and opened when there is room. From 1 to 10000. Default: 500.
	Limit int `json:"limit,omitempty"`

	// The time without calls after which a service keeps one connection to one instance. The next
	// call connects the others. At least 1s. Default: never.
	Idle caddy.Duration `json:"idle,omitempty"`

	// The settings of the upstream of each service. `discover` and `require_ready` cannot be set.
	// `descriptors` can be `reflection`, or `protoset` with patterns for files: each file describes
	// the service that it is named after, and the other services are asked by reflection.
	// `networks`, `tls` and all other settings apply to every service. Default: as for any
	// upstream.
	Upstream *Upstream `json:"upstream,omitempty"`
}

// upstream returns the settings of each upstream.
func (c *Catalog) upstream() *Upstream {
	if c.Upstream == nil {
		return new(Upstream)
	}
	return c.Upstream
}

// Validate says what is wrong with the catalog on its own. It uses neither files nor the network.
func (c *Catalog) Validate() error {
	switch {
	case len(c.RegistryRaw) == 0:
		return errors.New(`it has no registry: "registry" is required`)
	case c.Limit < 0 || c.Limit > 10_000:
		return fmt.Errorf("limit %d: expected a number from 1 to 10000", c.Limit)
	case c.Idle != 0 && c.Idle < caddy.Duration(minIdle):
		return fmt.Errorf("idle: expected at least %v", minIdle)
	}
	for _, p := range slices.Concat(c.Include, c.Exclude) {
		if p == "" || strings.ContainsAny(p, " \t\n") {
			return fmt.Errorf("pattern %q: expected the name of a service, with * for anything", p)
		}
	}
	for name := range c.Require {
		if name == "" {
			return errors.New("require: expected <name>=<value>")
		}
	}
	u := c.upstream()
	switch {
	case len(u.DiscoverRaw) > 0:
		return errors.New("upstream: discover cannot be set, because the catalog finds the instances")
	case u.RequireReady != 0:
		return errors.New("upstream: require_ready cannot be set, because no service of a catalog is required")
	}
	if err := u.Descriptors.validateForCatalog(); err != nil {
		return fmt.Errorf("upstream: %w", err)
	}
	if err := u.validateSettings(); err != nil {
		return fmt.Errorf("upstream: %w", err)
	}
	return nil
}

// filter decides which services of a registry are opened, and which of their instances are used. It
// is immutable.
type filter struct {
	include, exclude []string
	require          map[string]string
}

// allows reports whether a service may be opened.
func (f *filter) allows(service string) bool {
	match := func(pattern string) bool { return glob.Match(pattern, service) }
	if len(f.include) > 0 && !slices.ContainsFunc(f.include, match) {
		return false
	}
	return !slices.ContainsFunc(f.exclude, match)
}

// wants reports whether an instance has the metadata that it must have.
func (f *filter) wants(e *discovery.Endpoint) bool {
	for name, pattern := range f.require {
		value, ok := e.Metadata[name]
		if !ok || !glob.Match(pattern, value) {
			return false
		}
	}
	return true
}

// key identifies what require selects.
func (f *filter) key() string {
	if len(f.require) == 0 {
		return ""
	}
	key, err := json.Marshal(f.require) // with sorted names
	if err != nil {                     // These are strings.
		return ""
	}
	return string(key)
}
