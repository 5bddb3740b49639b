package dns

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-grpc/gateway/discovery"
)

func init() {
	caddy.RegisterModule(new(Source))
}

// Source finds instances by DNS. It looks the name up again and again. When a lookup fails, the
// last addresses stay in use.
type Source struct {
	// The name and port of the service, host:port. Each A and AAAA record is an instance. Either
	// this or `srv` is required.
	Address string `json:"address,omitempty"`

	// The name of SRV records, such as `_grpc._tcp.user.internal`. The records with the lowest
	// priority number are used, with their ports and weights.
	SRV string `json:"srv,omitempty"`

	// The time between two lookups, with 10 % of jitter. After an error the wait is shorter. At
	// least 1s. Default: 30s.
	Refresh caddy.Duration `json:"refresh,omitempty"`

	// The name servers to ask, in the place of those of the operating system. Each is
	// `[<network>/]<host>[:<port>]`. The network is `udp` (default) or `tcp`; long answers come by
	// TCP in any case. The default port is 53. The first one is asked, and when it does not answer,
	// the next one from then on. Names are asked for as they are, without search domains, and the
	// names in SRV records are looked up there, too. Placeholders such as `{env.DNS_SERVER}` are
	// resolved when the config is loaded. Default: the operating system's resolver.
	Resolvers []string `json:"resolvers,omitempty"`

	// The maximum time until a name server answers, connecting included. Default: 2s. An error
	// without `resolvers`.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	refresh time.Duration
	servers []nameServer
}

// CaddyModule returns the Caddy module information.
func (*Source) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.grpc_gateway.discovery.dns",
		New: func() caddy.Module { return new(Source) },
	}
}

// Provision checks the settings. It looks nothing up.
func (s *Source) Provision(caddy.Context) (err error) {
	if err := s.check(); err != nil {
		return err
	}
	if s.refresh, err = checkRefresh(time.Duration(s.Refresh)); err != nil {
		return err
	}
	repl := caddy.NewReplacer()
	s.servers = make([]nameServer, len(s.Resolvers))
	for i, text := range s.Resolvers {
		if text, err = repl.ReplaceOrErr(text, true, true); err != nil {
			return fmt.Errorf("resolvers: %w", err)
		}
		if s.servers[i], err = parseNameServer(text); err != nil {
			return err
		}
	}
	return nil
}

// parseNameServer parses a network address of Caddy.
func parseNameServer(text string) (nameServer, error) {
	const expected = "expected a name server such as 127.0.0.1:8600 or tcp/ns.internal"
	addr, err := caddy.ParseNetworkAddressWithDefaults(text, "udp", 53)
	if err != nil || addr.PortRangeSize() != 1 {
		return nameServer{}, fmt.Errorf("%s, found %s", expected, discovery.Excerpt(text))
	}
	if addr.Network != "udp" && addr.Network != "tcp" {
		return nameServer{}, fmt.Errorf("%s, found the network %s", expected, discovery.Excerpt(addr.Network))
	}
	at := net.JoinHostPort(addr.Host, strconv.FormatUint(uint64(addr.StartPort), 10))
	if err := discovery.CheckAddr(at); err != nil {
		return nameServer{}, fmt.Errorf("%s: %w", expected, err)
	}
	return nameServer{tcp: addr.Network == "tcp", addr: at}, nil
}

func (s *Source) check() error {
	switch {
	case s.Timeout < 0:
		return errors.New("timeout: expected a duration above 0")
	case s.Timeout > 0 && len(s.Resolvers) == 0:
		return errors.New("timeout: expected resolvers, which it is for")
	case (s.Address == "") == (s.SRV == ""):
		return errors.New("expected either an address (host:port) or the name of SRV records")
	case s.SRV != "":
		return checkService(s.SRV)
	}
	return discovery.CheckAddr(s.Address)
}

// ID implements discovery.Source.
func (s *Source) ID() string {
	servers := ""
	if len(s.servers) > 0 {
		servers = fmt.Sprintf("&resolvers=%v&timeout=%v", s.servers, s.timeout())
	}
	if s.SRV != "" {
		return fmt.Sprintf("dns+srv:///%s?refresh=%v%s", s.SRV, s.refresh, servers)
	}
	return fmt.Sprintf("dns:///%s?refresh=%v%s", s.Address, s.refresh, servers)
}

func (s *Source) timeout() time.Duration { return cmp.Or(time.Duration(s.Timeout), defaultTimeout) }

// Watch implements discovery.Source.
func (s *Source) Watch(ctx context.Context, publish func(discovery.State)) {
	p := poller{resolver: net.DefaultResolver, refresh: s.refresh}
	name := func(written string) string { return written }
	own := len(s.servers) > 0
	if own {
		p.resolver, name = newResolver(s.servers, s.timeout()), rooted
		p.limit = max(lookupTimeout, 3*s.timeout()) // so that another server can be asked
	}
	if s.SRV != "" {
		p.lookup = lookupService(name(s.SRV), own)
	} else {
		host, port, err := net.SplitHostPort(s.Address)
		if err != nil { // Provision would have refused it
			publish(discovery.State{Err: err})
			<-ctx.Done()
			return
		}
		p.lookup = lookupHost(name(host), port)
	}
	p.run(ctx, publish)
}

// UnmarshalTarget implements discovery.TargetUnmarshaler:
//
//	dns:///user.internal:9001[?refresh=<duration>]
//	dns+srv:///_grpc._tcp.user.internal[?refresh=<duration>]
//	dns://127.0.0.1:8600,127.0.0.2:8600/user.service.consul:9001
//
// The hosts of the last one are the name servers, as in gRPC's own names.
func (s *Source) UnmarshalTarget(t discovery.Target) (err error) {
	if t.Authority != "" && t.Path == "" {
		return errors.New("expected three slashes before the name, as in dns:///user.internal:9001; a host after two slashes is a name server")
	}
	if s.Resolvers, err = t.Hosts("53"); err != nil {
		return fmt.Errorf("name servers: %w", err)
	}
	if err := t.CheckQuery("refresh"); err != nil {
		return err
	}
	switch t.Scheme {
	case "dns":
		s.Address = t.Path
	case "dns+srv":
		s.SRV = t.Path
	default:
		return fmt.Errorf("expected the scheme dns or dns+srv, found %s", discovery.Excerpt(t.Scheme))
	}
	if values := t.Query["refresh"]; len(values) > 0 {
		if err := s.parseRefresh(values[0]); err != nil {
			return err
		}
	}
	return s.check()
}

func (s *Source) parseRefresh(text string) error {
	refresh, err := caddy.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("refresh: %w", err)
	}
	if refresh < minRefresh {
		return fmt.Errorf("expected a refresh of at least %v, found %s", minRefresh, text)
	}
	s.Refresh = caddy.Duration(refresh)
	return nil
}

// UnmarshalCaddyfile sets up the source from Caddyfile tokens. Syntax:
//
//	dns <host:port> {
//		refresh   <duration>
//		resolvers [<network>/]<host>[:<port>]...
//		timeout   <duration>
//	}
//	dns+srv <name> {
//		... the same options
//	}
//
// Both names are this module's; what comes after a "+" is for the module to understand.
func (s *Source) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	kind, field, example := d.Val(), &s.Address, "user.internal:9001"
	switch kind {
	case "dns":
	case "dns+srv":
		field, example = &s.SRV, "_grpc._tcp.user.internal"
	default:
		return d.Errf("discover %s: expected dns or dns+srv", kind)
	}
	if !d.AllArgs(field) {
		return d.Errf("expected one name, as in: discover %s %s", kind, example)
	}
	if err := s.check(); err != nil {
		return d.Errf("discover %s: %w", kind, err)
	}
	line := *d // for errors about the block as a whole
	seen := make(map[string]bool)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		if seen[name] {
			return d.Errf("option %s of discover %s is given twice", name, kind)
		}
		seen[name] = true
		if err := s.unmarshalOption(d, kind); err != nil {
			return err
		}
	}
	if err := s.check(); err != nil {
		return line.Errf("discover %s: %w", kind, err)
	}
	return nil
}

// unmarshalOption parses one option. The dispenser is at its name.
func (s *Source) unmarshalOption(d *caddyfile.Dispenser, kind string) error {
	name, args := d.Val(), d.RemainingArgs()
	switch {
	case name == "resolvers" && len(args) > 0:
		for _, text := range args {
			if strings.Contains(text, "{") {
				continue // Provision resolves placeholders.
			}
			if _, err := parseNameServer(text); err != nil {
				return d.WrapErr(err)
			}
		}
		s.Resolvers = args
	case name == "refresh" && len(args) == 1:
		if err := s.parseRefresh(args[0]); err != nil {
			return d.WrapErr(err)
		}
	case name == "timeout" && len(args) == 1:
		timeout, err := caddy.ParseDuration(args[0])
		if err != nil || timeout <= 0 {
			return d.Errf("timeout %q: expected a duration above 0, such as 2s", args[0])
		}
		s.Timeout = caddy.Duration(timeout)
	case name == "resolvers" || name == "refresh" || name == "timeout":
		return d.ArgErr()
	default:
		return d.Errf("unknown option %q of discover %s: expected refresh, resolvers or timeout", name, kind)
	}
	return nil
}

// Interface guards.
var (
	_ caddy.Provisioner           = (*Source)(nil)
	_ caddyfile.Unmarshaler       = (*Source)(nil)
	_ discovery.Source            = (*Source)(nil)
	_ discovery.TargetUnmarshaler = (*Source)(nil)
)
