package rpcwire

import (
	"net"
	"syscall"
	"time"
)

// tcpUserTimeout is TCP_USER_TIMEOUT of Linux, which package syscall does not have.
const tcpUserTimeout = 18

// setUserTimeout limits how long data that was sent may stay unacknowledged. The system then closes
// the connection. Without it a lost peer is noticed after about 15 minutes under traffic.
func setUserTimeout(nc net.Conn, d time.Duration) {
	for {
		below, ok := nc.(interface{ NetConn() net.Conn }) // TLS, for example
		if !ok {
			break
		}
		nc = below.NetConn()
	}
	tcp, ok := nc.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	// It is only an improvement: keepalive pings find out as well.
	_ = raw.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(d.Milliseconds()))
	})
}
