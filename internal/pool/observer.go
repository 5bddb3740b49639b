package pool

import "time"

// EventKind is what has happened to an instance.
type EventKind int

const (
	// EventReady means: it has got its first connection, or passes its health check again, and
	// takes calls.
	EventReady EventKind = iota
	// EventLost means: its last connection is gone, or its health check fails, though it is in use.
	EventLost
	// EventUnreachable means: it could not be connected for a second.
	EventUnreachable
	// EventEjected means: calls failed there, so it gets none for a while, or it does not answer
	// and gets none until it does.
	EventEjected
	// EventReadmitted means: it gets calls again.
	EventReadmitted
)

// Event is something that has happened to an instance.
type Event struct {
	Kind     EventKind
	Instance string        // its address
	Error    string        // why, if it is known
	For      time.Duration // how long it is ejected at least
}

// Observer is told of events in their order, while the channel is locked: it returns at once and
// does not use the channel.
type Observer interface {
	Observe(Event)
}

// tell passes an event on.
func (e *events) tell(event Event) {
	if e.observer != nil {
		e.observer.Observe(event)
	}
}

func (e *events) ready(addr string) { e.tell(Event{Kind: EventReady, Instance: addr}) }

// lost has no line in the log: the connection is made anew, and there is one when that fails.
func (e *events) lost(addr string) { e.tell(Event{Kind: EventLost, Instance: addr}) }

func (e *events) readmitted(addr string) { e.tell(Event{Kind: EventReadmitted, Instance: addr}) }
