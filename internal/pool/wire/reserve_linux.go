package wire

import "syscall"

// ReserveFrom is the number of dials at once from which Reserve is worth its cost.
const ReserveFrom = 32

// Reserve makes the process's table of open files large enough for n more, before they are needed.
// Linux doubles a table that is full, and makes every thread that opens a file then wait until all
// processors have taken notice, some ten milliseconds. Go does not know that socket(2) can wait, so
// the goroutines that are queued on such a thread wait as well, dials and calls alike. Go knows it
// of this system call.
func Reserve(n int) {
	null, err := syscall.Open("/dev/null", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	// The number of a new file is the lowest that is free, about as many as there are. One with a
	// number larger by n needs a table for it.
	fd, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(null), syscall.F_DUPFD_CLOEXEC, uintptr(null+n))
	if errno == 0 {
		_ = syscall.Close(int(fd))
	}
	_ = syscall.Close(null)
}
