package pool

import (
	"cmp"
	"slices"
	"time"

	"github.com/caddy-grpc/gateway/discovery"
	"github.com/caddy-grpc/gateway/internal/pool/balance"
	"github.com/caddy-grpc/gateway/internal/pool/wire"
)

// onFeed takes a list of endpoints from the feed. It applies the list at once, or together with
// others that follow within applyEvery.
func (b *balancer) onFeed(s discovery.State) {
	b.lock()
	defer b.publishAndUnlock()
	waiting := b.pending != nil
	b.pending = &s
	if waiting {
		return
	}
	if due := b.applied.Add(applyEvery); time.Now().Before(due) {
		b.at(due, b.apply)
		return
	}
	b.apply()
}

// apply makes the endpoints match the pending list. An unchanged entry costs only a comparison.
//
// Caller must hold b.mu.
func (b *balancer) apply() {
	s := b.pending
	if s == nil {
		return
	}
	b.pending = nil
	b.applied = time.Now()
	if s.Synced && !b.synced {
		b.synced = true
		b.changed(true)
		if len(b.ready) == 0 {
			b.outage.watched = time.Time{}
			b.watchOutage(outageAtStart)
		}
	}
	b.hold.time = s.Hold
	b.hold.clock.set(s.Synced && s.Err == nil && !s.Stale, b.applied)
	list := byID(s.Endpoints)
	var (
		gone []discovery.Endpoint
		lost []*endpoint
		dial []*conn
		what changes
	)
	diff(b.listed, list, func(before, after *discovery.Endpoint) {
		switch {
		case before == nil:
			dial = append(dial, b.register(*after, &what)...)
		case after == nil:
			gone = append(gone, *before)
		case before.Addr != after.Addr:
			gone = append(gone, *before)
			dial = append(dial, b.register(*after, &what)...)
		default:
			b.update(*before, *after)
		}
	})
	// Registrations are removed last. So an instance that registers again under another ID is never
	// without a registration.
	for _, e := range gone {
		if ep := b.unregister(e); ep != nil {
			lost = append(lost, ep)
		}
	}
	b.listed = list
	b.withdraw(s.Withdrawn, &what)
	b.lose(lost, &what)
	b.watchHeld()
	b.events.changed(what, s.Hold)

	b.dialAll(dial)
}

// dialAll dials connections to new endpoints.
//
// Caller must hold b.mu.
func (b *balancer) dialAll(dial []*conn) {
	if len(dial) >= wire.ReserveFrom {
		// This reserves twice as much as needed, so that there is room in time for the next dials.
		b.work.Go(func() { wire.Reserve(2 * len(dial)) })
	}
	// Hundreds of gateways get the same sorted list at the same time, so the order must be random.
	for i := len(dial) - 1; i > 0; i-- {
		j := balance.Below(uint32(b.random()), i+1)
		dial[i], dial[j] = dial[j], dial[i]
	}
	for _, c := range dial {
		b.dialAt(c.endpoint.dialled.Add(dialSpacing), c)
	}
}

// register adds an entry of the registry. It returns the connections to dial.
//
// Caller must hold b.mu.
func (b *balancer) register(e discovery.Endpoint, what *changes) (dial []*conn) {
	ep := b.endpoints[e.Addr]
	if ep == nil {
		ep = newEndpoint(e.Addr, time.Now())
		b.endpoints[e.Addr] = ep
	}
	known := ep.registered()
	if !known {
		b.registered++
		delete(b.hold.lost, ep.addr)
	}
	fresh := ep.add(e.ID, e.Weight)
	switch {
	case ep.held:
		b.unhold(ep)
		ep.since = time.Now()
		what.returned.add(e.Addr)
		dial = b.fill(ep)
	case !known:
		what.added.add(e.Addr)
		dial = b.admit(ep)
	case ep.inUse && fresh && ep.place < 0:
		b.renew(ep)
	}
	b.weigh(ep)
	b.refresh(ep)
	return dial
}

// use takes an endpoint into use that is new or was draining. A draining endpoint keeps its
// connection if that is still up.
//
// Caller must hold b.mu.
func (b *balancer) use(ep *endpoint) {
	b.active++
	ep.inUse = true
	b.weights.Add(ep.weight)
	b.changed(false)
	ep.draining.Store(false)
	ep.cut.Store(false)
	ep.since = time.Now()
	if !ep.usable {
		b.watchLacking(ep)
	}
}

// fill gives an endpoint as many connections as configured. It returns those to dial.
//
// Caller must hold b.mu.
func (b *balancer) fill(ep *endpoint) (dial []*conn) {
	for len(ep.conns) < b.settings.Connections {
		dial = append(dial, b.newConn(ep))
	}
	return dial
}

// unregister removes an entry of the registry. It returns the endpoint if that was its last one.
//
// Caller must hold b.mu.
func (b *balancer) unregister(e discovery.Endpoint) (lost *endpoint) {
	ep := b.endpoints[e.Addr]
	if ep == nil || !ep.registered() {
		return nil
	}
	ep.remove(e.ID)
	if ep.registered() {
		b.weigh(ep)
		return nil
	}
	b.registered--
	return ep
}

// update applies a change to an entry that keeps its address.
//
// Caller must hold b.mu.
func (b *balancer) update(before, after discovery.Endpoint) {
	ep := b.endpoints[after.Addr]
	if ep == nil || before.Weight == after.Weight && before.Registration == after.Registration {
		return
	}
	ep.add(after.ID, after.Weight)
	b.weigh(ep)
	if before.Registration != after.Registration && ep.inUse && !ep.connected {
		b.renew(ep)
		b.refresh(ep)
	}
}

// weigh brings the endpoint's weight up to date.
//
// Caller must hold b.mu.
func (b *balancer) weigh(ep *endpoint) {
	if w := ep.registeredWeight(); w != ep.weight {
		if ep.inUse {
			b.weights.Remove(ep.weight)
			b.weights.Add(w)
			b.changed(false)
		}
		ep.weight = w
	}
}

// byID returns the list sorted by ID, with one entry for each ID. The last entry wins. Lists come
// sorted. A list from a source that breaks this rule is copied and sorted.
func byID(list []discovery.Endpoint) []discovery.Endpoint {
	for i := 1; i < len(list); i++ {
		if list[i-1].ID >= list[i].ID {
			return sorted(list)
		}
	}
	return list
}

func sorted(list []discovery.Endpoint) []discovery.Endpoint {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b discovery.Endpoint) int { return cmp.Compare(a.ID, b.ID) })
	kept := list[:0]
	for _, e := range list {
		if n := len(kept); n > 0 && kept[n-1].ID == e.ID {
			kept[n-1] = e
			continue
		}
		kept = append(kept, e)
	}
	return kept
}

// diff walks two lists sorted by ID and visits each ID once. before is nil for a new ID. after is
// nil for an ID that is gone.
func diff(old, now []discovery.Endpoint, visit func(before, after *discovery.Endpoint)) {
	for len(old) > 0 || len(now) > 0 {
		switch {
		case len(old) == 0 || len(now) > 0 && now[0].ID < old[0].ID:
			visit(nil, &now[0])
			now = now[1:]
		case len(now) == 0 || old[0].ID < now[0].ID:
			visit(&old[0], nil)
			old = old[1:]
		default:
			visit(&old[0], &now[0])
			old, now = old[1:], now[1:]
		}
	}
}
