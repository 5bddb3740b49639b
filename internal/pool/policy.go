package pool

import (
	"google.golang.org/grpc/attributes"
	grpcbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/resolver"
)

// This file makes a balancer the policy of a grpc.ClientConn.
//
// Grpc builds balancing policies by name, from a registry that is filled in init. It has no dial
// option for a policy. So one stateless builder is registered. Each channel has a resolver of its
// own (grpc.WithResolvers). The first and only state of that resolver carries the balancer as an
// attribute.
//
// After that the feed talks to the balancer directly. Lists of thousands of endpoints never become
// resolver states, which grpc would copy, compare and pass down as a whole.

const (
	policyName     = "caddy_grpc_gateway_pool"
	resolverScheme = "caddy-grpc-gateway-pool"
	serviceConfig  = `{"loadBalancingConfig":[{"` + policyName + `":{}}]}`
)

func init() { grpcbalancer.Register(policyBuilder{}) }

type policyBuilder struct{}

func (policyBuilder) Name() string { return policyName }

func (policyBuilder) Build(cc grpcbalancer.ClientConn, _ grpcbalancer.BuildOptions) grpcbalancer.Balancer {
	return &policy{cc: cc}
}

// policy is the balancer as grpc sees it.
type policy struct {
	cc       grpcbalancer.ClientConn
	balancer *balancer
}

type balancerKey struct{}

// UpdateClientConnState is called once, with the balancer as an attribute.
func (p *policy) UpdateClientConnState(s grpcbalancer.ClientConnState) error {
	b, ok := s.ResolverState.Attributes.Value(balancerKey{}).(*balancer)
	if !ok {
		return grpcbalancer.ErrBadResolverState
	}
	p.balancer = b
	b.attach(p.cc)
	return nil
}

// Close is called when the channel closes.
func (p *policy) Close() {
	if p.balancer != nil {
		p.balancer.detach()
	}
}

// ResolverError does nothing: the feed keeps its last list.
func (*policy) ResolverError(error) {}

// UpdateSubConnState is not called: each SubConn has its own listener.
func (*policy) UpdateSubConnState(grpcbalancer.SubConn, grpcbalancer.SubConnState) {}

// ExitIdle does nothing: a balancer is never idle.
func (*policy) ExitIdle() {}

// balancerResolver resolves to a balancer.
type balancerResolver struct{ balancer *balancer }

func (balancerResolver) Scheme() string { return resolverScheme }

func (r balancerResolver) Build(_ resolver.Target, cc resolver.ClientConn, _ resolver.BuildOptions) (resolver.Resolver, error) {
	return r, cc.UpdateState(resolver.State{Attributes: attributes.New(balancerKey{}, r.balancer)})
}

func (balancerResolver) ResolveNow(resolver.ResolveNowOptions) {}

func (balancerResolver) Close() {}
