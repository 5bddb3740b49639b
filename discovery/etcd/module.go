package etcd

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddy-grpc/gateway/discovery"
	"github.com/caddy-grpc/gateway/discovery/caddyblock"
	"github.com/caddy-grpc/gateway/discovery/clienttls"
)

func init() {
	caddy.RegisterModule(new(Source))
}

// defaultHold is the default of Source.Hold.
const defaultHold = 60 * time.Second

// clients holds one *client for each cluster while a watch uses it, across config reloads. The key
// is settings.fingerprint.
var clients = caddy.NewUsagePool()

// Cluster says how to reach an etcd cluster. The app grpc_gateway has clusters by name, so that
// many services share one.
type Cluster struct {
	// The addresses of members: `host:port`, `http://host:port` or `https://host:port`. The default
	// port is 2379. Members that are not listed here are not used. Required.
	Endpoints []string `json:"endpoints,omitempty"`

	// The etcd user to log in as. Placeholders such as `{env.ETCD_USER}` and
	// `{file./run/secrets/user}` are resolved when the config is loaded. Default: no login.
	Username string `json:"username,omitempty"`

	// The password of that user. Write `{env.ETCD_PASSWORD}` or `{file./run/secrets/etcd}` to keep
	// it out of the config. Required with `username`.
	Password string `json:"password,omitempty"`

	// Secures the connection to etcd, with a client certificate if etcd wants one. The settings are
	// those of `reverse_proxy`'s transport. An empty object means TLS with the system's trusted
	// certificates. Default: no TLS, unless the endpoints begin with https.
	TLS *reverseproxy.TLSConfig `json:"tls,omitempty"`

	// The maximum time to connect and to log in. Default: 5s.
	DialTimeout caddy.Duration `json:"dial_timeout,omitempty"`

	// The time without traffic after which a ping is sent. Default: 10s. etcd allows pings every
	// 5s.
	KeepaliveTime caddy.Duration `json:"keepalive_time,omitempty"`

	// The maximum time until a ping is answered. After that the connection is given up. Default:
	// 5s.
	KeepaliveTimeout caddy.Duration `json:"keepalive_timeout,omitempty"`

	settings *settings // made by Provision
}

// ClusterProvider is implemented by the app grpc_gateway. It answers from its decoded config, even
// while it is being provisioned. The cluster is provisioned before anybody asks for it.
type ClusterProvider interface {
	EtcdCluster(name string) (*Cluster, error)
}

// Provision checks the settings, resolves secrets and loads certificates. It connects to nothing.
func (c *Cluster) Provision(ctx caddy.Context) error {
	endpoints, err := checkEndpoints(c.Endpoints, c.TLS != nil)
	if err != nil {
		return err
	}
	if c.DialTimeout < 0 || c.KeepaliveTime < 0 || c.KeepaliveTimeout < 0 {
		return errors.New("expected etcd timeouts above zero")
	}
	s := &settings{
		endpoints:        endpoints,
		dialTimeout:      orDefault(c.DialTimeout, 5*time.Second),
		keepaliveTime:    orDefault(c.KeepaliveTime, 10*time.Second),
		keepaliveTimeout: orDefault(c.KeepaliveTimeout, 5*time.Second),
	}
	repl := caddy.NewReplacer()
	if s.username, err = repl.ReplaceOrErr(c.Username, true, true); err != nil {
		return fmt.Errorf("etcd username: %w", err)
	}
	if s.password, err = repl.ReplaceOrErr(c.Password, true, true); err != nil {
		return fmt.Errorf("etcd password: %w", err)
	}
	if (s.username == "") != (s.password == "") {
		return errors.New("expected both a username and a password for etcd, or neither")
	}
	if c.TLS != nil {
		if s.tls, err = loadTLS(ctx, c.TLS); err != nil {
			return fmt.Errorf("etcd tls: %w", err)
		}
	}
	if s.fingerprint, err = s.makeFingerprint(); err != nil {
		return err
	}
	c.settings = s
	return nil
}

func orDefault(d caddy.Duration, value time.Duration) time.Duration {
	if d == 0 {
		return value
	}
	return time.Duration(d)
}

func loadTLS(ctx caddy.Context, t *reverseproxy.TLSConfig) (*clienttls.Client, error) {
	if t.HandshakeTimeout != 0 || len(t.ExceptPorts) > 0 {
		return nil, errors.New("expected no handshake_timeout and except_ports, which have no meaning here")
	}
	return clienttls.Load(ctx, t)
}

// Source finds the instances of a service in etcd. It lists and watches the registrations under
// `<key>/`, and keeps the last list through every outage of etcd. The page docs/discovery.md
// describes the layouts.
type Source struct {
	// The name of a cluster in the app grpc_gateway. Default: `default`, unless `endpoints` are
	// given.
	Cluster string `json:"cluster,omitempty"`

	// The members of a cluster that has no name. This replaces `cluster`. The fields below are the
	// other settings of that cluster, and errors without `endpoints`. Sources with the same
	// settings share one client.
	Endpoints []string `json:"endpoints,omitempty"`

	// The etcd user to log in as, as for a named cluster. Default: no login.
	Username string `json:"username,omitempty"`

	// The password of that user. Required with `username`.
	Password string `json:"password,omitempty"`

	// Secures the connection to etcd, as for a named cluster. Default: no TLS, unless the endpoints
	// begin with https.
	TLS *reverseproxy.TLSConfig `json:"tls,omitempty"`

	// The maximum time to connect and to log in. Default: 5s.
	DialTimeout caddy.Duration `json:"dial_timeout,omitempty"`

	// The time without traffic after which a ping is sent. Default: 10s.
	KeepaliveTime caddy.Duration `json:"keepalive_time,omitempty"`

	// The maximum time until a ping is answered. Default: 5s.
	KeepaliveTimeout caddy.Duration `json:"keepalive_timeout,omitempty"`

	// The key under which the service registers, such as `user.rpc`. With the layouts kratos, kitex
	// and micro a key without a slash is the name of the service, under the base that these use in
	// etcd. Placeholders such as `{env.STAGE}` are resolved when the config is loaded. Required.
	Key string `json:"key,omitempty"`

	// How the service registers: `auto`, `gozero`, `etcd`, `kratos`, `kitex`, `micro` or `plain`.
	// Default: `auto`, which recognises each entry by its value and uses the key as it is.
	Layout string `json:"layout,omitempty"`

	// How long a mass disappearance is doubted: more than half of four or more instances vanish
	// within 15 seconds, or the last one does. Those that are connected stay in use until their
	// connection closes, or until etcd has been well and without them for this time. Default: 60s.
	// Negative: etcd is believed at once.
	Hold caddy.Duration `json:"hold,omitempty"`

	settings *settings
	prefix   string
	layout   Layout
}

// CaddyModule returns the Caddy module information.
func (*Source) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.grpc_gateway.discovery.etcd",
		New: func() caddy.Module { return new(Source) },
	}
}

// Provision resolves the cluster's name. It connects to nothing.
func (s *Source) Provision(ctx caddy.Context) error {
	cluster, err := s.cluster(ctx)
	if err != nil {
		return err
	}
	s.settings = cluster.settings
	if s.layout, err = ParseLayout(s.Layout); err != nil {
		return err
	}
	key, err := caddy.NewReplacer().ReplaceOrErr(s.Key, true, true)
	if err != nil {
		return fmt.Errorf("key: %w", err)
	}
	s.prefix, err = s.layout.Prefix(key)
	return err
}

func (s *Source) cluster(ctx caddy.Context) (*Cluster, error) {
	if len(s.Endpoints) > 0 {
		inline := s.ownCluster()
		return inline, inline.Provision(ctx)
	}
	name := s.Cluster
	if name == "" {
		name = "default"
	}
	app, err := ctx.App("grpc_gateway")
	if err != nil {
		return nil, err
	}
	provider, ok := app.(ClusterProvider)
	if !ok {
		return nil, fmt.Errorf("expected the app grpc_gateway to have etcd clusters, found %T", app)
	}
	cluster, err := provider.EtcdCluster(name)
	if err != nil {
		return nil, err
	}
	if cluster.settings == nil {
		return nil, fmt.Errorf("etcd cluster %s was not provisioned before its use", discovery.Excerpt(name))
	}
	return cluster, nil
}

// ownCluster returns the cluster of Endpoints.
func (s *Source) ownCluster() *Cluster {
	return &Cluster{
		Endpoints: s.Endpoints, Username: s.Username, Password: s.Password, TLS: s.TLS,
		DialTimeout: s.DialTimeout, KeepaliveTime: s.KeepaliveTime, KeepaliveTimeout: s.KeepaliveTimeout,
	}
}

// Validate refuses contradictions.
func (s *Source) Validate() error {
	switch {
	case s.Cluster != "" && len(s.Endpoints) > 0:
		return errors.New("expected either a cluster or endpoints of etcd, found both")
	case len(s.Endpoints) == 0 && !reflect.ValueOf(*s.ownCluster()).IsZero():
		return errors.New("expected endpoints with user, tls, dial_timeout or keepalive: a named cluster has its own settings")
	}
	return nil
}

// ID implements discovery.Source.
func (s *Source) ID() string {
	hold := ""
	if d := s.hold(); d != defaultHold {
		hold = "&hold=" + d.String()
	}
	return fmt.Sprintf("etcd://%s/%s?layout=%s%s#%s", canonicalEndpoints(s.settings.endpoints), s.prefix, s.layout, hold, s.settings.fingerprint)
}

// hold is State.Hold.
func (s *Source) hold() time.Duration { return max(0, orDefault(s.Hold, defaultHold)) }

// Watch implements discovery.Source. The client belongs to the watch, which may outlive the config.
func (s *Source) Watch(ctx context.Context, publish func(discovery.State)) {
	s.watch(ctx, publish, func(*table) {})
}

// watch watches with a table that setUp has changed.
func (s *Source) watch(ctx context.Context, publish func(discovery.State), setUp func(*table)) {
	log := lasting(caddy.Log).Named("http.grpc_gateway.discovery.etcd")
	key := s.settings.fingerprint
	shared, _, err := clients.LoadOrNew(key, func() (caddy.Destructor, error) { return newClient(s.settings, log), nil })
	if err != nil { // never, see the line before
		publish(discovery.State{Err: err, Hold: s.hold()})
		return
	}
	defer func() { _, _ = clients.Delete(key) }() // Destruct has no errors
	c := shared.(*client)
	w := newWatcher(&session{client: c}, s.prefix, s.layout, c.outages)
	w.state.Hold = s.hold()
	setUp(w.table)
	w.run(ctx, publish)
}

// LogsTrouble implements discovery.LogsTrouble.
func (*Source) LogsTrouble() {}

// UnmarshalTarget implements discovery.TargetUnmarshaler:
//
//	etcd://h1:2379,h2:2379/user.rpc[?layout=<layout>][&hold=<duration>|off]
//	etcd:///user.rpc[?layout=<layout>][&cluster=<name>][&hold=<duration>|off]
func (s *Source) UnmarshalTarget(t discovery.Target) error {
	if t.Scheme != "etcd" {
		return fmt.Errorf("expected the scheme etcd, found %s", discovery.Excerpt(t.Scheme))
	}
	if err := t.CheckQuery("layout", "cluster", "hold"); err != nil {
		return err
	}
	if t.Path == "" {
		return errors.New("expected a key after the hosts, as in etcd://127.0.0.1:2379/user.rpc")
	}
	hosts, err := t.Hosts(defaultPort)
	if err != nil {
		return err
	}
	s.Endpoints, s.Key = hosts, t.Path
	for name, field := range map[string]*string{"layout": &s.Layout, "cluster": &s.Cluster} {
		if values := t.Query[name]; len(values) > 0 {
			if *field = values[0]; *field == "" {
				return fmt.Errorf("expected a value for %s", name)
			}
		}
	}
	if values := t.Query["hold"]; len(values) > 0 {
		if s.Hold, err = caddyblock.ParseHold(values[0]); err != nil {
			return err
		}
	}
	if _, err := ParseLayout(s.Layout); err != nil {
		return err
	}
	return s.Validate()
}

// Interface guards.
var (
	_ caddy.Provisioner           = (*Source)(nil)
	_ caddy.Validator             = (*Source)(nil)
	_ caddyfile.Unmarshaler       = (*Source)(nil)
	_ discovery.LogsTrouble       = (*Source)(nil)
	_ discovery.Source            = (*Source)(nil)
	_ discovery.TargetUnmarshaler = (*Source)(nil)
)
