package consul

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/consul/api"

	"github.com/caddy-grpc/gateway/discovery"
)

// maxWeight limits what an instance can claim for itself, so that sums of weights do not overflow.
const maxWeight = 1_000_000

// list is what one answer of Consul means.
type list struct {
	endpoints []discovery.Endpoint
	skipped   []discovery.Skipped
	// withdrawn are instances in maintenance, which somebody has taken out on purpose.
	withdrawn []discovery.Endpoint
}

func convert(entries []*api.ServiceEntry) list {
	var l list
	seen := make(map[string]bool, len(entries))
	for _, entry := range entries {
		if entry == nil || entry.Service == nil || entry.Node == nil {
			continue
		}
		id := entry.Node.Node + "/" + entry.Service.ID
		if seen[id] {
			continue
		}
		seen[id] = true
		l.add(id, entry)
	}
	slices.SortFunc(l.endpoints, byID)
	slices.SortFunc(l.withdrawn, byID)
	slices.SortFunc(l.skipped, func(a, b discovery.Skipped) int { return cmp.Compare(a.ID, b.ID) })
	return l
}

func byID(a, b discovery.Endpoint) int { return cmp.Compare(a.ID, b.ID) }

func (l *list) add(id string, entry *api.ServiceEntry) {
	addr, err := address(entry)
	if err != nil {
		l.skip(id, err.Error())
		return
	}
	e := discovery.Endpoint{
		ID: id, Addr: addr, Weight: weight(entry.Service.Weights.Passing), Metadata: metadata(entry),
		Registration: int64(entry.Service.CreateIndex), // An index of raft.
	}
	switch status := entry.Checks.AggregatedStatus(); status {
	case api.HealthPassing:
		l.endpoints = append(l.endpoints, e)
	case api.HealthMaint:
		l.withdrawn = append(l.withdrawn, e)
		l.skip(id, "expected passing health checks, found maintenance mode")
	default:
		l.skip(id, failing(entry.Checks))
	}
}

func (l *list) skip(id, reason string) {
	l.skipped = append(l.skipped, discovery.Skipped{ID: id, Reason: reason})
}

// address returns the address of an instance, which is that of its node if it has none of its own.
func address(entry *api.ServiceEntry) (string, error) {
	s := entry.Service
	if s.SocketPath != "" {
		return "", fmt.Errorf("expected host:port, found the Unix socket %s, which only a config may name", discovery.Excerpt(s.SocketPath))
	}
	if s.Port == 0 {
		return "", errors.New("expected a port, found none")
	}
	addr := net.JoinHostPort(cmp.Or(s.Address, entry.Node.Address), strconv.Itoa(s.Port))
	return addr, discovery.CheckAddr(addr)
}

// failing says which check does not pass.
func failing(checks api.HealthChecks) string {
	for _, c := range checks {
		if c != nil && c.Status != api.HealthPassing {
			return fmt.Sprintf("expected passing health checks, found %s %s", discovery.Excerpt(cmp.Or(c.Name, c.CheckID)), c.Status)
		}
	}
	return "expected passing health checks"
}

// weight is Consul's weight of passing instances. Its default is 1.
func weight(w int) uint32 { return uint32(min(max(w, 0), maxWeight)) }

// metadata is the instance's own, with its node and its tags.
func metadata(entry *api.ServiceEntry) map[string]string {
	m := make(map[string]string, len(entry.Service.Meta)+2)
	m["node"] = entry.Node.Node
	if tags := entry.Service.Tags; len(tags) > 0 {
		m["tags"] = strings.Join(tags, ",")
	}
	maps.Copy(m, entry.Service.Meta)
	return m
}
