package pool

import "sync"

// callList is the list of the calls in flight at an endpoint, in the order in which they were
// picked.
type callList struct {
	mu          sync.Mutex
	first, last *pick
}

func (l *callList) add(p *pick) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p.before = l.last
	if l.last == nil {
		l.first = p
	} else {
		l.last.after = p
	}
	l.last = p
}

func (l *callList) remove(p *pick) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.before == nil {
		l.first = p.after
	} else {
		p.before.after = p.after
	}
	if p.after == nil {
		l.last = p.before
	} else {
		p.after.before = p.before
	}
	p.before, p.after = nil, nil
}

// pickedBetween returns the connection of a call that was picked after the first time and not after
// the second. It returns nil if there is no such call.
func (l *callList) pickedBetween(after, until int64) *conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	for p := l.last; p != nil; p = p.before {
		if p.at <= after {
			return nil
		}
		if p.at <= until {
			return p.conn
		}
	}
	return nil
}

// giveUp ends the attempts that may be made again elsewhere. It returns their number.
func (l *callList) giveUp() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for p := l.first; p != nil; p = p.after {
		if p.lease.giveUp() {
			n++
		}
	}
	return n
}
