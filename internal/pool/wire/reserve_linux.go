package wire

import "syscall"

// ReserveFrom is the number of dials at once from which Reserve is worth its cost.
const ReserveFrom = 32

// Reserve makes the process's table of open files large enough for n more files, before they are
// needed.
//
// Linux doubles the table when it is full. Then every thread that opens a file waits until all
// processors have noticed, which takes about ten milliseconds. Go does not know that socket(2) can
// wait. So goroutines that are queued on such a thread wait as well, both dials and calls. Go does
// know that the system call used here can wait.
func Reserve(n int) {
	null, err := syscall.Open("/dev/null", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	// The number of a new file is the lowest free one, which is about the number of open files. A
	// file with a number larger by n makes the kernel enlarge the table.
	fd, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(null), syscall.F_DUPFD_CLOEXEC, uintptr(null+n))
	if errno == 0 {
		_ = syscall.Close(int(fd))
	}
	_ = syscall.Close(null)
}
