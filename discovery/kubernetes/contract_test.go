package kubernetes

import (
	"net"
	"net/http"
	"slices"
	"strconv"
	"testing"

	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/caddy-grpc/gateway/discovery"
	"github.com/caddy-grpc/gateway/discovery/discoverytest"
)

func TestContract(t *testing.T) {
	for name, old := range map[string]bool{"with streaming lists": false, "without": true} {
		t.Run(name, func(t *testing.T) {
			discoverytest.Run(t, discoverytest.Subject{New: func(t testing.TB) (discovery.Source, discoverytest.Registry) {
				server := newServer(t, old)
				s := &Source{Namespace: "shop", Service: "user", Kubeconfig: server.kubeconfig(t)}
				return provisioned(t, s), &registry{server}
			}})
		})
	}
}

func TestCatalogContract(t *testing.T) {
	for name, old := range map[string]bool{"with streaming lists": false, "without": true} {
		t.Run(name, func(t *testing.T) {
			discoverytest.Run(t, discoverytest.Subject{Catalog: true, New: func(t testing.TB) (discovery.Source, discoverytest.Registry) {
				server := newServer(t, old)
				return provisionedCatalog(t, &Catalog{Namespace: "shop", Kubeconfig: server.kubeconfig(t)}), &registry{server}
			}})
		})
	}
}

// registry makes a slice of each instance, because each has a port of its own.
type registry struct{ *apiServer }

func (r *registry) Set(instances ...discoverytest.Instance) {
	want := make(map[string]*discoveryv1.EndpointSlice)
	for _, in := range instances {
		host, port, _ := net.SplitHostPort(in.Addr)
		number, _ := strconv.Atoi(port)
		s := slice(in.Service+"-"+in.ID, pod(in.ID, host, ""))
		s.Ports[0].Port = ptr(int32(number))
		if in.Service != "" {
			s.Labels[discoveryv1.LabelServiceName] = in.Service
		}
		want[s.Name] = s
	}
	r.mu.Lock()
	var gone []string
	for name := range r.slices {
		if want[name] == nil {
			gone = append(gone, name)
		}
	}
	r.mu.Unlock()
	slices.Sort(gone)
	for _, name := range gone {
		r.remove(name)
	}
	for _, s := range want {
		r.set(s)
	}
}

func (r *registry) Fail() { r.fail(http.StatusForbidden) }
func (r *registry) Heal() { r.fail(0) }

// Spoil adds a slice whose pods have no port.
func (r *registry) Spoil() {
	s := slice("spoilt", pod("spoilt", "10.9.9.9", ""))
	s.Ports = nil
	r.set(s)
}
