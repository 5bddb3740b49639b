package pool

import (
	"time"

	"github.com/caddy-grpc/gateway/discovery"
)

// A registry that is sick or was wiped may say that instances are gone although they are not. So
// when many vanish at once, those that are connected stay in use. They are held.
//
// The network is believed at once: a held endpoint that loses its connections is let go. The
// registry is believed after it has been well, and without the endpoint, for the hold time.

const (
	// lossWindow is the time within which losses count together.
	lossWindow = 15 * time.Second
	// massLossOf is the minimum number of endpoints for which the loss of more than half is
	// suspicious. With fewer endpoints, only the loss of the last one is.
	massLossOf = 4
)

// holding is what a balancer knows about endpoints that vanished from the registry. It belongs to
// the balancer's mutex.
type holding struct {
	// time is State.Hold. 0: nothing is held.
	time time.Duration
	// lost has the addresses that vanished within lossWindow and are not held.
	lost map[string]time.Time
	// losses has the same addresses by time, and some that are not lost any more.
	losses []loss
	// held is the number of held endpoints.
	held int
	// queue has the held endpoints by time, and some that are not held any more.
	queue []heldEntry
	clock contactClock
	// withdrawn are addresses that somebody has taken out of the registry on purpose. They are not
	// held.
	withdrawn map[string]struct{}
	// due is true if a task for the queue is on the agenda.
	due bool
}

type loss struct {
	at   time.Time
	addr string
}

type heldEntry struct {
	// addr is kept instead of the endpoint, so that a forgotten endpoint does not stay in memory.
	addr string
	// until is on the contact clock.
	until time.Duration
}

// contactClock runs while the registry is in contact and sure of what it says.
type contactClock struct {
	running bool
	since   time.Time
	// sum is the time that the clock had run before since.
	sum time.Duration
}

func (c *contactClock) set(running bool, now time.Time) {
	c.sum = c.at(now)
	c.running, c.since = running, now
}

func (c *contactClock) at(now time.Time) time.Duration {
	if !c.running {
		return c.sum
	}
	return c.sum + now.Sub(c.since)
}

// note adds addresses that have just vanished. It forgets those that vanished too long ago.
func (h *holding) note(gone []*endpoint, now time.Time) {
	for _, ep := range gone {
		if _, ok := h.withdrawn[ep.addr]; ok {
			continue
		}
		h.lost[ep.addr] = now
		h.losses = append(h.losses, loss{now, ep.addr})
	}
	old := 0
	for ; old < len(h.losses) && now.Sub(h.losses[old].at) > lossWindow; old++ {
		if l := h.losses[old]; h.lost[l.addr].Equal(l.at) {
			delete(h.lost, l.addr)
		}
	}
	h.losses = h.losses[old:]
}

// suspicious reports whether the recent losses look like trouble with the registry, given the
// number of endpoints that are still registered.
func (h *holding) suspicious(registered int) bool {
	missing := len(h.lost) + h.held
	all := registered + missing
	return registered == 0 || all >= massLossOf && 2*missing > all
}

// withdraw takes the addresses that were removed from the registry on purpose. It lets those go
// that are held.
//
// Caller must hold b.mu.
func (b *balancer) withdraw(list []discovery.Endpoint, what *changes) {
	h := &b.hold
	h.withdrawn = nil
	if len(list) == 0 {
		return
	}
	h.withdrawn = make(map[string]struct{}, len(list))
	for _, e := range list {
		h.withdrawn[e.Addr] = struct{}{}
		delete(h.lost, e.Addr)
		if ep := b.endpoints[e.Addr]; ep != nil && ep.held {
			b.unhold(ep)
			what.removed.add(ep.addr)
			b.remove(ep)
		}
	}
}

// lose takes endpoints out of use whose last registration is gone. If many are lost, it holds those
// that are connected.
//
// Caller must hold b.mu.
func (b *balancer) lose(gone []*endpoint, what *changes) {
	if len(gone) == 0 {
		return
	}
	if now := time.Now(); b.hold.time > 0 {
		b.hold.note(gone, now)
		if b.hold.suspicious(b.registered) {
			// These include endpoints that vanished one by one shortly before.
			for addr := range b.hold.lost {
				if ep := b.endpoints[addr]; ep != nil && ep.connected && !ep.cut.Load() {
					b.keep(ep, now)
					what.held.add(addr)
				}
			}
			b.watchHeld()
		}
	}
	for _, ep := range gone {
		if !ep.held {
			what.removed.add(ep.addr)
			b.remove(ep)
		}
	}
}

// remove takes an endpoint out of use that is neither registered nor held.
//
// Caller must hold b.mu.
func (b *balancer) remove(ep *endpoint) {
	b.unrank(ep)
	switch {
	case ep.inUse:
		b.drain(ep)
	case !ep.draining.Load(): // it was not in the subset
		b.forget(ep)
	}
}

// keep holds an endpoint that has no registration any more. It keeps the connections that are up.
//
// Caller must hold b.mu.
func (b *balancer) keep(ep *endpoint, now time.Time) {
	if !ep.inUse {
		b.use(ep)
		if b.settings.Subset > 0 {
			b.rank(ep)
			b.subset.members = append(b.subset.members, ep)
		}
	}
	delete(b.hold.lost, ep.addr)
	b.hold.held++
	ep.held = true
	ep.since = now
	ep.heldUntil = b.hold.clock.at(now) + b.hold.time
	b.hold.queue = append(b.hold.queue, heldEntry{ep.addr, ep.heldUntil})
	b.events.held(ep.addr)
	b.dropUnready(ep)
	b.refresh(ep)
}

// unhold ends the hold of an endpoint, for any reason.
//
// Caller must hold b.mu.
func (b *balancer) unhold(ep *endpoint) {
	if ep.held {
		ep.held = false
		b.hold.held--
	}
}

// losesHold lets a held endpoint go that has lost its last connection.
//
// Caller must hold b.mu.
func (b *balancer) losesHold(ep *endpoint) {
	if ep.held && !ep.connected {
		b.unhold(ep)
		b.remove(ep)
		b.events.heldLost(ep.addr)
	}
}

// watchHeld lets endpoints go that have been absent for long enough. It puts itself on the agenda
// for the next one. While the registry is in trouble, it waits for the next state instead.
//
// Caller must hold b.mu.
func (b *balancer) watchHeld() {
	h, now := &b.hold, time.Now()
	var released changes
	for len(h.queue) > 0 {
		next := h.queue[0]
		if ep := b.endpoints[next.addr]; ep != nil && ep.held && ep.heldUntil == next.until {
			if wait := next.until - h.clock.at(now); wait > 0 {
				if h.clock.running && !h.due {
					h.due = true
					b.at(now.Add(wait), func() {
						h.due = false
						b.watchHeld()
					})
				}
				break
			}
			b.unhold(ep)
			b.remove(ep)
			released.released.add(ep.addr)
		}
		h.queue[0] = heldEntry{}
		h.queue = h.queue[1:]
	}
	b.events.changed(released, h.time)
}
