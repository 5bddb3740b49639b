//go:build !linux

package wire

import "net"

// withReadyReads returns w: here grpc reads through its own buffer.
func withReadyReads(w *wire) net.Conn { return w }
