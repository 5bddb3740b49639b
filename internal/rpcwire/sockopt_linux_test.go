package rpcwire

import (
	"net"
	"syscall"
	"testing"
	"time"
)

// checkUserTimeout checks TCP_USER_TIMEOUT.
func checkUserTimeout(t *testing.T, nc net.Conn, want time.Duration) {
	t.Helper()
	raw, err := nc.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var got int
	var sysErr error
	if err := raw.Control(func(fd uintptr) { got, sysErr = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout) }); err != nil || sysErr != nil {
		t.Fatal(err, sysErr)
	}
	if got != int(want.Milliseconds()) {
		t.Errorf("TCP_USER_TIMEOUT is %d ms, want %s", got, want)
	}
}

func TestUserTimeoutOfPlainConnections(t *testing.T) {
	c := dial(t, startEcho(t).addr, Options{KeepaliveTimeout: 5 * time.Second})
	checkUserTimeout(t, c.nc, 5*time.Second)
}
