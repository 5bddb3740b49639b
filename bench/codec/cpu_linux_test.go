package codec

import (
	"syscall"
	"time"
	"unsafe"
)

// cpuTime returns the processor time that this process has used, its garbage collector included. It
// hardly depends on what else the machine is doing.
func cpuTime() time.Duration {
	const processClock = 2 // CLOCK_PROCESS_CPUTIME_ID
	var ts syscall.Timespec
	if _, _, errno := syscall.Syscall(syscall.SYS_CLOCK_GETTIME, processClock, uintptr(unsafe.Pointer(&ts)), 0); errno != 0 {
		return 0
	}
	return time.Duration(ts.Nano())
}
