package pool

import (
	"time"
)

const (
	// outageAfter is how long no instance must have taken calls before that is an outage.
	outageAfter = warnAfter
	// outageAtStart is the same for a pool that has never had an instance. Calls wait for the first
	// instance as long.
	outageAtStart = 3 * time.Second
)

// outage is what a balancer knows about the time in which no instance takes calls. It belongs to
// the balancer's mutex.
type outage struct {
	// watched is when the last instance was lost, or when the first one was expected. Zero: an
	// instance takes calls.
	watched time.Time
	// down is true once operators were told.
	down bool
	// why is what they were told.
	why string
	// ignored is true for a pool that no config uses any more.
	ignored bool
}

// watchOutage begins to count the time in which no instance takes calls.
//
// Caller must hold b.mu.
func (b *balancer) watchOutage(limit time.Duration) {
	if !b.outage.watched.IsZero() {
		return
	}
	from := time.Now()
	b.outage.watched = from
	b.at(from.Add(limit), func() {
		if b.outage.watched.Equal(from) {
			b.beginOutage()
		}
	})
}

// beginOutage tells operators that the whole service is out. Registries report their own trouble,
// so nothing is said while the instances are not known.
//
// Caller must hold b.mu.
func (b *balancer) beginOutage() {
	o := &b.outage
	if o.down || o.ignored || !b.synced || b.cc == nil {
		return
	}
	o.down, o.why = true, "no instance is connected"
	if trouble := b.trouble(); trouble != nil {
		o.why = trouble.operatorText()
	}
	b.events.down(b.service, b.active, o.why)
}

// endOutage is called when an instance takes calls.
//
// Caller must hold b.mu.
func (b *balancer) endOutage() {
	o := &b.outage
	if o.down && !o.ignored {
		b.events.up(b.service, time.Since(o.watched))
	}
	o.watched, o.down, o.why = time.Time{}, false, ""
}

// ignoreOutage is called when no config uses the pool any more.
//
// Caller must hold b.mu.
func (b *balancer) ignoreOutage() {
	b.outage.ignored, b.outage.down = true, false
}
