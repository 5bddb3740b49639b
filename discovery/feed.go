package discovery

import "google.golang.org/grpc/resolver"

// Feed shares one watch of a source among any number of subscribers and remembers the last state.
type Feed struct{}

// NewFeed starts watching at once, in the background.
func NewFeed(src Source) *Feed { panic("to be built") }

// ID is the source's.
func (f *Feed) ID() string { panic("to be built") }

// State is the last published state; the zero State before the first.
func (f *Feed) State() State { panic("to be built") }

// Subscribe calls fn with the current state, unless nothing was published yet, and with each later one: one call at a time, in
// order, never blocked by other subscribers, skipping to the newest where fn is slow. cancel waits for a running fn.
func (f *Feed) Subscribe(fn func(State)) (cancel func()) { panic("to be built") }

// Close stops the watch and waits for it.
func (f *Feed) Close() { panic("to be built") }

// NewResolverBuilder returns a grpc resolver (scheme "gateway") that hands the feed's endpoints to a channel, with
// each Endpoint reachable through EndpointFromAddress.
func NewResolverBuilder(f *Feed) resolver.Builder { panic("to be built") }
