package frontend

import (
	"math/rand/v2"
	"time"
)

// timedOneIn says that one conversion in so many is timed. Reading the clock twice would add much
// to a small one.
const timedOneIn = 64

// Direction is the direction of a conversion.
type Direction int

const (
	// ToWire is from the client's JSON to the upstream's protobuf.
	ToWire Direction = iota
	// ToJSON is from the upstream's protobuf to the client's JSON.
	ToJSON
)

// Clock is called before a message is converted. Its result is for Converted. It is zero if this
// conversion is not timed.
func (m *Method) Clock() (began time.Time) {
	if m.Timed == nil || rand.Uint32()%timedOneIn != 0 { //nolint:gosec // which ones are timed is not a secret
		return time.Time{}
	}
	return time.Now()
}

// Converted reports how long the conversion of a message took, if it is timed.
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
