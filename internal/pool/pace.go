package pool

import (
	"runtime"
	"time"
)

const (
	// paceDials is how many dials are begun a second, for each processor, while calls are served. Setting up a connection without TLS takes
	// some 0.25 ms of a processor, so this is a quarter of each.
	paceDials = 1000
	// paceBurst is how many of them, again for each processor, may be waiting for a processor. Goroutines run in the order in which they
	// became runnable, and the network is looked at when there is none: so many connections are set up before a call goes on.
	paceBurst = 2
	// paceCounts is how long at least a dial counts towards that. Peers that do not answer slow the others down by this, and no more.
	paceCounts = 10 * time.Millisecond
	// servesFor is how long after its last call a channel counts as serving.
	servesFor = 100 * time.Millisecond
	// reserveFrom is from how many dials at once on the table of open files is enlarged for them.
	reserveFrom = 32
)

// pace spaces dials, so that the calls which are served meanwhile do not wait behind hundreds of them.
type pace struct {
	next time.Time     // when the next dial would be due if they were evenly spaced
	due  bool          // a task to go on is on the agenda
	best time.Duration // that it took to set up a connection; 0: none yet
}

// serving says whether calls are given to endpoints just now. While they are not, nobody waits behind a dial, or everybody waits
// for one.
func (f *fleet) serving() bool {
	return len(f.ready) > 0 && f.clock()-f.picked.Load() < int64(servesFor)
}

// notePick is told of every call, and rarely writes what all of them share.
func (f *fleet) notePick(now int64) {
	if now-f.picked.Load() > int64(servesFor/4) {
		f.picked.Store(now)
	}
}

// noteDial is told how long it took to set up a connection.
func (p *pace) noteDial(d time.Duration) {
	if p.best == 0 || d < p.best {
		p.best = d
	}
}

// dialLimits are how many connections may be set up at a time, and for how long one counts.
func (f *fleet) dialLimits() (most int, countsFor time.Duration) {
	if !f.serving() {
		return maxDialing, dialingFor
	}
	procs := runtime.GOMAXPROCS(0)
	// As many as wait for their peer at this pace, and some that wait for a processor.
	waiting := int(time.Duration(paceDials*procs) * f.pace.best / time.Second)
	return min(waiting+paceBurst*procs, maxDialing), min(max(2*f.pace.best, paceCounts), dialingFor)
}

// mayDial says whether a dial may begin now. If not, it sees to it that pump goes on in time.
func (f *fleet) mayDial() bool {
	if !f.serving() {
		return true
	}
	procs := runtime.GOMAXPROCS(0)
	spacing := time.Second / time.Duration(paceDials*procs)
	now := time.Now()
	// What was not begun in time, because the processors were busy, is not made up for.
	if earliest := now.Add(-time.Duration(procs) * spacing); f.pace.next.Before(earliest) {
		f.pace.next = earliest
	}
	if f.pace.next.After(now) {
		if !f.pace.due {
			f.pace.due = true
			f.at(f.pace.next, func() { f.pace.due = false; f.pump() })
		}
		return false
	}
	f.pace.next = f.pace.next.Add(spacing)
	return true
}
