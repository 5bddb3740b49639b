package freeport

import (
	"net"
	"strconv"
	"testing"
)

// TestAddr takes more addresses than a block has: each is another one, below what the kernel gives
// out, and free.
func TestAddr(t *testing.T) {
	seen := map[string]bool{}
	for range 2*blockSize + 1 {
		addr, err := Addr()
		if err != nil {
			t.Fatal(err)
		}
		_, text, err := net.SplitHostPort(addr)
		if err != nil {
			t.Fatal(err)
		}
		if port, _ := strconv.Atoi(text); seen[addr] || port <= first || port >= end {
			t.Fatalf("%s, after %d others", addr, len(seen))
		}
		seen[addr] = true
		listener, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
	}
}

// TestTakenByOthers: a port in use is passed over, and so is a block that is locked.
func TestTakenByOthers(t *testing.T) {
	var taken net.Listener
	for taken == nil {
		if _, err := Addr(); err != nil {
			t.Fatal(err)
		}
		if held.left > 0 {
			taken, _ = listen(held.next)
		}
	}
	defer taken.Close()
	if addr, err := Addr(); err != nil || addr == taken.Addr().String() {
		t.Errorf("%s, %v", addr, err)
	}
	blocks := len(held.locks)
	if err := takeBlock(); err != nil || len(held.locks) != blocks+1 {
		t.Errorf("%d blocks after %d: %v", len(held.locks), blocks, err)
	}
}
