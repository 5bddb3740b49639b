//go:build !linux

// Package distance puts round-trip time between two processes of this machine, on Linux.
package distance

import (
	"errors"
	"time"
)

// Near and Far are the addresses.
const Near, Far = "198.18.0.1", "198.18.0.2"

// Line is the device.
type Line struct{}

// Open makes the device.
func Open() (*Line, error) { return nil, errors.New("only on Linux") }

// SetRTT sets the round-trip time.
func (*Line) SetRTT(time.Duration) {}

// Close removes the device.
func (*Line) Close() {}
