package pool

import "time"

// EventKind says what has happened to an instance.
type EventKind int

const (
	// EventReady means that the instance takes calls. It has its first connection, or it passes its
	// health check again.
	EventReady EventKind = iota
	// EventLost means that the instance is in use, but its last connection is gone or its health
	// check fails.
	EventLost
	// EventUnreachable means that no connection to the instance could be made for a second.
	EventUnreachable
	// EventEjected means that the instance gets no calls. Either calls failed there, and it gets
	// none for some time. Or it does not answer, and gets none until it does.
	EventEjected
	// EventReadmitted means that the instance gets calls again.
	EventReadmitted
	// EventHeld means that the instance vanished from the registry in a suspicious way and stays in
	// use.
	EventHeld
	// EventDown means that no instance of the service has taken calls for a second, or for three
	// seconds at the start.
	EventDown
	// EventUp means that an instance takes calls again after EventDown.
	EventUp
)

// Event is something that has happened to an instance, or to the whole service.
type Event struct {
	Kind EventKind
	// Instance is the address of the instance. "": the event is about the whole service.
	Instance string
	// Instances is the number of instances in use at EventDown.
	Instances int
	// Error is the reason, if it is known.
	Error string
	// For is the minimum time of an ejection, or the time since the last instance took calls at
	// EventUp.
	For time.Duration
}

// Observer is told of events in their order. The channel is locked meanwhile, so Observe must
// return at once and must not use the channel.
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

// lost writes no log line. The connection is made again, and there is a line if that fails.
func (e *events) lost(addr string) { e.tell(Event{Kind: EventLost, Instance: addr}) }

func (e *events) readmitted(addr string) { e.tell(Event{Kind: EventReadmitted, Instance: addr}) }
