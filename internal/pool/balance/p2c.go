package balance

// P2C is the power of two choices: it draws two endpoints by weight and takes the less loaded one.
type P2C struct {
	Set

	// table is nil if all weights are equal.
	table aliasTable
}

// NewP2C returns the policy. The policy does not use room after NewP2C has returned.
func NewP2C(s Set, room *Room) *P2C {
	p := &P2C{Set: s}
	if s.Weights != nil {
		p.table = newAliasTable(s.Weights, room)
	}
	return p
}

// Choose implements Policy.
func (p *P2C) Choose(c Call) int {
	a, b, redrawn := p.draw()
	if p.Endpoints[a].avoided.Load()|p.Endpoints[b].avoided.Load() != 0 || len(c.Tried) > 0 {
		return p.chooseAvoidingFailures(a, b, redrawn, &c)
	}
	if p.better(b, a, redrawn, c.Now) {
		a, b = b, a
	}
	// If a has no room, or no connection any more, b is a better choice than a's neighbour.
	if !p.Endpoints[a].Capacity.HasRoom() {
		return b
	}
	return a
}

// draw returns two endpoints. They differ unless the weights make that unlikely. redrawn reports
// whether the second one was drawn again because it was the same as the first.
func (p *P2C) draw() (a, b int, redrawn bool) {
	n := len(p.Endpoints)
	if n == 1 {
		return 0, 0, false
	}
	if p.table == nil {
		r := p.Random()
		a = Below(uint32(r>>32), n)
		b = (a + 1 + Below(uint32(r), n-1)) % n
		return a, b, false
	}
	a = p.table.draw(p.Random())
	if b = p.table.draw(p.Random()); b != a {
		return a, b, false
	}
	for range 3 {
		if b = p.table.draw(p.Random()); b != a {
			break
		}
	}
	return a, b, true
}

// redrawnMargin makes it harder for an endpoint that was drawn again to get the call. The calls in
// flight at the first one must exceed twice the other's plus this margin, counted in calls of the
// lighter endpoint.
const redrawnMargin = 2

// better reports whether b is a better choice than a. The endpoint a was drawn first. It gets the
// call if the two are equal, so that calls go by weight alone.
//
// Calls must go by weight at every load. So an endpoint of weight w counts as w equal endpoints,
// and each of these is compared with each of the other's. Then the two endpoints gain from each
// other as much as they lose.
//
// This holds only if both were drawn by weight. If b was drawn again because it was the same as a,
// then a is the heavier endpoint more often than the lighter one. If a single call were enough to
// lose, the heavier endpoint would lose more than it gains.
func (p *P2C) better(b, a int, redrawn bool, now int64) bool {
	if a == b {
		return false
	}
	ea, eb := p.Endpoints[a], p.Endpoints[b]
	la, lb := uint64(ea.InFlight.Load()), uint64(eb.InFlight.Load())
	wa, wb := uint64(1), uint64(1)
	if p.Weights != nil {
		wa, wb = uint64(p.Weights[a]), uint64(p.Weights[b])
	}
	if ea.Latency.slowerThan(&eb.Latency, now) || eb.Latency.slowerThan(&ea.Latency, now) {
		// The load is what the call would wait for: the calls before it and itself.
		ta, tb := float64(ea.Latency.mean.Load()), float64(eb.Latency.mean.Load())
		return float64((lb+1)*wa)*tb < float64((la+1)*wb)*ta
	}
	if la == 0 {
		return false
	}
	// The heavier one's calls are spread over several endpoints of the other's weight. Some of
	// these have one call more than the others, so the quotient is rounded at random.
	switch {
	case wa < wb:
		lb = (lb*wa + p.Random()%wb) / wb
	case wa > wb:
		la = (la*wb + p.Random()%wa) / wa
	}
	if redrawn {
		lb = 2*lb + redrawnMargin
	}
	return lb < la
}

// chooseAvoidingFailures is used when a drawn endpoint has just failed, or when the call is a
// retry. It chooses an endpoint that answers. From time to time a call tries one that may answer
// again. If no endpoint answers, it chooses as usual.
func (p *P2C) chooseAvoidingFailures(a, b int, redrawn bool, c *Call) int {
	answering := func(ep *Endpoint) bool { return ep.avoided.Load() == 0 && !c.TriedAt(ep) }
	if len(c.Tried) > 0 {
		// If several endpoints fail at once, some of these failures are not known yet. An endpoint
		// that has answered since the last attempt is safer.
		proven := func(ep *Endpoint) bool { return answering(ep) && ep.answered.Load() >= c.Since }
		if i := p.choose(a, b, redrawn, c.Now, proven); i >= 0 {
			return i
		}
	} else {
		for _, i := range [2]int{a, b} {
			if p.Endpoints[i].trial(c.Now, c.Safe) {
				return i
			}
		}
	}
	if i := p.choose(a, b, redrawn, c.Now, answering); i >= 0 {
		return i
	}
	return p.lighter(a, b, redrawn, c.Now)
}

// choose chooses among the endpoints that are good. It prefers the lighter of the two that were
// drawn, and then the next good one after b. It returns -1 if no good one is near.
func (p *P2C) choose(a, b int, redrawn bool, now int64, good func(*Endpoint) bool) int {
	switch goodA, goodB := good(p.Endpoints[a]), good(p.Endpoints[b]); {
	case goodA && goodB:
		return p.lighter(a, b, redrawn, now)
	case goodA:
		return a
	case goodB:
		return b
	}
	n := len(p.Endpoints)
	for i := range min(n, Probes) {
		if next := (b + i) % n; good(p.Endpoints[next]) {
			return next
		}
	}
	return -1
}

// lighter returns the better one of the two.
func (p *P2C) lighter(a, b int, redrawn bool, now int64) int {
	if p.better(b, a, redrawn, now) {
		return b
	}
	return a
}
