package wire

import "time"

const (
	// MaxDialing is the maximum number of connections that are set up at a time, so that a thousand
	// new instances do not starve the calls.
	MaxDialing = 256
	// DialingFor is how long an attempt counts towards MaxDialing. Those that nobody answers must
	// not hold up the rest.
	DialingFor = time.Second
	// DialRate is how many dials begin a second for each processor while calls are served. Setting
	// up a connection without TLS takes some 0.25 ms of a processor, so this is a quarter of each.
	DialRate = 1000
	// DialBurst is how many dials may wait for a processor at a time, again for each processor.
	// Goroutines run in the order in which they became runnable, and the network is looked at when
	// there is none: so many connections are set up before a call goes on.
	DialBurst = 2
	// dialCounts is the least time for which a dial counts towards that. Peers that do not answer
	// slow the others down by this, and no more.
	dialCounts = 10 * time.Millisecond
)

// Pace spaces dials while calls are served, so that the calls do not wait for hundreds of them. The
// zero value is ready for use, by one goroutine at a time.
type Pace struct {
	// next is when the next dial would be due if they were evenly spaced.
	next time.Time
	// best is the least time that it took to set up a connection. 0: none was set up yet.
	best time.Duration
}

// Dialled is told how long it took to set up a connection.
func (p *Pace) Dialled(took time.Duration) {
	if p.best == 0 || took < p.best {
		p.best = took
	}
}

// Limits returns how many connections may be set up at a time, and for how long one counts.
func (p *Pace) Limits(serving bool, procs int) (most int, countsFor time.Duration) {
	if !serving {
		return MaxDialing, DialingFor
	}
	// As many as wait for their peer at this pace, and some that wait for a processor.
	waiting := int(time.Duration(DialRate*procs) * p.best / time.Second)
	return min(waiting+DialBurst*procs, MaxDialing), min(max(2*p.best, dialCounts), DialingFor)
}

// Begin tells whether a dial may begin now. If it may not, next is when it may.
func (p *Pace) Begin(now time.Time, serving bool, procs int) (next time.Time, ok bool) {
	if !serving {
		return now, true
	}
	spacing := time.Second / time.Duration(DialRate*procs)
	// What was not begun in time, because the processors were busy, is not made up for.
	if earliest := now.Add(-time.Duration(procs) * spacing); p.next.Before(earliest) {
		p.next = earliest
	}
	if p.next.After(now) {
		return p.next, false
	}
	p.next = p.next.Add(spacing)
	return now, true
}
