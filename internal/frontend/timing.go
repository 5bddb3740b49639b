package frontend

import (
	"math/rand/v2"
	"time"
)

// timedOneIn is how many conversions there are for one whose time is taken: reading the clock twice
// would be a good part of a small one.
const timedOneIn = 64

// Direction is that of a conversion.
type Direction int

const (
	// ToWire is from the client's JSON to the upstream's protobuf.
	ToWire Direction = iota
	// ToJSON is from the upstream's protobuf to the client's JSON.
	ToJSON
)

// Clock is called before a message is converted, and its result given to Converted: zero, unless
// the time of this one is taken.
func (m *Method) Clock() (began time.Time) {
	if m.Timed == nil || rand.Uint32()%timedOneIn != 0 { //nolint:gosec // which ones are timed is no secret
		return time.Time{}
	}
	return time.Now()
}

// Converted notes how long it took to convert a message, if that is to be known.
func (m *Method) Converted(d Direction, began time.Time) {
	if !began.IsZero() {
		m.Timed(d, time.Since(began))
	}
}

// Depart notes that a value of an answer had no JSON form and was written as something close to it.
func (m *Method) Depart(note error) {
	if m.Departed != nil {
		m.Departed(note)
	}
}
