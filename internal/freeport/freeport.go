// Package freeport finds ports for tests and benchmarks that start servers in other processes, or
// start one again where it was: a port that port 0 gave and that was closed again may be given to
// anybody before the server listens there.
package freeport

import (
	"errors"
	"net"
	"os"
	"strconv"
	"sync"
)

const (
	// The kernel gives out ports from 32768 (Linux) or 49152 (others) on, to listeners on port 0
	// and to connections.
	first, end = 20000, 32700
	blockSize  = 100
)

// errNone says that other processes hold every block, or that every port of the rest is in use.
var errNone = errors.New("no free port between 20000 and 32700")

// held is the block that this process takes ports from. The first port of each block is a lock
// against other processes that use this package: a listener that lives as long as the process.
var held struct {
	sync.Mutex
	locks []net.Listener
	next  int
	left  int
}

// Addr returns an address of 127.0.0.1 on which nobody listens, and which it returns to nobody else
// as long as this process lives. It is safe for concurrent use.
func Addr() (string, error) {
	held.Lock()
	defer held.Unlock()
	for range end - first {
		if held.left == 0 {
			if err := takeBlock(); err != nil {
				return "", err
			}
		}
		port := held.next
		held.next++
		held.left--
		if listener, err := listen(port); err == nil {
			addr := listener.Addr().String()
			return addr, listener.Close()
		}
	}
	return "", errNone
}

// takeBlock claims ports for this process. Where it looks first depends on the process, so that two
// seldom meet.
func takeBlock() error {
	const blocks = (end - first) / blockSize
	for i := range blocks {
		port := first + (os.Getpid()+i)%blocks*blockSize
		if listener, err := listen(port); err == nil {
			held.locks = append(held.locks, listener)
			held.next, held.left = port+1, blockSize-1
			return nil
		}
	}
	return errNone
}

func listen(port int) (net.Listener, error) {
	return net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
}
