//go:build !linux

package traffic

import (
	"errors"
	"time"
)

var errLinux = errors.New("the comparison measures processes on Linux only")

// CPU is the processor time that a process has used.
func CPU(int) (time.Duration, error) { return 0, errLinux }

// RSS is the memory of a process that is in RAM, in bytes.
func RSS(int) (int64, error) { return 0, errLinux }
