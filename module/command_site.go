package module

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/spf13/cobra"
)

// defaultSite is where `call` looks for the gateway if it is told nothing.
const defaultSite = "http://localhost:80"

// site is where a gateway answers.
type site struct {
	url string
	// dial is where to connect. nil: where the URL says. A config also names sites whose names
	// lead to other machines.
	dial *caddy.NetworkAddress
}

// siteFor returns the site of the flag --address, of the config, or the default.
func siteFor(cmd *cobra.Command) (site, error) {
	address, _ := cmd.Flags().GetString("address")
	file, _ := cmd.Flags().GetString("config")
	if file == "" || cmd.Flags().Changed("address") {
		if !strings.Contains(address, "://") {
			address = "http://" + address
		}
		return site{url: address}, nil
	}
	raw, err := readConfig(cmd)
	if err != nil {
		return site{}, err
	}
	return siteOf(raw)
}

// siteOf returns the site with the gateway in the JSON of a config, if there is only one.
func siteOf(raw []byte) (site, error) {
	var config struct {
		Apps struct {
			HTTP caddyhttp.App `json:"http"`
		} `json:"apps"`
	}
	if err := json.Unmarshal(raw, &config); err != nil {
		return site{}, fmt.Errorf("decoding config: %w", err)
	}
	app := &config.Apps.HTTP
	found := siteSearch{app: app, invoking: make(map[string]bool)}
	for _, server := range app.Servers {
		if err := found.in(server); err != nil {
			return site{}, err
		}
	}
	var urls []string
	for _, s := range found.sites {
		urls = append(urls, s.url)
	}
	slices.Sort(urls)
	switch len(found.sites) {
	case 0:
		return site{}, errors.New("the config has no site with grpc_gateway: expected --address")
	case 1:
		return found.sites[0], nil
	default:
		return site{}, fmt.Errorf("the config has grpc_gateway at several addresses, choose one with --address: %s", some(urls, ", "))
	}
}

// siteSearch looks for grpc_gateway in the routes of servers.
type siteSearch struct {
	app    *caddyhttp.App
	server *caddyhttp.Server
	dial   caddy.NetworkAddress
	tls    bool
	sites  []site // with different URLs

	invoking map[string]bool // named routes that are being looked at
}

// in looks at a server. The first of its addresses counts, because all have the same routes.
func (s *siteSearch) in(server *caddyhttp.Server) error {
	for _, listen := range server.Listen {
		listen, err := caddy.NewReplacer().ReplaceOrErr(listen, true, true)
		if err != nil {
			return fmt.Errorf("listener address of the config: %w", err)
		}
		at, err := caddy.ParseNetworkAddress(listen)
		if err != nil {
			return fmt.Errorf("listener address %q of the config: %w", listen, err)
		}
		if at.IsFdNetwork() || strings.HasPrefix(at.Network, "udp") {
			continue
		}
		if ip := net.ParseIP(at.Host); !at.IsUnixNetwork() && (at.Host == "" || ip != nil && ip.IsUnspecified()) {
			at.Host = "localhost"
		}
		s.server, s.dial, s.tls = server, at, s.usesTLS(server, int(at.StartPort))
		s.routes(server.Routes, nil, "")
		return nil
	}
	return nil
}

// usesTLS reports whether a server speaks TLS at a port. It does if the config says so, or by
// Caddy's automatic HTTPS: https://caddyserver.com/docs/automatic-https#activation.
func (s *siteSearch) usesTLS(server *caddyhttp.Server, port int) bool {
	http, https := s.app.HTTPPort, s.app.HTTPSPort
	if http == 0 {
		http = caddyhttp.DefaultHTTPPort
	}
	if https == 0 {
		https = caddyhttp.DefaultHTTPSPort
	}
	auto := server.AutoHTTPS
	switch {
	case port == http:
		return false
	case len(server.TLSConnPolicies) > 0:
		return true
	case auto != nil && auto.Disabled:
		return false
	case port == https:
		return true
	}
	for i := range server.Routes {
		for _, host := range hostsOf(&server.Routes[i]) {
			if auto == nil || !slices.Contains(auto.Skip, host) {
				return true
			}
		}
	}
	return false
}

// hostsOf returns the names in the host matchers of a route.
func hostsOf(route *caddyhttp.Route) (all []string) {
	for _, set := range route.MatcherSetsRaw {
		var hosts []string
		if json.Unmarshal(set["host"], &hosts) == nil {
			all = append(all, hosts...)
		}
	}
	return all
}

// routes looks at routes for these hosts. prefix is what is removed from paths before them.
func (s *siteSearch) routes(list caddyhttp.RouteList, hosts []string, prefix string) {
	for i := range list {
		route := &list[i]
		inner := hosts
		if own := hostsOf(route); len(own) > 0 {
			inner = own
		}
		after := prefix
		for _, raw := range route.HandlersRaw {
			after = s.handler(raw, inner, after)
		}
		if len(route.MatcherSetsRaw) == 0 {
			prefix = after // It holds for all requests that come to the next route.
		}
	}
}

// handler looks at one handler, and returns the prefix for the next.
func (s *siteSearch) handler(raw json.RawMessage, hosts []string, prefix string) string {
	var h struct {
		Handler string              `json:"handler"`
		Routes  caddyhttp.RouteList `json:"routes"`            // of subroute
		Strip   string              `json:"strip_path_prefix"` // of rewrite
		Name    string              `json:"name"`              // of invoke
	}
	if json.Unmarshal(raw, &h) != nil {
		return prefix
	}
	switch h.Handler {
	case "grpc_gateway":
		s.add(hosts, prefix)
	case "subroute":
		s.routes(h.Routes, hosts, prefix)
	case "invoke":
		if named := s.server.NamedRoutes[h.Name]; named != nil && !s.invoking[h.Name] {
			s.invoking[h.Name] = true
			s.routes(caddyhttp.RouteList{*named}, hosts, prefix)
			s.invoking[h.Name] = false
		}
	case "rewrite":
		return prefix + h.Strip
	}
	return prefix
}

// add adds a site. Of several names of a site one is enough. A name with a wildcard or a
// placeholder is none that can be asked for.
func (s *siteSearch) add(hosts []string, prefix string) {
	host := s.dial.Host
	if s.dial.IsUnixNetwork() {
		host = "localhost"
	}
	for i, name := range hosts {
		if !strings.ContainsAny(name, "*{") {
			host = name
			break
		}
		if i == len(hosts)-1 {
			return
		}
	}
	scheme, usual := "http", uint(80)
	if s.tls {
		scheme, usual = "https", 443
	}
	if s.dial.StartPort != usual && !s.dial.IsUnixNetwork() {
		host = net.JoinHostPort(host, strconv.FormatUint(uint64(s.dial.StartPort), 10))
	} else if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	at := site{url: scheme + "://" + host + prefix, dial: &s.dial}
	if !slices.ContainsFunc(s.sites, func(other site) bool { return other.url == at.url }) {
		dial := s.dial
		at.dial = &dial
		s.sites = append(s.sites, at)
	}
}
