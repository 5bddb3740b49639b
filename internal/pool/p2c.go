package pool

import "google.golang.org/grpc/balancer"

// p2c is the power of two choices: it draws two endpoints by weight and gives the call to the one that is less loaded.
type p2c struct {
	candidates
	table aliasTable // nil: all equal
}

func newP2C(c candidates) *p2c {
	p := &p2c{candidates: c}
	if c.weights != nil {
		p.table = newAliasTable(c.weights, &c.fleet.aliasRoom)
	}
	return p
}

// Pick is called by grpc for each attempt of a call.
func (p *p2c) Pick(info balancer.PickInfo) (balancer.PickResult, error) {
	now, l := p.fleet.clock(), leaseFrom(info.Ctx)
	a, b, redrawn := p.draw()
	if p.endpoints[a].avoided.Load()|p.endpoints[b].avoided.Load() != 0 || l.again() {
		return p.take(p.careful(a, b, redrawn, l, now), l, now)
	}
	if p.better(b, a, redrawn, now) {
		a, b = b, a
	}
	// b is a better way out than a's neighbour when a has no connection any more, or no room.
	if _, room := p.endpoints[a].pickConn(); !room {
		a = b
	}
	return p.take(a, l, now)
}

// draw gives two endpoints, not the same one twice unless that is unlikely to matter, and whether the second one had to be drawn
// again for that.
func (p *p2c) draw() (a, b int, redrawn bool) {
	n := len(p.endpoints)
	if n == 1 {
		return 0, 0, false
	}
	if p.table == nil {
		r := p.fleet.random()
		a = below(uint32(r>>32), n)
		b = (a + 1 + below(uint32(r), n-1)) % n
		return a, b, false
	}
	a = p.table.draw(p.fleet.random())
	if b = p.table.draw(p.fleet.random()); b != a {
		return a, b, false
	}
	for range 3 {
		if b = p.table.draw(p.fleet.random()); b != a {
			break
		}
	}
	return a, b, true
}

// redrawnMargin is how many calls, of the lighter endpoint, the first one drawn must have in flight beyond twice the other's to lose
// the call to one that was drawn again.
const redrawnMargin = 2

// better tells whether b is the better choice than a, which was drawn first and has the call when they are equal: then calls
// go by weight alone.
//
// So that they go by weight at every load, an endpoint counts as so many that are equal as its weight says, and each of these is
// compared with each of the other's: the two gain from each other as much as they lose. That holds as long as both were drawn by
// weight; when b was drawn again since it was a, the heavier endpoint is a more often than the lighter one, and would lose more
// than it gains if a single call were enough.
func (p *p2c) better(b, a int, redrawn bool, now int64) bool {
	if a == b {
		return false
	}
	ea, eb := p.endpoints[a], p.endpoints[b]
	la, lb := uint64(ea.inFlight.Load()), uint64(eb.inFlight.Load())
	wa, wb := uint64(1), uint64(1)
	if p.weights != nil {
		wa, wb = uint64(p.weights[a]), uint64(p.weights[b])
	}
	if ea.latency.slowerThan(&eb.latency, now) || eb.latency.slowerThan(&ea.latency, now) {
		// What the call would wait for: those before it and itself.
		ta, tb := float64(ea.latency.mean.Load()), float64(eb.latency.mean.Load())
		return float64((lb+1)*wa)*tb < float64((la+1)*wb)*ta
	}
	if la == 0 {
		return false
	}
	// The heavier one's calls, spread over so many endpoints of the other's weight, are one more at some of them than at others.
	switch {
	case wa < wb:
		lb = (lb*wa + p.fleet.random()%wb) / wb
	case wa > wb:
		la = (la*wb + p.fleet.random()%wa) / wa
	}
	if redrawn {
		lb = 2*lb + redrawnMargin
	}
	return lb < la
}

// careful chooses where an endpoint that was drawn has just failed, or where the call has: an endpoint that answers. But now and then
// a call is a trial of one that may do so again. Where there is none that answers it chooses as always.
func (p *p2c) careful(a, b int, redrawn bool, l *lease, now int64) int {
	answering := func(ep *endpoint) bool { return ep.avoided.Load() == 0 && !l.triedAt(ep) }
	if l.again() {
		// When several fail at once, of some it is not known yet. One that has answered since is a safer choice.
		since := l.attempts.since
		proven := func(ep *endpoint) bool { return answering(ep) && ep.answered.Load() >= since }
		if i := p.choose(a, b, redrawn, now, proven); i >= 0 {
			return i
		}
	} else {
		safe := l != nil && l.attempts != nil
		for _, i := range [2]int{a, b} {
			if p.endpoints[i].trial(now, safe) {
				return i
			}
		}
	}
	if i := p.choose(a, b, redrawn, now, answering); i >= 0 {
		return i
	}
	return p.lighter(a, b, redrawn, now)
}

// choose chooses among endpoints that are good: the lighter of two that were drawn, or the next one to them; -1: there is none near.
func (p *p2c) choose(a, b int, redrawn bool, now int64, good func(*endpoint) bool) int {
	switch goodA, goodB := good(p.endpoints[a]), good(p.endpoints[b]); {
	case goodA && goodB:
		return p.lighter(a, b, redrawn, now)
	case goodA:
		return a
	case goodB:
		return b
	}
	n := len(p.endpoints)
	for i := range min(n, fullProbes) {
		if next := (b + i) % n; good(p.endpoints[next]) {
			return next
		}
	}
	return -1
}

// lighter is the better one of the two.
func (p *p2c) lighter(a, b int, redrawn bool, now int64) int {
	if p.better(b, a, redrawn, now) {
		return b
	}
	return a
}
