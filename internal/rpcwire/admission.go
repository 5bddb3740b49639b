package rpcwire

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// reservedFor is how long a reservation lasts at most. A request that is made from what has
	// come already takes much less. One whose client is slow must not keep others waiting.
	reservedFor = 10 * time.Millisecond
	// admitWithin is how long a request waits at most. Admission saves memory. It must not hold up
	// anybody for long, whatever the others do.
	admitWithin = 250 * time.Millisecond
)

// Admission bounds how much of the requests waits to be written, on all connections that share it.
// So hundreds of large requests are not made in advance, while the connections are busy with
// others. It is safe for concurrent use.
type Admission struct {
	// share is how much may wait for each connection, in bytes.
	share int64
	// conns is the number of connections that are open.
	conns atomic.Int64
	// backlog is what waits, in bytes. What waits at a connection beyond its share does not count,
	// so that one connection that is stuck does not take the room of the others.
	backlog atomic.Int64
	// queued is the number of those who wait.
	queued atomic.Int64

	// mu guards the fields below.
	mu       sync.Mutex
	reserved int64
	// waiting are those who wait, in order.
	waiting []*admitted
}

// admitted is a request that waits.
type admitted struct {
	size int64
	// ready is closed when it may go on.
	ready chan struct{}
}

// NewAdmission returns an Admission that lets about share bytes wait for each connection.
func NewAdmission(share int) *Admission { return &Admission{share: int64(share)} }

// Admit waits until a request of about n bytes may be made, and reserves the room. It waits for 250
// ms at most, or until ctx is done. The caller then makes the request, and calls release, which may
// be called several times, when it starts the call. After 10 ms the room is free even without that.
// A request that is larger than the whole room may be made when nothing else waits. Without open
// connections there is nothing to wait for.
func (a *Admission) Admit(ctx context.Context, n int64) (release func()) {
	if a.conns.Load() == 0 {
		return func() {}
	}
	a.mu.Lock()
	if len(a.waiting) == 0 && a.fitsLocked(n) {
		a.reserved += n
		a.mu.Unlock()
		return a.reservation(n)
	}
	w := &admitted{size: n, ready: make(chan struct{})}
	a.waiting = append(a.waiting, w)
	a.queued.Add(1)
	a.wakeLocked() // the room may be free since the first look, when nobody waited
	a.mu.Unlock()
	late := time.NewTimer(admitWithin)
	defer late.Stop()
	select {
	case <-w.ready:
		return a.reservation(n)
	case <-late.C:
	case <-ctx.Done():
	}
	if !a.withdraw(w) {
		return a.reservation(n) // it was admitted at the same moment
	}
	return func() {}
}

// Backlog returns how many bytes wait to be written, of each connection its share at most.
func (a *Admission) Backlog() int64 { return a.backlog.Load() }

// reservation returns what ends a reservation. It ends by itself after a while.
func (a *Admission) reservation(n int64) (release func()) {
	var once sync.Once
	end := func() {
		once.Do(func() {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.reserved -= n
			a.wakeLocked()
		})
	}
	timer := time.AfterFunc(reservedFor, end)
	return func() {
		timer.Stop()
		end()
	}
}

// fitsLocked reports whether a request of n bytes may be made.
func (a *Admission) fitsLocked(n int64) bool {
	held := a.backlog.Load() + a.reserved
	return held <= 0 || held+n <= a.share*max(a.conns.Load(), 1)
}

// withdraw removes a request that waits. It returns false if it was admitted.
func (a *Admission) withdraw(w *admitted) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	i := slices.Index(a.waiting, w)
	if i < 0 {
		return false
	}
	a.waiting = slices.Delete(a.waiting, i, i+1)
	a.queued.Add(-1)
	a.wakeLocked() // it may have held up smaller ones
	return true
}

// wakeLocked admits those who fit.
func (a *Admission) wakeLocked() {
	for len(a.waiting) > 0 && (a.conns.Load() == 0 || a.fitsLocked(a.waiting[0].size)) {
		w := a.waiting[0]
		a.waiting = a.waiting[1:]
		a.queued.Add(-1)
		a.reserved += w.size
		close(w.ready)
	}
}

// changed notes how much more waits at a connection, or less.
func (a *Admission) changed(n int64) {
	a.backlog.Add(n)
	if n < 0 {
		a.wake()
	}
}

// opened and closed count the connections.
func (a *Admission) opened() { a.conns.Add(1) }

func (a *Admission) closed() {
	a.conns.Add(-1)
	a.wake()
}

func (a *Admission) wake() {
	if a.queued.Load() == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.wakeLocked()
}

// Backlog returns how many bytes of requests wait to be written.
func (c *Conn) Backlog() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.backlog
}

// backlogLocked notes that n more bytes wait, or fewer.
func (c *Conn) backlogLocked(n int) {
	before := c.backlog
	c.backlog += n
	if a := c.opts.Admission; a != nil {
		if d := min(int64(c.backlog), a.share) - min(int64(before), a.share); d != 0 {
			a.changed(d)
		}
	}
}
