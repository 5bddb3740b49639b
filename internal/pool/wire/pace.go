package wire

import "time"

const (
	// MaxDialing is the maximum number of connections that are set up at a time. It keeps a
	// thousand new instances from starving the calls.
	MaxDialing = 256
	// DialingFor is how long an attempt counts towards MaxDialing. Attempts that nobody answers
	// must not hold up the rest.
	DialingFor = time.Second
	// DialRate is the maximum number of dials per second and processor while calls are served.
	// Setting up a connection without TLS takes about 0.25 ms of a processor. So this is a quarter
	// of each processor.
	DialRate = 1000
	// DialBurst is the maximum number of dials per processor that wait for a processor at a time.
	// Goroutines run in the order in which they became runnable. The network is polled when none is
	// runnable. So this many connections may be set up before a call goes on.
	DialBurst = 2
	// dialCounts is the minimum time for which a dial counts towards DialBurst. Peers that do not
	// answer slow down the others by this time at most.
	dialCounts = 10 * time.Millisecond
)

// Pace spaces dials while calls are served, so that calls do not wait for hundreds of dials. The
// zero value is ready to use. Only one goroutine may use it at a time.
type Pace struct {
	// next is when the next dial would be due if they were evenly spaced.
	next time.Time
	// best is the shortest time that setting up a connection has taken. 0: none was set up yet.
	best time.Duration
}

// Dialled notes how long it took to set up a connection.
func (p *Pace) Dialled(took time.Duration) {
	if p.best == 0 || took < p.best {
		p.best = took
	}
}

// Limits returns how many connections may be set up at a time, and how long each counts.
func (p *Pace) Limits(serving bool, procs int) (most int, countsFor time.Duration) {
	if !serving {
		return MaxDialing, DialingFor
	}
	// These are the dials that wait for their peer at this pace, and a few that wait for a
	// processor.
	waiting := int(time.Duration(DialRate*procs) * p.best / time.Second)
	return min(waiting+DialBurst*procs, MaxDialing), min(max(2*p.best, dialCounts), DialingFor)
}

// Begin reports whether a dial may begin now. If not, next is when one may.
func (p *Pace) Begin(now time.Time, serving bool, procs int) (next time.Time, ok bool) {
	if !serving {
		return now, true
	}
	spacing := time.Second / time.Duration(DialRate*procs)
	// Dials that did not begin in time because the processors were busy are not made up for.
	if earliest := now.Add(-time.Duration(procs) * spacing); p.next.Before(earliest) {
		p.next = earliest
	}
	if p.next.After(now) {
		return p.next, false
	}
	p.next = p.next.Add(spacing)
	return now, true
}
