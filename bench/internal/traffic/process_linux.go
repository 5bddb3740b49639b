package traffic

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// CPU is the processor time that a process has used, user and system, all its threads: the kernel's
// own account, in nanoseconds, where /proc/<pid>/stat has the same in hundredths of a second.
func CPU(pid int) (time.Duration, error) {
	const scheduled = 2 // CPUCLOCK_SCHED, of a process, as in clock_getcpuclockid(3)
	clock := int32(^pid)<<3 | scheduled
	var ts syscall.Timespec
	if _, _, errno := syscall.Syscall(syscall.SYS_CLOCK_GETTIME, uintptr(clock), uintptr(unsafe.Pointer(&ts)), 0); errno != 0 {
		return 0, fmt.Errorf("processor time of process %d: %w", pid, errno)
	}
	return time.Duration(ts.Nano()), nil
}

// RSS is the memory of a process that is in RAM, in bytes.
func RSS(pid int) (int64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(raw), "VmRSS:")
	rest, _, _ = strings.Cut(rest, "kB")
	kb, err := strconv.ParseInt(strings.TrimSpace(rest), 10, 64)
	return kb << 10, err
}
