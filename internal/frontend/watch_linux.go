package frontend

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// isSystemConn reports whether the system can be asked about the connection.
func isSystemConn(c net.Conn) bool {
	_, ok := c.(syscall.Conn)
	return ok
}

// closedByPeer returns a function that reports whether the peer of c has closed it or its half of
// it, even if there are bytes to read before. It returns nil if that cannot be known.
func closedByPeer(c net.Conn) func() bool {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	return func() bool {
		closed := false
		err := raw.Control(func(fd uintptr) {
			fds := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
			n, err := unix.Poll(fds[:], 0)
			closed = err == nil && n > 0 && fds[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0
		})
		return closed || err != nil // An error means that the connection was closed here.
	}
}
