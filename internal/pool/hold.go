package pool

import (
	"time"

	"github.com/caddy-grpc/gateway/discovery"
)

// A registry that is sick, or was wiped, says that instances are gone which are not. So when many
// vanish at once, those that are connected stay in use: they are held. What the network says is
// believed at once: a held endpoint that loses its connections is let go. What the registry says is
// believed when it has been saying so for the hold time, and was itself well all the while.

const (
	// lossWindow is the time within which losses count together.
	lossWindow = 15 * time.Second
	// massLossOf is of how many endpoints at least more than half must vanish to be suspicious. Of
	// fewer only the loss of the last one is.
	massLossOf = 4
)

// holding is what a balancer knows of endpoints that vanished from the registry. It belongs to the
// balancer's mutex.
type holding struct {
	time   time.Duration        // State.Hold; 0: nothing is held
	lost   map[string]time.Time // addresses that vanished within lossWindow and are not held
	losses []loss               // the same by time, and some that are not lost any more
	held   int                  // endpoints
	queue  []heldEntry          // the same by time, and some that are not held any more
	clock  contactClock
	// withdrawn are addresses that somebody has taken out of the registry on purpose. They are not
	// held.
	withdrawn map[string]struct{}
	due       bool // a task to look after the queue is on the agenda
}

type loss struct {
	at   time.Time
	addr string
}

type heldEntry struct {
	addr  string        // and not the endpoint, which may be forgotten long before
	until time.Duration // on the clock of contact
}

// contactClock runs while the registry is in contact and sure of what it says.
type contactClock struct {
	running bool
	since   time.Time
	sum     time.Duration // before that
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

// note adds addresses that have just vanished, and forgets those that did so too long ago.
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

// suspicious tells whether what vanished of late, beside so many that are still registered, looks
// like trouble with the registry.
func (h *holding) suspicious(registered int) bool {
	missing := len(h.lost) + h.held
	all := registered + missing
	return registered == 0 || all >= massLossOf && 2*missing > all
}

// withdraw takes over which addresses were taken out of the registry on purpose, and lets those go
// that are held. Caller must hold b.mu.
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

// lose takes endpoints whose last registration is gone out of use, or holds those that are
// connected.
//
// Caller must hold b.mu.
func (b *balancer) lose(gone []*endpoint, what *changes) {
	if len(gone) == 0 {
		return
	}
	if now := time.Now(); b.hold.time > 0 {
		b.hold.note(gone, now)
		if b.hold.suspicious(b.registered) {
			// Also those that vanished one by one shortly before.
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

// keep holds an endpoint that has no registration any more, on the connections that it has.
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
	b.dropUnready(ep)
	b.refresh(ep)
}

// unhold ends the holding, in whatever way.
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

// watchHeld lets endpoints go when they have been absent for long enough, now and later. While the
// registry is in trouble it waits for the next state.
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
