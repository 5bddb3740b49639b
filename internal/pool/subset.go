package pool

import (
	"cmp"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/caddy-grpc/gateway/internal/pool/balance"
)

// With thousands of instances and hundreds of gateways, connections from each to each are too many.
// So a gateway may use a subset only: the endpoints that score highest for it (rendezvous hashing
// of the gateway's identity with their addresses). Gateways need no word between them, each
// instance is used by about as many gateways, and one that comes or goes changes at most one
// member.

const (
	// lackingAfter is how long a member must have been out of use for another one to be taken in
	// besides.
	lackingAfter = 5 * time.Second
	// subsetBound is how many times larger than configured the subset may become by that.
	subsetBound = 2
)

// subset is which endpoints are used. It belongs to the balancer's mutex.
type subset struct {
	identity uint64      // of the gateway
	ranked   []*endpoint // all that are registered or held, highest score first; unless unsorted
	joined   []*endpoint // that are to be ranked
	left     bool        // some of ranked are to be taken out
	members  []*endpoint // in use, in that order
	round    uint64      // of choosing
	stale    bool        // members are to be chosen anew
}

func newSubset(s Settings) subset { return subset{identity: xxhash.Sum64String(s.SubsetKey)} }

// admit takes in an endpoint that has got its first registration.
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

// rank has an endpoint take part in choosing.
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

// unrank takes it out.
//
// Caller must hold b.mu.
func (b *balancer) unrank(ep *endpoint) {
	if ep.ranked {
		ep.ranked = false
		b.subset.left, b.subset.stale = true, true
	}
}

// sort brings ranked up to date, at the cost of a walk over it and of sorting what is new.
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

// choose brings the members up to date if something may have changed them. Members are the highest
// ranked, as many as configured; for each of them that has been out of use for long there is one
// more. Members that others take the place of stay until these are usable.
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

// watchLacking looks after a member that is not usable: when it has not become so for long, it
// counts as lacking.
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
	Known int `json:"known"`  // instances that are registered
	InUse int `json:"in_use"` // of those, and of the held ones, how many this gateway uses
}
