package wire

import (
	"errors"
	"io"
	"net"
	"syscall"

	"google.golang.org/grpc/mem"
)

// readyWire lets grpc wait for data without a buffer, by the optional method ReadOnReady. So an
// idle connection does not cost a read buffer of 32 KiB. Grpc does this by itself only for a bare
// connection of package net.
type readyWire struct {
	*wire

	fd syscall.RawConn
	// The fields below belong to the one goroutine that reads. They are fields so that a read
	// allocates nothing.
	pool mem.BufferPool
	size int
	buf  *[]byte
	n    int
	err  error
	read func(fd uintptr) bool
}

// withReadyReads is for plaintext, over TCP or a Unix socket. Under TLS the bytes of the socket are
// not those of the connection.
func withReadyReads(w *wire) net.Conn {
	var socket syscall.Conn
	switch c := w.Conn.(type) {
	case *net.TCPConn:
		socket = c
	case *net.UnixConn:
		socket = c
	default:
		return w
	}
	fd, err := socket.SyscallConn()
	if err != nil {
		return w
	}
	r := &readyWire{wire: w, fd: fd}
	r.read = r.tryRead
	return r
}

// ReadOnReady waits for data. Then it takes a buffer of the given size from the pool and reads into
// it.
func (r *readyWire) ReadOnReady(size int, pool mem.BufferPool) (*[]byte, int, error) {
	r.pool, r.size, r.buf, r.n, r.err = pool, size, nil, 0, nil
	err := r.fd.Read(r.read)
	buf, n := r.buf, r.n
	if err == nil {
		err = r.err
	}
	r.pool, r.buf, r.err = nil, nil, nil
	switch {
	case err != nil:
		if buf != nil {
			pool.Put(buf)
		}
		return nil, 0, err
	case n == 0:
		return buf, 0, io.EOF
	}
	r.received((*buf)[:n])
	return buf, n, nil
}

// tryRead reads what is there. It returns false to make the caller wait until there is something.
func (r *readyWire) tryRead(fd uintptr) bool {
	r.buf = r.pool.Get(r.size)
	for {
		r.n, r.err = syscall.Read(int(fd), *r.buf)
		if errors.Is(r.err, syscall.EINTR) {
			continue
		}
		if errors.Is(r.err, syscall.EAGAIN) {
			r.pool.Put(r.buf)
			r.buf, r.n, r.err = nil, 0, nil
			return false
		}
		if r.err != nil {
			r.n = 0
		}
		return true
	}
}
