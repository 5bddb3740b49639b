package rest

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-grpc/gateway/internal/frontend"
)

// ask sends a request over a connection of its own, as it is, and reads the header of the answer
// while the rest of the request is still missing.
func (w *world) ask(t *testing.T, request string) *http.Response {
	t.Helper()
	conn, err := net.Dial("tcp", w.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := conn.Write([]byte(request)); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp
}

func TestRefusalsDoNotWaitForTheBody(t *testing.T) {
	w := newWorld(t, frontend.Options{MaxRequestSize: 1000})
	for name, tc := range map[string]struct {
		line, header string
		body         string
		status       int
	}{
		"no such route":          {"POST /none", "", "", 404},
		"another method":         {"PUT /v1/echo", "", "", 405},
		"a type that is unknown": {"POST /v1/echo", "Content-Type: text/plain\r\n", "", 415},
		"a bad query":            {"POST /v1/echo?x=y", "", "", 400},
		"a bad deadline":         {"POST /v1/echo", "X-Request-Timeout: soon\r\n", "", 400},
		"too large":              {"POST /v1/echo", "", "", 413},
		"the deadline passed":    {"POST /v1/echo", "X-Request-Timeout: 50ms\r\n", `{"text"`, 504},
		"of a body not wanted":   {"GET /v1/echo", "X-Request-Timeout: 50ms\r\n", "x", 504},
	} {
		size := 900
		if tc.status == 413 {
			size = 5000
		}
		for _, expect := range []string{"", "Expect: 100-continue\r\n"} {
			if expect != "" && tc.status == 504 {
				continue // The body is asked for.
			}
			t.Run(name+"/"+expect, func(t *testing.T) {
				resp := w.ask(t, fmt.Sprintf("%s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n%s%s\r\n%s", tc.line, size, tc.header, expect, tc.body))
				if resp.StatusCode != tc.status || !resp.Close {
					t.Errorf("got %s, closing: %v; want %d", resp.Status, resp.Close, tc.status)
				}
			})
		}
	}
}

func TestConnectionsAreUsedAgainAfterABodyThatNobodyWants(t *testing.T) {
	w := newWorld(t, frontend.Options{})
	for name, tc := range map[string]struct {
		header, body string
		closes       bool
	}{
		"none":    {"", "", false},
		"small":   {"Content-Length: 5\r\n", "hello", false},
		"large":   {"Content-Length: 1000000\r\n", "hello", true},
		"chunked": {"Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n", true},
		"asked":   {"Content-Length: 5\r\nExpect: 100-continue\r\n", "", true},
	} {
		t.Run(name, func(t *testing.T) {
			resp := w.ask(t, "GET /v1/echo/x HTTP/1.1\r\nHost: localhost\r\n"+tc.header+"\r\n"+tc.body)
			if resp.StatusCode != http.StatusOK || resp.Close != tc.closes {
				t.Errorf("got %s, closing: %v", resp.Status, resp.Close)
			}
		})
	}
}

func TestCompressedMessagesAreBounded(t *testing.T) {
	w := newWorld(t, frontend.Options{MaxRequestSize: 4 << 20})
	block := func(kind, size int) []byte {
		n := size<<3 | kind<<1
		return []byte{byte(n), byte(n >> 8), byte(n >> 16)}
	}
	var bomb bytes.Buffer
	bomb.WriteString("\x28\xb5\x2f\xfd\x00\x68")
	bomb.Write(append(block(0, 9), `{"text":"`...))
	for range 24 { // 3 MiB
		bomb.Write(append(block(1, 128<<10), 'x'))
	}
	bomb.Write(append(block(0, 2), `"}`...))
	bomb.Write([]byte{1, 0, 0})
	w.eachVersion(t, func(t *testing.T, c *client) {
		for _, path := range []string{"/v1/echo", "/v1/collect"} {
			c.do("POST", path, bomb.Bytes(), "Content-Encoding: zstd").wantError(t, 400, 3, "unpacks to more than 1032 times its size")
		}
		empty := append([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255}, strings.Repeat("\x00\x00\x00\xff\xff", 60_000)...)
		c.do("POST", "/v1/collect", empty, "Content-Encoding: gzip").wantError(t, 400, 3, "unpack to nothing")
	})
}
