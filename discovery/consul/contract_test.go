package consul

import (
	"net/http"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/caddy-grpc/gateway/discovery"
	"github.com/caddy-grpc/gateway/discovery/discoverytest"
)

func TestContract(t *testing.T) {
	discoverytest.Run(t, discoverytest.Subject{New: func(t testing.TB) (discovery.Source, discoverytest.Registry) {
		a := newAgent(t)
		return provisioned(t, &Source{Address: a.addr(), Service: "user"}), &contractRegistry{agent: a}
	}})
}

func TestCatalogContract(t *testing.T) {
	// With one query, services take turns.
	for name, queries := range map[string]int{"enough queries": 0, "turns": 1} {
		t.Run(name, func(t *testing.T) {
			discoverytest.Run(t, discoverytest.Subject{Catalog: true, New: func(t testing.TB) (discovery.Source, discoverytest.Registry) {
				a := newAgent(t)
				return provisionedCatalog(t, &Catalog{Address: a.addr(), Queries: queries}), &contractRegistry{agent: a}
			}})
		})
	}
}

// contractRegistry is the agent as the contract changes it.
type contractRegistry struct {
	*agent
}

func (r *contractRegistry) Set(instances ...discoverytest.Instance) {
	entries := make([]*api.ServiceEntry, len(instances))
	for i, in := range instances {
		entries[i] = instance(in.ID, in.Addr, "passing")
		if in.Service != "" {
			entries[i] = of(in.Service, entries[i])
		}
	}
	r.set(entries...)
}

func (r *contractRegistry) Fail() { r.fail(http.StatusForbidden) }
func (r *contractRegistry) Heal() { r.fail(0) }

// Spoil adds an instance without a port.
func (r *contractRegistry) Spoil() {
	r.change(func() {
		r.entries = append(r.entries[:len(r.entries):len(r.entries)], instance("spoilt", "10.9.9.9:0", "passing"))
	})
}
