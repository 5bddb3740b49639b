package pool

import (
	"context"
	"fmt"
	"time"
)

// closedBit of Channel.leases means that the channel gives no more leases.
const closedBit = int64(1) << 62

// acquire takes a lease. It returns false if the channel has closed.
//
// Called on the call path; takes no lock of the balancer.
func (c *Channel) acquire() bool {
	if c.leases.Add(1)&closedBit == 0 {
		return true
	}
	c.leases.Add(-1)
	return false
}

// release returns a lease. The last lease of a retired channel closes it.
//
// Called on the call path; takes no lock of the balancer.
func (c *Channel) release() {
	if c.leases.Add(-1) == 0 && c.lingered.Load() {
		c.balancer.mustAsk(c.closeIdle)
	}
}

// closeIdle closes the channel if no call has a lease.
//
// Caller must hold b.mu.
func (c *Channel) closeIdle() {
	if c.leases.CompareAndSwap(0, closedBit) {
		c.balancer.finish()
	}
}

// closeNow closes the channel even if calls have leases.
//
// Caller must hold b.mu.
func (c *Channel) closeNow() {
	if calls := c.leases.Or(closedBit); calls&closedBit == 0 {
		c.cut.Store(true)
		c.balancer.events.closed(calls)
		c.balancer.finish()
	}
}

// finish makes run end. This closes the channel.
//
// Caller must hold b.mu.
func (b *balancer) finish() {
	b.closing = true
	b.current.replace(failingPicker{&UnavailableError{Service: b.service, Reason: Closed}})
	b.end()
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// Retire lets the channel go. It does not block. The channel still accepts late calls for Linger.
// Then it closes when the last lease is returned, or at DrainTimeout. Calls that remain at
// DrainTimeout end with UNAVAILABLE. done is closed at the end.
func (c *Channel) Retire() (done <-chan struct{}) {
	c.retire(c.balancer.settings.Linger)
	return c.done
}

// Shutdown is Retire for the end of the process. It does not linger, and it waits. Calls that are
// still in flight when ctx is done, or at DrainTimeout, end with UNAVAILABLE. If ctx ended them,
// the error says how many there were.
func (c *Channel) Shutdown(ctx context.Context) error {
	c.retire(0)
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
	}
	c.balancer.lock()
	calls := c.leases.Load() &^ closedBit
	c.closeNow()
	c.balancer.publishAndUnlock()
	<-c.done
	if calls == 0 {
		return nil
	}
	return fmt.Errorf("closing the channel to %s: %d calls were in flight: %w", c.balancer.service, calls, ctx.Err())
}

// retire begins the end of the channel, or brings it forward.
func (c *Channel) retire(linger time.Duration) {
	b := c.balancer
	b.lock()
	defer b.publishAndUnlock()
	now := time.Now()
	if !c.retiring.Swap(true) {
		b.ignoreOutage()
		b.at(now.Add(max(linger, b.settings.DrainTimeout)), c.closeNow)
	}
	if !b.closing {
		b.at(now.Add(linger), func() {
			c.lingered.Store(true)
			c.closeIdle()
		})
	}
}

// run is the channel's one goroutine. It does what is due until the channel must close. Then it
// takes the channel down.
func (c *Channel) run() {
	defer close(c.done)
	c.balancer.run()
	c.unsubscribe()
	_ = c.conn.Close()
	c.balancer.wireConns.close()
	c.balancer.wireStreams.close()
	c.balancer.lock()
	for l := range c.balancer.listeners {
		l.end()
	}
	c.balancer.unlock()
	c.balancer.work.Wait()
}

func (c *Channel) closedError() error {
	return &UnavailableError{Service: c.balancer.service, Reason: Closed}
}
