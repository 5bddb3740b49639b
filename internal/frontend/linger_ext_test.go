package frontend_test

import (
	"bufio"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/caddy-grpc/gateway/internal/frontend"
)

// A client that sends a large body before it looks for an answer gets the answer, although the body
// was refused unread.
func TestRefusedClientCanSendAndReadsTheAnswer(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		w.Header().Set("Content-Length", "0")
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		frontend.Linger(w, r)
	}))
	defer s.Close()
	const size = 32 << 20 // More than the sockets' buffers take.
	for _, expect := range []string{"", "Expect: 100-continue\r\n"} {
		conn, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		header := "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: " + strconv.Itoa(size) + "\r\n" + expect + "\r\n"
		if _, err := conn.Write(append([]byte(header), make([]byte, size)...)); err != nil {
			t.Fatalf("sending with %q: %v", expect, err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("reading with %q: %v", expect, err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusRequestEntityTooLarge || !resp.Close {
			t.Errorf("with %q: %v", expect, resp)
		}
	}
}
