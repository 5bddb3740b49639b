package consul

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"github.com/hashicorp/consul/api"

	"github.com/caddy-grpc/gateway/discovery"
	"github.com/caddy-grpc/gateway/discovery/caddyblock"
	"github.com/caddy-grpc/gateway/discovery/clienttls"
)

func init() {
	caddy.RegisterModule(new(Source))
}

const (
	// defaultAddress is that of the agent on the same machine.
	defaultAddress = "127.0.0.1:8500"
	defaultPort    = "8500"
	// defaultHold is the default of Source.Hold.
	defaultHold = 60 * time.Second
)

// Source finds the instances of a service in Consul. They are those whose health checks all pass.
// The last list stays in use through every outage of Consul.
type Source struct {
	// The HTTP address of a Consul agent: `host:port`, or a Unix socket such as
	// `unix//run/consul.sock`. Placeholders such as `{env.HOST_IP}:8500` are resolved when the
	// config is loaded. Default: `127.0.0.1:8500`.
	Address string `json:"address,omitempty"`

	// The name of the service in Consul. Placeholders such as `{env.STAGE}` are resolved when the
	// config is loaded. Required.
	Service string `json:"service,omitempty"`

	// The tags that an instance must have, all of them. Default: none.
	Tags []string `json:"tags,omitempty"`

	// The datacenter to ask about. Default: the one of the agent.
	Datacenter string `json:"datacenter,omitempty"`

	// The namespace of the service, for Consul Enterprise. Default: the one of the token.
	Namespace string `json:"namespace,omitempty"`

	// The admin partition of the service, for Consul Enterprise. Default: the one of the agent.
	Partition string `json:"partition,omitempty"`

	// The ACL token. It needs `service:read` for the service and `node:read` for its nodes. Write
	// `{env.CONSUL_TOKEN}` or `{file./run/secrets/consul}` to keep it out of the config: these are
	// resolved when the config is loaded. Default: the anonymous token.
	Token string `json:"token,omitempty"`

	// Secures the connection to Consul. The settings are those of `reverse_proxy`'s transport. An
	// empty object means TLS with the system's trusted certificates. Default: no TLS.
	TLS *reverseproxy.TLSConfig `json:"tls,omitempty"`

	// How long a mass disappearance is doubted: more than half of four or more instances vanish
	// within 15 seconds, or the last one does. Those that are connected stay in use until their
	// connection closes, or until Consul has been well and without them for this time. Instances in
	// maintenance mode are taken out at once. Default: 60s. Negative: Consul is believed at once.
	Hold caddy.Duration `json:"hold,omitempty"`

	config *api.Config // without HttpClient, which Watch makes
	dial   dialFunc
	tls    *clienttls.Client // nil: plaintext
	query  api.QueryOptions
	// service is Service without placeholders. A catalog has none.
	service string
	// queries is that of the catalog whose settings these are.
	queries int
	id      string
}

type dialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

// CaddyModule returns the Caddy module information.
func (*Source) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.grpc_gateway.discovery.consul",
		New: func() caddy.Module { return new(Source) },
	}
}

// Provision checks the settings, resolves placeholders and loads certificates. It connects to
// nothing.
func (s *Source) Provision(ctx caddy.Context) (err error) {
	if s.service, err = caddy.NewReplacer().ReplaceOrErr(s.Service, true, true); err != nil {
		return fmt.Errorf("service: %w", err)
	}
	if err := s.check(s.service); err != nil {
		return err
	}
	return s.provision(ctx)
}

// provision does what does not depend on the service.
func (s *Source) provision(ctx caddy.Context) error {
	repl := caddy.NewReplacer()
	address, err := repl.ReplaceOrErr(cmp.Or(s.Address, defaultAddress), true, true)
	if err != nil {
		return fmt.Errorf("address: %w", err)
	}
	token, err := repl.ReplaceOrErr(s.Token, true, true)
	if err != nil {
		return fmt.Errorf("token: %w", err)
	}
	tlsID := ""
	if s.TLS != nil {
		if s.TLS.HandshakeTimeout != 0 || len(s.TLS.ExceptPorts) > 0 {
			return errors.New("tls: expected no handshake_timeout and except_ports, which have no meaning here")
		}
		if s.tls, err = clienttls.Load(ctx, s.TLS); err != nil {
			return fmt.Errorf("tls: %w", err)
		}
		tlsID = s.tls.ID()
	}
	if err := s.setAddress(address); err != nil {
		return err
	}
	s.config.Token = token
	s.query = api.QueryOptions{Datacenter: s.Datacenter, Namespace: s.Namespace, Partition: s.Partition}
	s.id = s.makeID(address, token, tlsID)
	return nil
}

// check checks what can be checked before placeholders are resolved.
func (s *Source) check(service string) error {
	switch {
	case service == "":
		return errors.New("expected the name of a service in Consul, as in: discover consul user")
	case strings.ContainsAny(service, "/?#"):
		return fmt.Errorf("expected the name of a service in Consul, found %s", discovery.Excerpt(service))
	}
	return s.checkTags()
}

func (s *Source) checkTags() error {
	if slices.Contains(s.Tags, "") {
		return errors.New("expected tags, found an empty one")
	}
	return nil
}

// setAddress makes the settings of the client, as far as they do not belong to one watch.
func (s *Source) setAddress(address string) error {
	s.config = &api.Config{Address: address, Scheme: "http"}
	if s.TLS != nil {
		s.config.Scheme = "https"
	}
	if discovery.IsUnix(address) {
		addr, err := discovery.ParseUnix(address)
		if err != nil {
			return fmt.Errorf("address: %w", err)
		}
		path, _ := discovery.UnixPath(addr)
		s.config.Address = "localhost"
		s.dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}
		return nil
	}
	hosts, err := discovery.SplitHosts(address, defaultPort)
	switch {
	case err != nil:
		return fmt.Errorf("address: %w", err)
	case len(hosts) > 1:
		return fmt.Errorf("address: expected one Consul agent, found %d", len(hosts))
	}
	s.config.Address = hosts[0]
	return nil
}

// makeID names what is watched: a service, or all of them. Tokens are long and random, so their
// hash tells nothing.
func (s *Source) makeID(address, token, tlsID string) string {
	query := url.Values{"tag": slices.Sorted(slices.Values(s.Tags))}
	for name, value := range map[string]string{"dc": s.Datacenter, "ns": s.Namespace, "partition": s.Partition} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if s.queries != 0 && s.queries != defaultQueries {
		query.Set("queries", strconv.Itoa(s.queries))
	}
	if d := s.hold(); d != defaultHold {
		query.Set("hold", d.String())
	}
	id := "consul://" + address + "/" + s.service + "?" + query.Encode()
	if token != "" || tlsID != "" {
		sum := sha256.Sum256([]byte("grpc_gateway consul " + token + " " + tlsID))
		id += "#" + hex.EncodeToString(sum[:8])
	}
	return id
}

// ID implements discovery.Source.
func (s *Source) ID() string { return s.id }

// hold is State.Hold.
func (s *Source) hold() time.Duration {
	return max(0, cmp.Or(time.Duration(s.Hold), defaultHold))
}

// Watch implements discovery.Source. The connections to Consul belong to the watch, which may
// outlive the config.
func (s *Source) Watch(ctx context.Context, publish func(discovery.State)) {
	client, done, err := s.client(1)
	if err != nil {
		publish(discovery.State{Err: err, Hold: s.hold()})
		<-ctx.Done()
		return
	}
	defer done()
	health := client.Health()
	w := watcher{query: func(ctx context.Context, index uint64) ([]*api.ServiceEntry, *api.QueryMeta, error) {
		// All instances are asked for, so that those that fail their checks are shown.
		return health.ServiceMultipleTags(s.service, s.Tags, false, s.options(ctx, index, waitTime))
	}}
	w.state.Hold = s.hold()
	w.run(ctx, publish)
}

// client makes the client of one watch, which keeps up to idle connections that are not in use.
// done closes them. An error says that the environment of the process has settings that contradict
// the config.
func (s *Source) client(idle int) (client *api.Client, done func(), err error) {
	transport := &http.Transport{
		DialContext: s.dial, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: idle, IdleConnTimeout: 2 * waitTime,
		TLSHandshakeTimeout: answerTime, Proxy: http.ProxyFromEnvironment,
	}
	if s.dial == nil {
		transport.DialContext = (&net.Dialer{Timeout: answerTime, KeepAlive: answerTime}).DialContext
	}
	config := *s.config
	config.HttpClient = &http.Client{Transport: transport}
	if s.tls != nil {
		config.HttpClient.Transport = s.tls.Transport(transport)
	}
	if client, err = api.NewClient(&config); err != nil {
		return nil, nil, fmt.Errorf("making the client of Consul: %w", err)
	}
	return client, config.HttpClient.CloseIdleConnections, nil
}

// options are those of a query that blocks until there is something newer than index, for wait at
// most.
func (s *Source) options(ctx context.Context, index uint64, wait time.Duration) *api.QueryOptions {
	options := s.query
	options.WaitIndex, options.WaitTime = index, wait
	return options.WithContext(ctx)
}

// UnmarshalTarget implements discovery.TargetUnmarshaler:
//
//	consul://127.0.0.1:8500/user[?tag=<tag>,…][&dc=<name>][&ns=<name>][&partition=<name>][&hold=<duration>|off]
//	consul:///user                by the agent at 127.0.0.1:8500
func (s *Source) UnmarshalTarget(t discovery.Target) error {
	if t.Scheme != "consul" {
		return fmt.Errorf("expected the scheme consul, found %s", discovery.Excerpt(t.Scheme))
	}
	if err := t.CheckQuery("tag", "dc", "ns", "partition", "hold"); err != nil {
		return err
	}
	hosts, err := t.Hosts(defaultPort)
	switch {
	case err != nil:
		return err
	case len(hosts) > 1:
		return fmt.Errorf("expected one Consul agent, found %d", len(hosts))
	case len(hosts) == 1:
		s.Address = hosts[0]
	}
	if t.Path == "" {
		return errors.New("expected the name of a service after the host, as in consul://127.0.0.1:8500/user")
	}
	s.Service = t.Path
	for name, values := range t.Query {
		if err := s.setParameter(name, values[0]); err != nil {
			return err
		}
	}
	return s.check(s.Service)
}

func (s *Source) setParameter(name, value string) (err error) {
	if value == "" {
		return fmt.Errorf("expected a value for %s", name)
	}
	switch name {
	case "tag":
		s.Tags = strings.Split(value, ",")
	case "dc":
		s.Datacenter = value
	case "ns":
		s.Namespace = value
	case "partition":
		s.Partition = value
	case "hold":
		s.Hold, err = caddyblock.ParseHold(value)
	}
	return err
}

// Interface guards.
var (
	_ caddy.Provisioner           = (*Source)(nil)
	_ caddyfile.Unmarshaler       = (*Source)(nil)
	_ discovery.Source            = (*Source)(nil)
	_ discovery.TargetUnmarshaler = (*Source)(nil)
)
