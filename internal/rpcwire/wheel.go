package rpcwire

import (
	"math/bits"
	"time"
)

const (
	// wheelTick is the precision of deadlines. Calls end up to one tick after their deadline.
	wheelTick = 10 * time.Millisecond
	// wheelSlots is the number of ticks of one turn. Later deadlines wait for several turns.
	wheelSlots = 256
)

// wheel ends calls at their deadlines. Adding and removing a call takes constant time and hardly
// ever touches a timer, because most calls end before their deadline. The owner's lock guards it.
type wheel struct {
	start time.Time
	// slots are made when the first call with a deadline starts.
	slots *[wheelSlots]*Call
	// used has a bit for each slot that is not empty.
	used [wheelSlots / 64]uint64
	// done is the last tick that was looked at.
	done int64
	// armed is the tick that the timer is set for. 0: it is not set.
	armed int64
	timer *time.Timer
	// fire is what the timer calls.
	fire func()
}

// wheelEntry is a call's place in the wheel.
type wheelEntry struct {
	next, prev *Call
	// tick is when the deadline has passed. 0: the call is not in the wheel.
	tick int64
}

// tickAfter returns the first tick that is not before a time. Sub returns its maximum for times
// that are too far away.
func (w *wheel) tickAfter(t time.Time) int64 {
	d := t.Sub(w.start)
	tick := int64(d / wheelTick)
	if d%wheelTick > 0 {
		tick++
	}
	return tick
}

func (w *wheel) add(call *Call, deadline, now time.Time) {
	if w.slots == nil {
		w.slots = new([wheelSlots]*Call)
	}
	if passed := int64(now.Sub(w.start) / wheelTick); w.armed == 0 {
		w.done = passed // the wheel was empty, so there is nothing to look at
	}
	tick := max(w.tickAfter(deadline), w.done+1)
	call.timer.tick = tick
	slot := int(tick % wheelSlots)
	head := w.slots[slot]
	call.timer.next, call.timer.prev = head, nil
	if head != nil {
		head.timer.prev = call
	}
	w.slots[slot] = call
	w.used[slot/64] |= 1 << (slot % 64)
	if at := min(tick, w.done+wheelSlots); w.armed == 0 || at < w.armed {
		w.arm(at, now)
	}
}

func (w *wheel) remove(call *Call) {
	e := &call.timer
	if e.tick == 0 {
		return
	}
	slot := int(e.tick % wheelSlots)
	if e.prev == nil {
		w.slots[slot] = e.next
		if e.next == nil {
			w.used[slot/64] &^= 1 << (slot % 64)
		}
	} else {
		e.prev.timer.next = e.next
	}
	if e.next != nil {
		e.next.timer.prev = e.prev
	}
	*e = wheelEntry{}
}

func (w *wheel) arm(tick int64, now time.Time) {
	w.armed = tick
	d := w.start.Add(time.Duration(tick) * wheelTick).Sub(now)
	if w.timer == nil {
		w.timer = time.AfterFunc(d, w.fire)
		return
	}
	w.timer.Reset(d)
}

// advance calls expire for the calls whose deadline has passed, and sets the timer again if any are
// left. expire must remove the call.
func (w *wheel) advance(now time.Time, expire func(*Call)) {
	if w.slots == nil {
		return
	}
	until := int64(now.Sub(w.start) / wheelTick)
	for tick := w.done + 1; tick <= min(until, w.done+wheelSlots); tick++ {
		for call := w.slots[tick%wheelSlots]; call != nil; {
			next := call.timer.next
			if call.timer.tick <= until {
				expire(call)
			}
			call = next
		}
	}
	w.done = max(w.done, until)
	w.armed = 0
	if next, ok := w.nextUsed(); ok {
		w.arm(next, now)
	}
}

// nextUsed returns the next tick whose slot has calls.
func (w *wheel) nextUsed() (tick int64, ok bool) {
	for i := int64(1); i <= wheelSlots; {
		slot := int((w.done + i) % wheelSlots)
		word := w.used[slot/64] >> (slot % 64)
		if word != 0 {
			i += int64(bits.TrailingZeros64(word))
			return w.done + i, i <= wheelSlots
		}
		i += int64(64 - slot%64)
	}
	return 0, false
}

func (w *wheel) stop() {
	if w.timer != nil {
		w.timer.Stop()
	}
}
