package frontend_test

import (
	"bufio"
	"io"
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

// The end of an answer without a Content-Length does not wait for a client that sends nothing more.
func TestEndOfAChunkedAnswerIsNotHeldBack(t *testing.T) {
	returned := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusOK)
		r.Body = unread{t}
		frontend.Linger(w, r)
		close(returned)
	}))
	defer s.Close()
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	<-returned
}

// unread is a body that must not be read.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("the body was read")
	return 0, io.EOF
}

func (unread) Close() error { return nil }
