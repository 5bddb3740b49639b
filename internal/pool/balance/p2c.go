package balance

// P2C is the power of two choices: it draws two endpoints by weight and takes the less loaded one.
type P2C struct {
	Set

	// table is nil if all weights are equal.
	table aliasTable
}

// NewP2C returns the policy. It is done with room when it returns.
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
	// b is a better way out than a's neighbour if a has no connection any more, or no room.
	if !p.Endpoints[a].Capacity.HasRoom() {
		return b
	}
	return a
}

// draw gives two endpoints, not the same one twice unless that is unlikely to matter, and whether
// the second one had to be drawn again for that.
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

// redrawnMargin is how many calls, of the lighter endpoint, the first one drawn must have in flight
// beyond twice the other's to lose the call to one that was drawn again.
const redrawnMargin = 2

// better tells whether b is the better choice than a, which was drawn first and has the call when
// they are equal: then calls go by weight alone.
//
// So that they go by weight at every load, an endpoint counts as so many that are equal as its
// weight says, and each of these is compared with each of the other's: the two gain from each other
// as much as they lose. That holds as long as both were drawn by weight; when b was drawn again
// since it was a, the heavier endpoint is a more often than the lighter one, and would lose more
// than it gains if a single call were enough.
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
		// What the call would wait for: those before it and itself.
		ta, tb := float64(ea.Latency.mean.Load()), float64(eb.Latency.mean.Load())
		return float64((lb+1)*wa)*tb < float64((la+1)*wb)*ta
	}
	if la == 0 {
		return false
	}
	// The heavier one's calls, spread over so many endpoints of the other's weight, are one more at
	// some of them than at others.
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
// retry. It takes an endpoint that answers. But now and then a call is a trial of one that may do
// so again. If none answers, it chooses as always.
func (p *P2C) chooseAvoidingFailures(a, b int, redrawn bool, c *Call) int {
	answering := func(ep *Endpoint) bool { return ep.avoided.Load() == 0 && !c.TriedAt(ep) }
	if len(c.Tried) > 0 {
		// When several fail at once, some of them are not known yet. One that has answered since is
		// safer.
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

// choose chooses among endpoints that are good: the lighter of two that were drawn, or the next one
// to them; -1: there is none near.
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

// lighter is the better one of the two.
func (p *P2C) lighter(a, b int, redrawn bool, now int64) int {
	if p.better(b, a, redrawn, now) {
		return b
	}
	return a
}
