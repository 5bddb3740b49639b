package pool

import (
	"time"

	"google.golang.org/grpc/balancer"
)

const (
	// slowFactor and slowBy say when an endpoint counts as slow beside another: its mean latency is more than slowFactor times
	// the other's, and more than slowBy longer. Below that the difference is taken for noise, and in-flight calls alone decide.
	slowFactor = 2
	slowBy     = int64(time.Millisecond)
)

// p2c is the power of two choices: it draws two endpoints by weight and gives the call to the one that is less loaded.
type p2c struct {
	candidates
	table aliasTable // nil: all equal
}

func newP2C(c candidates) *p2c {
	p := &p2c{candidates: c}
	if c.weights != nil {
		p.table = newAliasTable(c.weights)
	}
	return p
}

// Pick is called by grpc for each attempt of a call.
func (p *p2c) Pick(info balancer.PickInfo) (balancer.PickResult, error) {
	now := p.fleet.clock()
	a, b := p.draw()
	if p.better(b, a, now) {
		a, b = b, a
	}
	// b is a better way out than a's neighbour when a has no connection any more, or no room.
	if _, room := p.endpoints[a].pickConn(); !room {
		a = b
	}
	return p.take(a, info, now)
}

// draw gives two endpoints, not the same one twice unless that is unlikely to matter.
func (p *p2c) draw() (a, b int) {
	n := len(p.endpoints)
	if n == 1 {
		return 0, 0
	}
	if p.table == nil {
		r := p.fleet.random()
		a = below(uint32(r>>32), n)
		b = (a + 1 + below(uint32(r), n-1)) % n
		return a, b
	}
	a = p.table.draw(p.fleet.random())
	for range 3 {
		if b = p.table.draw(p.fleet.random()); b != a {
			break
		}
	}
	return a, b
}

// better tells whether b is the better choice than a, which was drawn first and has the call when they are equal: then calls
// go by weight alone.
func (p *p2c) better(b, a int, now int64) bool {
	if a == b {
		return false
	}
	ea, eb := p.endpoints[a], p.endpoints[b]
	la, lb := float64(ea.inFlight.Load()), float64(eb.inFlight.Load())
	wa, wb := 1.0, 1.0
	if p.weights != nil {
		wa, wb = float64(p.weights[a]), float64(p.weights[b])
	}
	ta, tb := ea.latency.at(now), eb.latency.at(now)
	if ta > 0 && tb > 0 && (slow(ta, tb) || slow(tb, ta)) {
		// What the call would wait for: those before it and itself.
		return (lb+1)*float64(tb)*wa < (la+1)*float64(ta)*wb
	}
	// Less loaded without the call, and not more loaded with it: else a light endpoint that is idle would get calls beyond its
	// share whenever a heavy one has a few.
	return lb*wa < la*wb && (lb+1)*wa <= (la+1)*wb
}

func slow(t, beside int64) bool { return t > slowFactor*beside && t-beside > slowBy }
