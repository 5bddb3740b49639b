package static

import (
	"testing"

	"github.com/caddy-grpc/gateway/discovery"
	"github.com/caddy-grpc/gateway/discovery/discoverytest"
)

func TestContract(t *testing.T) {
	discoverytest.Run(t, discoverytest.Subject{Fixed: true, New: func(testing.TB) (discovery.Source, discoverytest.Registry) {
		return provisioned(t, "b:1", "10.0.0.1:9001"), nil
	}})
}
