package rpcwire

import "time"

// keepalive pings a silent connection, and closes it if nothing comes back. It follows grpc-go, so
// that servers see the same pings. The owner's lock guards it.
type keepalive struct {
	// timer is nil if there are no pings.
	timer *time.Timer
	// pinged is when the ping was queued that nobody has answered. Anything that comes is an
	// answer.
	pinged time.Duration
	// waiting is true while there is such a ping.
	waiting bool
	// dormant is true while there are no calls and pings need some. The timer is not set then.
	dormant bool
}

func (k *keepalive) stop() {
	if k.timer != nil {
		k.timer.Stop()
	}
}

func (c *Conn) startKeepalive() {
	if c.opts.KeepaliveTime > 0 {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.keepalive.timer = time.AfterFunc(c.opts.KeepaliveTime, c.onKeepalive)
	}
}

// onKeepalive is called by the timer.
func (c *Conn) onKeepalive() {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := &c.keepalive
	if c.state == connClosed {
		return
	}
	now, last := time.Since(c.began), time.Duration(c.lastRead.Load())
	if k.waiting && last < k.pinged {
		left := k.pinged + c.opts.KeepaliveTimeout - now
		if left <= 0 {
			c.closeLocked(&ConnError{Reason: ReasonKeepalive})
			return
		}
		k.timer.Reset(min(c.opts.KeepaliveTime, left))
		return
	}
	k.waiting = false
	if left := last + c.opts.KeepaliveTime - now; left > 0 {
		k.timer.Reset(left)
		return
	}
	if len(c.streams) == 0 && !c.opts.PermitWithoutStream {
		k.dormant = true
		return
	}
	c.pingLocked(now)
}

func (c *Conn) pingLocked(now time.Duration) {
	k := &c.keepalive
	k.pinged, k.waiting = now, true
	k.timer.Reset(min(c.opts.KeepaliveTime, c.opts.KeepaliveTimeout))
	c.control.ping = true
	c.wakeWriterLocked()
}

// wakeKeepaliveLocked pings at once if the connection was silent for long without calls.
func (c *Conn) wakeKeepaliveLocked() {
	if c.keepalive.dormant {
		c.keepalive.dormant = false
		c.pingLocked(time.Since(c.began))
	}
}
