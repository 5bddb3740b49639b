package rpcwire

import "context"

// admission bounds how much of the requests waits to be written. The owner's lock guards it.
type admission struct {
	// backlog is the size of what waits, in bytes. reserved is what was admitted and not started.
	backlog, reserved int
	// waiting are those who wait, in order.
	waiting []*admitted
}

type admitted struct {
	size int
	// ready is closed when the waiter may go on.
	ready chan struct{}
}

// Admit waits until a request of about n bytes may be made, or until ctx is done, and reserves the
// room. The caller then makes the request, starts the call, and calls release once. So hundreds of
// large requests for a slow peer are not made in advance. A request that is larger than the whole
// room may be made when nothing else waits. A connection that drains or is closed admits
// everything, because Start fails at once.
func (c *Conn) Admit(ctx context.Context, n int) (release func(), err error) {
	c.mu.Lock()
	if c.state != connOpen || len(c.admission.waiting) == 0 && c.fitsLocked(n) {
		c.admission.reserved += n
		c.mu.Unlock()
	} else {
		w := &admitted{size: n, ready: make(chan struct{})}
		c.admission.waiting = append(c.admission.waiting, w)
		c.mu.Unlock()
		select {
		case <-w.ready:
		case <-ctx.Done():
			if !c.withdraw(w) {
				c.release(n) // it was admitted at the same moment
			}
			return nil, context.Cause(ctx)
		}
	}
	return func() { c.release(n) }, nil
}

// Backlog returns how many bytes of requests wait to be written.
func (c *Conn) Backlog() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.admission.backlog
}

func (c *Conn) fitsLocked(n int) bool {
	held := c.admission.backlog + c.admission.reserved
	return held == 0 || held+n <= c.opts.MaxBacklog
}

// withdraw removes a waiter. It returns false if it was admitted.
func (c *Conn) withdraw(w *admitted) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := &c.admission
	for i := range a.waiting {
		if a.waiting[i] == w {
			a.waiting = append(a.waiting[:i], a.waiting[i+1:]...)
			c.admitLocked() // it may have held up smaller ones
			return true
		}
	}
	return false
}

func (c *Conn) release(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.admission.reserved -= n
	c.admitLocked()
}

// backlogLocked notes that n more bytes wait, or fewer.
func (c *Conn) backlogLocked(n int) {
	c.admission.backlog += n
	if n < 0 {
		c.admitLocked()
	}
}

func (c *Conn) admitLocked() {
	a := &c.admission
	for len(a.waiting) > 0 && c.fitsLocked(a.waiting[0].size) {
		a.wakeFirst()
	}
}

func (a *admission) wakeFirst() {
	w := a.waiting[0]
	a.waiting = a.waiting[1:]
	a.reserved += w.size
	close(w.ready)
}

func (a *admission) wakeAll() {
	for len(a.waiting) > 0 {
		a.wakeFirst()
	}
}
