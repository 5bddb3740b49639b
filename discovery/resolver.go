package discovery

import (
	"fmt"
	"maps"
	"slices"

	"google.golang.org/grpc/attributes"
	"google.golang.org/grpc/resolver"
)

// Scheme of the targets that NewResolverBuilder resolves, as in grpc.NewClient("gateway:///user", grpc.WithResolvers(b)).
const Scheme = "gateway"

// NewResolverBuilder returns a grpc resolver (scheme "gateway") that hands the feed's endpoints to a channel, with
// each Endpoint reachable through EndpointFromAddress and EndpointFromResolver. It is for one channel, through
// grpc.WithResolvers, not for grpc's global registry; what stands after the scheme is not looked at.
//
// Each registration is one endpoint, so two of them may have the same address. As long as nothing is known the channel hears
// only of errors; an empty list is handed on when the source says that there is nothing, never because of an error.
// Once there is a list, errors are not reported: the list stays in use. The resolver brings no service config.
func NewResolverBuilder(f *Feed) resolver.Builder { return builder{f} }

type builder struct{ feed *Feed }

// Scheme implements resolver.Builder.
func (builder) Scheme() string { return Scheme }

// Build implements resolver.Builder.
func (b builder) Build(_ resolver.Target, cc resolver.ClientConn, _ resolver.BuildOptions) (resolver.Resolver, error) {
	r := &feedResolver{cc: cc}
	r.cancel = b.feed.Subscribe(r.update)
	return r, nil
}

type feedResolver struct {
	cc     resolver.ClientConn
	cancel func()

	// Used by update only, which runs once at a time.
	known bool
	last  []Endpoint
}

// ResolveNow does nothing: sources tell of changes by themselves.
func (*feedResolver) ResolveNow(resolver.ResolveNowOptions) {}

// Close implements resolver.Resolver.
func (r *feedResolver) Close() { r.cancel() }

func (r *feedResolver) update(s State) {
	if !s.Synced && len(s.Endpoints) == 0 {
		if s.Err != nil && !r.known {
			r.cc.ReportError(fmt.Errorf("no instances are known yet: %w", s.Err))
		}
		return
	}
	if r.known && slices.EqualFunc(r.last, s.Endpoints, Endpoint.Equal) {
		return
	}
	r.known, r.last = true, s.Endpoints
	// The error says that the balancing policy does not like the list and wants it again. There is no other list.
	_ = r.cc.UpdateState(resolverState(s.Endpoints))
}

func resolverState(endpoints []Endpoint) resolver.State {
	state := resolver.State{
		Addresses: make([]resolver.Address, len(endpoints)),
		Endpoints: make([]resolver.Endpoint, len(endpoints)),
	}
	for i, e := range endpoints {
		attrs := attributes.New(endpointKey{}, endpointValue{e})
		state.Addresses[i] = resolver.Address{Addr: e.Addr, Attributes: attrs}
		state.Endpoints[i] = resolver.Endpoint{Addresses: state.Addresses[i : i+1 : i+1], Attributes: attrs}
	}
	return state
}

// endpointKey and endpointValue are an Endpoint among the attributes. grpc compares attributes by Equal.
type (
	endpointKey   struct{}
	endpointValue struct{ Endpoint }
)

// Equal implements what grpc's attributes ask for.
func (v endpointValue) Equal(other any) bool {
	o, ok := other.(endpointValue)
	return ok && v.Endpoint.Equal(o.Endpoint)
}

// String is what grpc logs.
func (v endpointValue) String() string { return v.ID }

// EndpointFromAddress is the Endpoint that an address handed on by NewResolverBuilder's resolver stands for.
func EndpointFromAddress(a resolver.Address) (Endpoint, bool) { return endpointFrom(a.Attributes) }

// EndpointFromResolver is the same for grpc's own notion of an endpoint.
func EndpointFromResolver(e resolver.Endpoint) (Endpoint, bool) { return endpointFrom(e.Attributes) }

func endpointFrom(a *attributes.Attributes) (Endpoint, bool) {
	v, ok := a.Value(endpointKey{}).(endpointValue)
	return v.Endpoint, ok
}

// Equal reports whether both describe the same registration with the same content.
func (e Endpoint) Equal(o Endpoint) bool {
	return e.ID == o.ID && e.Addr == o.Addr && e.Weight == o.Weight && maps.Equal(e.Metadata, o.Metadata)
}
