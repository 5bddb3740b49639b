// Package static is a source of endpoints that the config lists. It is the guest module
// http.grpc_gateway.discovery.static. A host name is one endpoint, and each connection resolves it.
// To spread calls over all addresses of a name, use the module dns.
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
		return discovery.State{}, errors.New("expected addresses (host:port), found none")
	}
	seen := make(map[string]bool, len(addresses))
	endpoints := make([]discovery.Endpoint, 0, len(addresses))
	for _, addr := range addresses {
		if err := discovery.CheckAddr(addr); err != nil {
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
