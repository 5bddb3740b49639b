package testkit

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// TestProxy: bytes pass, none pass through a black hole, on old connections and on new ones, and
// all of them arrive after it.
func TestProxy(t *testing.T) {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() {
		for {
			conn, err := server.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	proxy := StartProxy(t, server.Addr().String())
	old := dialProxy(t, proxy)
	say(t, old, "a")
	hear(t, old, "a")

	proxy.BlackHole()
	fresh := dialProxy(t, proxy)
	for _, conn := range []net.Conn{old, fresh} {
		say(t, conn, "b")
		if err := conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if n, err := conn.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("in the black hole: %d bytes, %v", n, err)
		}
	}

	proxy.Heal()
	for _, conn := range []net.Conn{old, fresh} {
		hear(t, conn, "b")
	}
	if got := proxy.Accepted(); got != 2 {
		t.Errorf("%d connections were accepted", got)
	}
}

func dialProxy(t *testing.T, proxy *Proxy) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", proxy.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func say(t *testing.T, conn net.Conn, what string) {
	t.Helper()
	if _, err := io.WriteString(conn, what); err != nil {
		t.Fatal(err)
	}
}

func hear(t *testing.T, conn net.Conn, what string) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, len(what))
	if _, err := io.ReadFull(conn, buf); err != nil || string(buf) != what {
		t.Fatalf("read %q, %v; want %q", buf, err, what)
	}
}
