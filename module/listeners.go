package module

import (
	"net"
	"net/netip"
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// listensAt reports whether a server of this process listens at an address. It may be one of
// Caddy's HTTP servers, its admin endpoint, or another server that listens through Caddy. A server
// that listens at a host name other than localhost is not recognised.
func listensAt(at netip.AddrPort) bool {
	port := strconv.Itoa(int(at.Port()))
	hosts := []string{at.Addr().String()}
	if at.Addr().IsLoopback() {
		hosts = append(hosts, "localhost")
	}
	if listens(port, hosts...) {
		return true
	}
	return listens(port, "", "0.0.0.0", "::") && isLocal(at.Addr())
}

func listens(port string, hosts ...string) bool {
	configured := configuredListeners.Load()
	for _, host := range hosts {
		if configured != nil && (*configured)[net.JoinHostPort(host, port)] {
			return true
		}
	}
	for _, network := range []string{"tcp", "tcp4", "tcp6"} {
		for _, host := range hosts {
			if caddy.ListenerUsage(network, net.JoinHostPort(host, port)) > 0 {
				return true
			}
		}
	}
	return false
}

// isLocal reports whether an address belongs to this machine.
func isLocal(addr netip.Addr) bool {
	if addr.IsLoopback() {
		return true
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, a := range own {
		if network, err := netip.ParsePrefix(a.String()); err == nil && network.Addr().Unmap() == addr {
			return true
		}
	}
	return false
}

// applyListeners makes the addresses of the config's HTTP servers known before the servers listen:
// Caddy may start this app first.
func (a *App) applyListeners() {
	known := make(map[string]bool)
	if app, err := a.ctx.AppIfConfigured("http"); err == nil {
		for _, server := range app.(*caddyhttp.App).Servers {
			for _, listen := range server.Listen {
				addListener(known, listen)
			}
		}
	}
	configuredListeners.Store(&known)
}

// addListener adds the addresses of a Listen entry, which may be a range of ports.
func addListener(known map[string]bool, listen string) {
	const most = 1024 // ports in a range
	addr, err := caddy.ParseNetworkAddress(listen)
	if err != nil || addr.IsUnixNetwork() || addr.IsFdNetwork() {
		return
	}
	for i := range min(addr.PortRangeSize(), most) {
		known[addr.JoinHostPort(i)] = true
	}
}
