package pool

import (
	"cmp"
	"slices"
	"time"

	"github.com/caddy-grpc/gateway/discovery"
	"github.com/caddy-grpc/gateway/internal/pool/balance"
	"github.com/caddy-grpc/gateway/internal/pool/wire"
)

// onFeed takes a list of endpoints from the feed: at once, or together with those that follow
// within applyEvery.
func (f *fleet) onFeed(s discovery.State) {
	f.lock()
	defer f.publishAndUnlock()
	waiting := f.pending != nil
	f.pending = &s
	if waiting {
		return
	}
	if due := f.applied.Add(applyEvery); time.Now().Before(due) {
		f.at(due, f.apply)
		return
	}
	f.apply()
}

// apply makes the fleet what the pending list says. Only what changed costs more than a comparison.
//
// Caller must hold f.mu.
func (f *fleet) apply() {
	s := f.pending
	if s == nil {
		return
	}
	f.pending = nil
	f.applied = time.Now()
	if s.Synced && !f.synced {
		f.synced = true
		f.changed(true)
	}
	f.hold.time = s.Hold
	f.hold.clock.set(s.Synced && s.Err == nil && !s.Stale, f.applied)
	list := byID(s.Endpoints)
	var (
		gone []discovery.Endpoint
		lost []*endpoint
		dial []*conn
		what changes
	)
	diff(f.listed, list, func(before, after *discovery.Endpoint) {
		switch {
		case before == nil:
			dial = append(dial, f.register(*after, &what)...)
		case after == nil:
			gone = append(gone, *before)
		case before.Addr != after.Addr:
			gone = append(gone, *before)
			dial = append(dial, f.register(*after, &what)...)
		default:
			f.update(*before, *after)
		}
	})
	// Registrations go last, so that an instance that registered anew under another ID is never
	// without one.
	for _, e := range gone {
		if ep := f.unregister(e); ep != nil {
			lost = append(lost, ep)
		}
	}
	f.listed = list
	f.withdraw(s.Withdrawn, &what)
	f.lose(lost, &what)
	f.watchHeld()
	f.events.changed(what, s.Hold)

	f.dialAll(dial)
}

// dialAll dials connections of endpoints that are new.
//
// Caller must hold f.mu.
func (f *fleet) dialAll(dial []*conn) {
	if len(dial) >= wire.ReserveFrom {
		// Twice as much as needed, so that it is there in time when the next ones follow.
		f.work.Go(func() { wire.Reserve(2 * len(dial)) })
	}
	// Hundreds of gateways get the same list at the same time, sorted.
	for i := len(dial) - 1; i > 0; i-- {
		j := balance.Below(uint32(f.random()), i+1)
		dial[i], dial[j] = dial[j], dial[i]
	}
	for _, c := range dial {
		f.dialAt(c.endpoint.dialled.Add(dialSpacing), c)
	}
}

// register adds an entry of the registry. It returns the connections that are to be dialled.
//
// Caller must hold f.mu.
func (f *fleet) register(e discovery.Endpoint, what *changes) (dial []*conn) {
	ep := f.endpoints[e.Addr]
	if ep == nil {
		ep = newEndpoint(e.Addr, time.Now())
		f.endpoints[e.Addr] = ep
	}
	known := ep.registered()
	if !known {
		f.registered++
		delete(f.hold.lost, ep.addr)
	}
	fresh := ep.add(e.ID, e.Weight)
	switch {
	case ep.held:
		f.unhold(ep)
		ep.since = time.Now()
		what.returned.add(e.Addr)
		dial = f.fill(ep)
	case !known:
		what.added.add(e.Addr)
		dial = f.admit(ep)
	case ep.inUse && fresh && ep.place < 0:
		f.renew(ep)
	}
	f.weigh(ep)
	f.refresh(ep)
	return dial
}

// use takes an endpoint into use that is new, or was being drained: then its connection is used
// again if it is still up.
//
// Caller must hold f.mu.
func (f *fleet) use(ep *endpoint) {
	f.active++
	ep.inUse = true
	f.weights.Add(ep.weight)
	f.changed(false)
	ep.draining.Store(false)
	ep.cut.Store(false)
	ep.since = time.Now()
	if !ep.usable {
		f.watchLacking(ep)
	}
}

// fill gives an endpoint the connections that it should have.
//
// Caller must hold f.mu.
func (f *fleet) fill(ep *endpoint) (dial []*conn) {
	for len(ep.conns) < f.settings.Connections {
		dial = append(dial, f.newConn(ep))
	}
	return dial
}

// unregister removes an entry of the registry. It returns the endpoint if that was its last one.
//
// Caller must hold f.mu.
func (f *fleet) unregister(e discovery.Endpoint) (lost *endpoint) {
	ep := f.endpoints[e.Addr]
	if ep == nil || !ep.registered() {
		return nil
	}
	ep.remove(e.ID)
	if ep.registered() {
		f.weigh(ep)
		return nil
	}
	f.registered--
	return ep
}

// update takes over what has changed in an entry of the same address.
//
// Caller must hold f.mu.
func (f *fleet) update(before, after discovery.Endpoint) {
	ep := f.endpoints[after.Addr]
	if ep == nil || before.Weight == after.Weight && before.Registration == after.Registration {
		return
	}
	ep.add(after.ID, after.Weight)
	f.weigh(ep)
	if before.Registration != after.Registration && ep.inUse && !ep.connected {
		f.renew(ep)
		f.refresh(ep)
	}
}

// weigh brings the endpoint's weight up to date.
//
// Caller must hold f.mu.
func (f *fleet) weigh(ep *endpoint) {
	if w := ep.registeredWeight(); w != ep.weight {
		if ep.inUse {
			f.weights.Remove(ep.weight)
			f.weights.Add(w)
			f.changed(false)
		}
		ep.weight = w
	}
}

// byID is the list sorted by ID, with one entry per ID: the last one. Lists come sorted; those of a
// source that breaks this promise are copied.
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

// diff walks two lists sorted by ID and visits each ID once: before is nil for a new one, after for
// one that is gone.
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
