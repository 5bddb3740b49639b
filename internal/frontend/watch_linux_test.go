package frontend

import (
	"crypto/tls"
	"net"
	"testing"
	"time"
)

// TestClosedByPeerUnderWhatServersWrapAround: the peer sends bytes that nobody reads and leaves.
// The system knows of it, under TLS and under the wrappers of listeners.
func TestClosedByPeerUnderWhatServersWrapAround(t *testing.T) {
	type embedding struct{ net.Conn }
	for name, wrap := range map[string]func(net.Conn) net.Conn{
		"the connection itself": func(c net.Conn) net.Conn { return c },
		"TLS":                   func(c net.Conn) net.Conn { return tls.Server(c, &tls.Config{}) },
		"a wrapper":             func(c net.Conn) net.Conn { return &embedding{c} },
		"TLS in a wrapper over a wrapper": func(c net.Conn) net.Conn {
			return embedding{tls.Server(&embedding{c}, &tls.Config{})}
		},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			client, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			server, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer server.Close()
			closed := closedByPeer(innermostConn(wrap(server)))
			if closed == nil || closed() {
				t.Fatal("it cannot be known, or the peer is gone before it left")
			}
			if _, err := client.Write([]byte("bytes that nobody reads")); err != nil {
				t.Fatal(err)
			}
			if err := client.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			for range 1000 {
				if closed() {
					return
				}
				time.Sleep(5 * time.Millisecond)
			}
			t.Error("it is not known that the peer is gone")
		})
	}
}
