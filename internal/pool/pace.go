package pool

import (
	"runtime"
	"time"
)

// servesFor is how long a channel counts as serving after its last call.
const servesFor = 100 * time.Millisecond

// serving reports whether calls are being given to endpoints now. While no calls are, dials need
// not be spaced. Either nobody waits for a processor that a dial uses, or everybody waits for a
// dial.
//
// Caller must hold b.mu.
func (b *balancer) serving() bool {
	return len(b.ready) > 0 && b.clock()-b.picked.Load() < int64(servesFor)
}

// notePick is told of every call. It rarely writes the time, because all calls share it.
//
// Called on the call path; takes no lock of the balancer.
func (b *balancer) notePick(now int64) {
	if now-b.picked.Load() > int64(servesFor/4) {
		b.picked.Store(now)
	}
}

// mayDial reports whether a dial may begin now. If not, it puts pump on the agenda for the time
// when one may.
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
