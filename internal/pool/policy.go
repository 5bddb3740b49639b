package pool

import (
	"google.golang.org/grpc/attributes"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/resolver"
)

// How a fleet becomes the policy of a grpc.ClientConn.
//
// grpc builds balancing policies by name from a registry of its own that is filled in init; there
// is no dial option for one. So one stateless builder is registered, and which fleet it serves
// comes with the first, and only, state of a resolver that belongs to the channel alone
// (grpc.WithResolvers): the fleet is an attribute of it. From then on the feed talks to the fleet
// itself. Lists of thousands of endpoints never become resolver states, which grpc would copy,
// compare and hand down as a whole.

const (
	policyName     = "caddy_grpc_gateway_pool"
	resolverScheme = "caddy-grpc-gateway-pool"
	serviceConfig  = `{"loadBalancingConfig":[{"` + policyName + `":{}}]}`
)

func init() { balancer.Register(policyBuilder{}) }

type policyBuilder struct{}

func (policyBuilder) Name() string { return policyName }

func (policyBuilder) Build(cc balancer.ClientConn, _ balancer.BuildOptions) balancer.Balancer {
	return &policy{cc: cc}
}

// policy is the fleet as grpc sees it.
type policy struct {
	cc    balancer.ClientConn
	fleet *fleet
}

type fleetKey struct{}

// UpdateClientConnState is called once, with the fleet.
func (p *policy) UpdateClientConnState(s balancer.ClientConnState) error {
	f, ok := s.ResolverState.Attributes.Value(fleetKey{}).(*fleet)
	if !ok {
		return balancer.ErrBadResolverState
	}
	p.fleet = f
	f.attach(p.cc)
	return nil
}

// Close is called when the channel closes.
func (p *policy) Close() {
	if p.fleet != nil {
		p.fleet.detach()
	}
}

// ResolverError has no meaning here: the feed keeps its last list.
func (*policy) ResolverError(error) {}

// UpdateSubConnState is not called: each SubConn has its listener.
func (*policy) UpdateSubConnState(balancer.SubConn, balancer.SubConnState) {}

// ExitIdle has no meaning here: a fleet is never idle.
func (*policy) ExitIdle() {}

// fleetResolver resolves to a fleet.
type fleetResolver struct{ fleet *fleet }

func (fleetResolver) Scheme() string { return resolverScheme }

func (r fleetResolver) Build(_ resolver.Target, cc resolver.ClientConn, _ resolver.BuildOptions) (resolver.Resolver, error) {
	return r, cc.UpdateState(resolver.State{Attributes: attributes.New(fleetKey{}, r.fleet)})
}

func (fleetResolver) ResolveNow(resolver.ResolveNowOptions) {}

func (fleetResolver) Close() {}
