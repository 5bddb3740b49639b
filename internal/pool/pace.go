package pool

import (
	"runtime"
	"time"
)

// servesFor is how long after its last call a channel counts as serving.
const servesFor = 100 * time.Millisecond

// serving says whether calls are given to endpoints just now. While they are not, nobody waits for
// a processor that a dial has, or everybody waits for a dial.
//
// Caller must hold b.mu.
func (b *balancer) serving() bool {
	return len(b.ready) > 0 && b.clock()-b.picked.Load() < int64(servesFor)
}

// notePick is told of every call, and rarely writes what all of them share.
//
// Called on the call path; takes no lock of the balancer.
func (b *balancer) notePick(now int64) {
	if now-b.picked.Load() > int64(servesFor/4) {
		b.picked.Store(now)
	}
}

// mayDial says whether a dial may begin now. If not, it sees to it that pump goes on in time.
//
// Caller must hold b.mu.
func (b *balancer) mayDial() bool {
	next, ok := b.pace.Begin(time.Now(), b.serving(), runtime.GOMAXPROCS(0))
	if !ok && !b.paceDue {
		b.paceDue = true
		b.at(next, func() { b.paceDue = false; b.pump() })
	}
	return ok
}
