package transcode_test

import (
	"syscall"
	"time"
	"unsafe"
)

// threadTime returns the processor time that the current thread has used. It does not depend on how
// busy the machine is.
func threadTime() (time.Duration, error) {
	const threadClock = 3 // CLOCK_THREAD_CPUTIME_ID
	var ts syscall.Timespec
	_, _, errno := syscall.Syscall(syscall.SYS_CLOCK_GETTIME, threadClock, uintptr(unsafe.Pointer(&ts)), 0)
	if errno != 0 {
		return 0, errno
	}
	return time.Duration(ts.Nano()), nil
}
