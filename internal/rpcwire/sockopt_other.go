//go:build !linux

package rpcwire

import (
	"net"
	"time"
)

// setUserTimeout does nothing: only Linux has the option.
func setUserTimeout(net.Conn, time.Duration) {}
