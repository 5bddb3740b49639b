// Package static is a source of endpoints that stand in the config, as the guest module http.grpc_gateway.discovery.static.
// Host names are handed on as they are: each connection resolves its own. To spread calls over all addresses of a
// name, use the module dns.
package static

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/caddy-grpc/gateway/discovery"
)

// state checks the addresses and makes the one state that there is. An address is its own ID.
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
