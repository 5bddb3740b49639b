package pool

import "syscall"

// reserve makes the process's table of open files large enough for n more, ahead of their need. Linux doubles a table that is full, and has
// every thread that opens a file then wait until all processors have taken notice, some ten milliseconds. Go does not know that socket(2)
// can wait, so that the goroutines behind such a thread wait, too, be they dials or calls. This here is a system call of which Go does know.
func reserve(n int) {
	null, err := syscall.Open("/dev/null", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	// The number of a new file is the lowest that is free, about as many as there are. One with a number larger by n needs a table for it.
	fd, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(null), syscall.F_DUPFD_CLOEXEC, uintptr(null+n))
	if errno == 0 {
		_ = syscall.Close(int(fd))
	}
	_ = syscall.Close(null)
}
