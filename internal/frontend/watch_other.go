//go:build !linux

package frontend

import "net"

// isSystemConn has nothing to offer here.
func isSystemConn(net.Conn) bool { return false }

// closedByPeer has nothing to offer here: other systems do not tell before the bytes that came
// first are read.
func closedByPeer(net.Conn) func() bool { return nil }
