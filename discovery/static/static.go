// Package static is a source of endpoints that the config lists. It is the guest module
// http.grpc_gateway.discovery.static. A host name is one endpoint, and each connection resolves it.
// To spread calls over all addresses of a name, use the module dns. A Unix socket is one endpoint,
// too.
package static

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/caddy-grpc/gateway/discovery"
)

// state checks the addresses and makes the only state of the source. An address is its own ID.
func state(addresses []string) (discovery.State, error) {
	if len(addresses) == 0 {
		return discovery.State{}, errors.New("expected addresses (host:port or unix//path), found none")
	}
	seen := make(map[string]bool, len(addresses))
	endpoints := make([]discovery.Endpoint, 0, len(addresses))
	for _, written := range addresses {
		addr, err := checkAddr(written)
		if err != nil {
			return discovery.State{}, err
		}
		if seen[addr] {
			return discovery.State{}, fmt.Errorf("expected each address once, found %s again", discovery.Excerpt(addr))
		}
		seen[addr] = true
		endpoints = append(endpoints, discovery.Endpoint{ID: addr, Addr: addr})
	}
	slices.SortFunc(endpoints, func(a, b discovery.Endpoint) int { return strings.Compare(a.ID, b.ID) })
	return discovery.State{Synced: true, Endpoints: endpoints}, nil
}

// checkAddr returns the address in the form that an endpoint has.
func checkAddr(addr string) (string, error) {
	if discovery.IsUnix(addr) {
		return discovery.ParseUnix(addr)
	}
	return addr, discovery.CheckAddr(addr)
}

// splitAddrs splits the list of a target. A Unix socket whose path has a comma cannot be a target.
func splitAddrs(list string) ([]string, error) {
	var addrs []string
	for text := range strings.SplitSeq(list, ",") {
		if !discovery.IsUnix(text) {
			hosts, err := discovery.SplitHosts(text, "")
			if err != nil {
				return nil, err
			}
			text = hosts[0]
		}
		addrs = append(addrs, text)
	}
	_, err := state(addrs)
	return addrs, err
}
