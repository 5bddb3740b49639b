package dns

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/caddy-grpc/gateway/discovery"
	"github.com/caddy-grpc/gateway/discovery/discoverytest"
)

// TestContract asks for SRV records, every 20 ms.
func TestContract(t *testing.T) {
	discoverytest.Run(t, discoverytest.Subject{New: func(testing.TB) (discovery.Source, discoverytest.Registry) {
		r := &fakeResolver{start: time.Now()}
		return polled{r}, &zone{fakeResolver: r}
	}})
}

// polled is a source that asks a fake resolver often.
type polled struct{ resolver *fakeResolver }

func (polled) ID() string { return "dns+srv:///_grpc._tcp.user.internal" }

func (p polled) Watch(ctx context.Context, publish func(discovery.State)) {
	poller := poller{resolver: p.resolver, lookup: lookupService("_grpc._tcp.user.internal", false), refresh: 20 * time.Millisecond}
	poller.run(ctx, publish)
}

// zone makes records of instances.
type zone struct {
	*fakeResolver

	all     []*net.SRV
	failing bool
}

func (z *zone) Set(instances ...discoverytest.Instance) {
	z.all = nil
	for _, in := range instances {
		addr, err := net.ResolveTCPAddr("tcp", in.Addr)
		if err != nil {
			panic(err)
		}
		z.all = append(z.all, &net.SRV{Target: addr.IP.String() + ".", Port: uint16(addr.Port)})
	}
	z.serve()
}

func (z *zone) Fail() {
	z.failing = true
	z.serve()
}

func (z *zone) Heal() {
	z.failing = false
	z.serve()
}

func (z *zone) Spoil() {
	z.all = append(z.all, &net.SRV{Target: "user-9.internal."}) // without a port
	z.serve()
}

// serve makes the resolver answer with the records, or with an error and none.
func (z *zone) serve() {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.records, z.err = z.all, nil
	if z.failing {
		z.records, z.err = nil, errServer
	}
}
