package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-grpc/gateway/discovery"
	"github.com/caddy-grpc/gateway/discovery/caddyblock"
)

func init() {
	caddy.RegisterModule(new(Catalog))
}

// Catalog finds all services of a Kubernetes namespace by their EndpointSlices, with one watch. It
// keeps the last list through every outage of the API server. The page docs/catalog.md describes
// what the gateway does with it.
//
// The service account needs the verbs `list` and `watch` for `endpointslices` of the group
// `discovery.k8s.io` in the namespace.
type Catalog struct {
	// The namespace of the services. Placeholders such as `{env.POD_NAMESPACE}` are resolved when
	// the config is loaded. Required.
	Namespace string `json:"namespace,omitempty"`

	// The port of the pods of every service: its name in the service, or its number at the pods. A
	// service without it is skipped. Default: the one with the appProtocol `grpc` or
	// `kubernetes.io/h2c`, or the only one.
	Port string `json:"port,omitempty"`

	// The kubeconfig file that says how to reach the API server. Default: none, because the gateway
	// runs in a pod and has a service account.
	Kubeconfig string `json:"kubeconfig,omitempty"`

	// The context in the kubeconfig file. Default: its current context. An error without
	// `kubeconfig`.
	Context string `json:"context,omitempty"`

	// How long a mass disappearance of the pods of a service is doubted, and the loss of its last
	// one: see the field of the source `kubernetes`. Default: 60s. Negative: the API server is
	// believed at once.
	Hold caddy.Duration `json:"hold,omitempty"`

	source Source // with the resolved settings
}

// CaddyModule returns the Caddy module information.
func (*Catalog) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.grpc_gateway.catalogs.kubernetes",
		New: func() caddy.Module { return new(Catalog) },
	}
}

// Provision checks the settings and resolves placeholders. It connects to nothing.
func (c *Catalog) Provision(caddy.Context) error {
	if err := c.check(); err != nil {
		return err
	}
	namespace, err := caddy.NewReplacer().ReplaceOrErr(c.Namespace, true, true)
	if err != nil {
		return fmt.Errorf("namespace: %w", err)
	}
	if err := checkName("namespace", namespace); err != nil {
		return err
	}
	c.source = Source{Port: c.Port, Kubeconfig: c.Kubeconfig, Context: c.Context, Hold: c.Hold, namespace: namespace}
	return c.source.identify()
}

// check checks what can be checked before placeholders are resolved.
func (c *Catalog) check() error {
	switch {
	case c.Namespace == "":
		return errors.New("expected one namespace, as in: catalog fleet kubernetes shop")
	case c.Context != "" && c.Kubeconfig == "":
		return errors.New("context: expected a kubeconfig, which it is for")
	case strings.Contains(c.Namespace, "{"):
		return nil // Provision resolves placeholders.
	}
	return checkName("namespace", c.Namespace)
}

// ID implements discovery.Source.
func (c *Catalog) ID() string { return c.source.ID() }

// Watch implements discovery.Source. A service account is renewed by itself.
func (c *Catalog) Watch(ctx context.Context, publish func(discovery.State)) {
	c.source.Watch(ctx, publish)
}

// UnmarshalCaddyfile sets up the catalog from Caddyfile tokens. Syntax:
//
//	kubernetes <namespace> {
//		port       <name or number>
//		kubeconfig <file>
//		context    <name>
//		hold       <duration> | off
//	}
//
// The block is a part of the block of `catalog`, which takes its own options out.
func (c *Catalog) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	block := caddyblock.Block{
		Directive: "catalog", Kind: "kubernetes", Expected: "one namespace, as in: catalog fleet kubernetes shop",
		Options: map[string]caddyblock.Option{
			"port": caddyblock.Text(&c.Port), "kubeconfig": caddyblock.Text(&c.Kubeconfig), "context": caddyblock.Text(&c.Context),
			"hold": caddyblock.Hold(&c.Hold),
		},
	}
	namespace, line, err := block.Unmarshal(d)
	if err != nil {
		return err
	}
	c.Namespace = namespace
	if err := c.check(); err != nil {
		return line.Errf("catalog kubernetes: %w", err)
	}
	return nil
}

// Interface guards.
var (
	_ caddy.Provisioner     = (*Catalog)(nil)
	_ caddyfile.Unmarshaler = (*Catalog)(nil)
	_ discovery.Catalog     = (*Catalog)(nil)
)
