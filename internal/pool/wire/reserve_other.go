//go:build !linux

package wire

// ReserveFrom is the number of dials at once from which Reserve is worth its cost.
const ReserveFrom = 32

// Reserve does nothing: only Linux needs it.
func Reserve(int) {}
