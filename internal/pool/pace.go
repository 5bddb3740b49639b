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
// Caller must hold f.mu.
func (f *fleet) serving() bool {
	return len(f.ready) > 0 && f.clock()-f.picked.Load() < int64(servesFor)
}

// notePick is told of every call, and rarely writes what all of them share.
//
// Called on the call path; takes no lock of the fleet.
func (f *fleet) notePick(now int64) {
	if now-f.picked.Load() > int64(servesFor/4) {
		f.picked.Store(now)
	}
}

// mayDial says whether a dial may begin now. If not, it sees to it that pump goes on in time.
//
// Caller must hold f.mu.
func (f *fleet) mayDial() bool {
	next, ok := f.pace.Begin(time.Now(), f.serving(), runtime.GOMAXPROCS(0))
	if !ok && !f.paceDue {
		f.paceDue = true
		f.at(next, func() { f.paceDue = false; f.pump() })
	}
	return ok
}
