package pool

import (
	"cmp"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/caddy-grpc/gateway/internal/pool/balance"
)

// With thousands of instances and hundreds of gateways, connections from every gateway to every
// instance are too many. So a gateway can use a subset: the endpoints that score highest in a hash
// of the gateway's identity with their addresses (rendezvous hashing).
//
// Gateways need not talk to each other. Each instance is used by about the same number of gateways.
// An endpoint that comes or goes changes at most one member.

const (
	// lackingAfter is how long a member must have been unusable before another endpoint joins the
	// subset in addition.
	lackingAfter = 5 * time.Second
	// subsetBound is how many times larger than configured the subset may become in this way.
	subsetBound = 2
)

// subset has the endpoints that are used. It belongs to the balancer's mutex.
type subset struct {
	// identity is a hash of the gateway's key.
	identity uint64
	// ranked has the endpoints that are registered or held, highest score first. It is out of date
	// until sort is called.
	ranked []*endpoint
	// joined has endpoints that sort must add to ranked.
	joined []*endpoint
	// left is true if sort must remove endpoints from ranked.
	left bool
	// members has the endpoints in use. Those with the highest score come first.
	members []*endpoint
	// round counts the choices.
	round uint64
	// stale is true if the members must be chosen again.
	stale bool
}

func newSubset(s Settings) subset { return subset{identity: xxhash.Sum64String(s.SubsetKey)} }

// admit takes in an endpoint that has its first registration. It returns the connections to dial.
//
// Caller must hold b.mu.
func (b *balancer) admit(ep *endpoint) (dial []*conn) {
	if b.settings.Subset == 0 {
		b.use(ep)
		return b.fill(ep)
	}
	b.rank(ep)
	return nil
}

// rank makes an endpoint take part in the choice.
//
// Caller must hold b.mu.
func (b *balancer) rank(ep *endpoint) {
	if ep.ranked {
		return
	}
	ep.ranked = true
	ep.score = balance.Mix(ep.Seed ^ b.subset.identity)
	b.subset.joined = append(b.subset.joined, ep)
	b.subset.stale = true
}

// unrank removes an endpoint from the choice.
//
// Caller must hold b.mu.
func (b *balancer) unrank(ep *endpoint) {
	if ep.ranked {
		ep.ranked = false
		b.subset.left, b.subset.stale = true, true
	}
}

// sort brings ranked up to date. The cost is one walk over it and sorting what is new.
func (s *subset) sort() {
	if s.left {
		s.ranked = slices.DeleteFunc(s.ranked, func(ep *endpoint) bool { return !ep.ranked })
		s.joined = slices.DeleteFunc(s.joined, func(ep *endpoint) bool { return !ep.ranked })
		s.left = false
	}
	if len(s.joined) == 0 {
		return
	}
	slices.SortFunc(s.joined, higher)
	merged := make([]*endpoint, 0, len(s.ranked)+len(s.joined))
	old, joined := s.ranked, s.joined
	for len(old) > 0 && len(joined) > 0 {
		if higher(old[0], joined[0]) <= 0 {
			merged, old = append(merged, old[0]), old[1:]
		} else {
			merged, joined = append(merged, joined[0]), joined[1:]
		}
	}
	s.ranked, s.joined = append(append(merged, old...), joined...), nil
}

func higher(a, b *endpoint) int {
	return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.addr, b.addr))
}

// choose updates the members if something may have changed them. The members are the endpoints with
// the highest scores, as many as configured. For each of them that has been unusable for too long,
// there is one more. A former member stays until the one that replaces it is usable.
//
// Caller must hold b.mu.
func (b *balancer) choose() {
	s := &b.subset
	if !s.stale {
		return
	}
	s.stale = false
	s.sort()
	s.round++
	var (
		n            = b.settings.Subset
		able, usable int
		members      = make([]*endpoint, 0, min(n, len(s.ranked)))
		dial         []*conn
	)
	join := func(ep *endpoint) {
		ep.round = s.round
		members = append(members, ep)
		if ep.usable {
			usable++
		}
	}
	for _, ep := range s.ranked {
		if able == n || len(members) == subsetBound*n {
			break
		}
		if !ep.lacking {
			able++
		}
		join(ep)
	}
	for _, ep := range s.members {
		if ep.round != s.round && ep.ranked && ep.usable && usable < n {
			join(ep)
		}
	}
	old := s.members
	s.members = members
	for _, ep := range members {
		if !ep.inUse {
			b.use(ep)
			dial = append(dial, b.fill(ep)...)
			b.refresh(ep)
		}
	}
	for _, ep := range old {
		if ep.round != s.round && ep.inUse {
			if b.unhold(ep); !ep.registered() {
				b.unrank(ep)
			}
			b.drain(ep)
		}
	}
	b.dialAll(dial)
}

// watchLacking watches a member that is not usable. If it stays so for too long, it counts as
// lacking.
//
// Caller must hold b.mu.
func (b *balancer) watchLacking(ep *endpoint) {
	if b.settings.Subset == 0 {
		return
	}
	now := time.Now()
	ep.waiting = now
	b.at(now.Add(lackingAfter), func() {
		if ep.inUse && !ep.usable && ep.waiting.Equal(now) {
			ep.lacking = true
			b.subset.stale = true
		}
	})
}

// SubsetSnapshot says how large a subset is.
type SubsetSnapshot struct {
	// Known is the number of registered instances.
	Known int `json:"known"`
	// InUse is the number of instances that this gateway uses. Held ones count as well.
	InUse int `json:"in_use"`
}
