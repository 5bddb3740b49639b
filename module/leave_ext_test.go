package module_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/caddy-grpc/gateway/internal/testkit"
	"github.com/caddy-grpc/gateway/internal/testkit/testpb"
)

// forEver is a script of a service that does nothing: only leaving ends the call.
const forEver = `{"script":{"delay":"36000s"}}`

// envelopes are a message of forEver and n empty ones, each with its prefix.
func envelopes(n int) []byte {
	first, err := proto.Marshal(&testpb.EchoRequest{Script: &testpb.Script{Delay: durationpb.New(10 * time.Hour)}})
	if err != nil {
		panic(err)
	}
	b := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(first)))
	return append(append(b, first...), make([]byte, 5*n)...)
}

// frame is a WebSocket frame of a client, of up to 125 bytes.
func frame(text string) string {
	return string([]byte{0x81, 0x80 | byte(len(text)), 0, 0, 0, 0}) + text
}

// request is an HTTP/1.1 request with what it says before its header ends.
func request(line, header, body string) string {
	return line + " HTTP/1.1\r\nHost: 127.0.0.1\r\n" + header + "\r\n" + body
}

// neverGetBook makes Library.GetBook, which Connect clients may call by GET, do nothing.
func neverGetBook(ctx context.Context, req any, info *grpc.UnaryServerInfo, serve grpc.UnaryHandler) (any, error) {
	if info.FullMethod != testpb.Library_GetBook_FullMethodName {
		return serve(ctx, req)
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestClientsThatLeaveEndTheirCalls lets clients leave in every phase of an HTTP/1.1 request whose
// service does nothing.
func TestClientsThatLeaveEndTheirCalls(t *testing.T) {
	backend := testkit.StartBackend(t, testkit.WithServerOptions(grpc.ChainUnaryInterceptor(neverGetBook)))
	s := newSite(t)
	s.load("", "grpc_gateway {\n timeout off\n upstream a {\n discover static "+backend.Addr()+"\n }\n }")
	s.want(s.get("/v1/echo/x"), http.StatusOK)

	const quiet = "?script.delay=36000s"
	length := func(n int) string { return fmt.Sprintf("Content-Length: %d\r\n", n) }
	typed := func(contentType, rest string) string { return "Content-Type: " + contentType + "\r\n" + rest }
	const chunked = "Transfer-Encoding: chunked\r\n"
	// More than the service's window and the gateway take, and less than the rest of what the
	// system's buffers hold: the end of the connection must reach this side.
	const count = 18_000
	many := forEver + "\n" + strings.Repeat("{}\n", count)
	upload := string(envelopes(count))
	text := base64.StdEncoding.EncodeToString([]byte(upload))
	// More than all buffers take.
	huge := strings.Repeat("x", 12<<20)
	const connectGET = "GET /gateway.test.v1.Library/GetBook?connect=v1&encoding=json&message=%7B%7D"
	const bidi = "POST /gateway.test.v1.Echo/Bidi"
	upgrade := "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " +
		base64.StdEncoding.EncodeToString(make([]byte, 16)) + "\r\n"
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	for name, sent := range map[string]string{
		"waits for the answer":                    request("GET /v1/echo"+quiet, "", ""),
		"waits for the answer, with a body":       request("POST /v1/echo", length(len(forEver)), forEver),
		"a body that nobody wants":                request("GET /v1/echo"+quiet, length(5), "hello"),
		"a body that nobody wants, not complete":  request("GET /v1/echo"+quiet, length(1<<20), "hello"),
		"a large body that nobody wants":          request("GET /v1/echo"+quiet, length(1<<20), strings.Repeat("x", 40_000)),
		"a huge body that nobody wants":           request("GET /v1/echo"+quiet, length(12<<20), huge),
		"a huge body that nobody wants, a stream": request("GET /v1/stream/3"+quiet, length(13<<20), huge),
		"Connect GET with a body":                 request(connectGET, length(5), "hello"),
		"Connect GET with a huge body":            request(connectGET, length(13<<20), huge),
		"a body without end that nobody wants":    request("GET /v1/echo"+quiet, chunked, "5\r\nhello\r\n"),
		"a body that must be asked for":           request("GET /v1/echo"+quiet, length(5)+"Expect: 100-continue\r\n", ""),
		"a stream":                                request("GET /v1/stream/3"+quiet, "", ""),
		"a stream, with a body that nobody wants": request("GET /v1/stream/3"+quiet, chunked, "5\r\nhello\r\n"),
		"another request follows":                 request("GET /v1/stream/3"+quiet, "", request("GET /", "", "")),
		"an upload that goes on":                  request("POST /v1/chat", chunked, fmt.Sprintf("%x\r\n%s\r\n", len(forEver), forEver)),
		"an upload within a message":              request("POST /v1/chat", chunked, fmt.Sprintf("%x\r\n%s{\r\n", len(forEver)+1, forEver)),
		"an upload that nobody takes":             request("POST /v1/chat", typed("application/x-ndjson", length(len(many))), many),
		"an array that nobody takes":              request("POST /v1/chat", typed("application/json", chunked), fmt.Sprintf("%x\r\n[%s%s", 1<<20, forEver, strings.Repeat(",{}", count))),
		"an upload without body":                  request("GET /v1/chat"+quiet, chunked, "5\r\nhello\r\n"),
		"gRPC-Web that nobody takes":              request(bidi, typed("application/grpc-web", length(len(upload))), upload),
		"gRPC-Web text that nobody takes":         request(bidi, typed("application/grpc-web-text", length(len(text))), text),
		"Connect that nobody takes":               request(bidi, typed("application/connect+proto", length(len(upload))), upload),
		"a WebSocket":                             request("GET /v1/chat", upgrade, frame(forEver)),
		"a WebSocket that nobody takes":           request("GET /v1/chat", upgrade, frame(forEver)+strings.Repeat(frame("{}"), 20_000)),
	} {
		for how, leave := range map[string]func(*net.TCPConn) error{
			"FIN": (*net.TCPConn).CloseWrite,
			"RST": func(c *net.TCPConn) error { return c.SetLinger(0) },
		} {
			t.Run(name+"/"+how, func(t *testing.T) {
				eventually(t, "the call before ended", func() bool { return backend.InFlight() == 0 })
				conn, err := net.Dial("tcp", s.addr)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				go io.Copy(io.Discard, conn)
				wrote := make(chan struct{})
				go func() {
					defer close(wrote)
					_, _ = io.WriteString(conn, sent)
				}()
				eventually(t, "the call arrived", func() bool { return backend.InFlight() == 1 })
				select {
				case <-wrote:
				case <-time.After(20 * time.Second):
					t.Fatal("the body cannot be sent")
				}
				if err := leave(conn.(*net.TCPConn)); err != nil {
					t.Fatal(err)
				}
				if how == "RST" {
					conn.Close()
				}
				eventually(t, "the call ended", func() bool { return backend.InFlight() == 0 })
			})
		}
	}
}

// TestAnswersArriveWhileAnUnwantedBodyIsSent: the client sends without end, and reads the answer
// meanwhile.
func TestAnswersArriveWhileAnUnwantedBodyIsSent(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	s.load("", "grpc_gateway {\n upstream a {\n discover static "+backend.Addr()+"\n }\n }")
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	chunk := fmt.Sprintf("%x\r\n%s\r\n", 4<<10, strings.Repeat("x", 4<<10))
	for name, path := range map[string]string{
		"at once":       "/v1/echo?text=hello",
		"after a while": "/v1/echo?text=hello&script.delay=0.1s",
		"a stream":      "/v1/stream/3?text=hello&script.delay=0.1s",
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", s.addr)
			if err != nil {
				t.Fatal(err)
			}
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				_, err := io.WriteString(conn, request("GET "+path, "Transfer-Encoding: chunked\r\n", ""))
				for err == nil {
					_, err = io.WriteString(conn, chunk)
				}
			}()
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != http.StatusOK || !resp.Close || !strings.Contains(string(body), "hello") {
				t.Errorf("%v, %v: %s", resp, err, body)
			}
			conn.Close()
			<-sent
		})
	}
}

// TestClientsOfHTTP2ThatLeaveEndTheirCalls is the same for a stream that is reset, and for a
// connection that ends.
func TestClientsOfHTTP2ThatLeaveEndTheirCalls(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	s.load("", "grpc_gateway {\n timeout off\n upstream a {\n discover static "+backend.Addr()+"\n }\n }")
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	for name, tc := range map[string]struct {
		method, path, contentType string
		body                      func() io.Reader
	}{
		"a body that nobody wants": {"GET", "/v1/echo?script.delay=36000s", "", func() io.Reader { return strings.NewReader(strings.Repeat("x", 1<<20)) }},
		"an upload that nobody takes": {"POST", "/v1/chat", "application/x-ndjson", func() io.Reader {
			return strings.NewReader(forEver + "\n" + strings.Repeat("{}\n", 600_000))
		}},
		"gRPC that nobody takes": {"POST", "/gateway.test.v1.Echo/Bidi", "application/grpc", func() io.Reader { return bytes.NewReader(envelopes(400_000)) }},
		"gRPC that goes on": {"POST", "/gateway.test.v1.Echo/Bidi", "application/grpc", func() io.Reader {
			r, w := io.Pipe()
			go w.Write(envelopes(0))
			return r
		}},
	} {
		for _, how := range []string{"reset", "connection"} {
			t.Run(name+"/"+how, func(t *testing.T) {
				var conn net.Conn
				var protocols http.Protocols
				protocols.SetUnencryptedHTTP2(true)
				transport := &http.Transport{Protocols: &protocols, DialContext: func(_ context.Context, network, addr string) (net.Conn, error) {
					var err error
					conn, err = net.Dial(network, addr)
					return conn, err
				}}
				defer transport.CloseIdleConnections()
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				req, err := http.NewRequestWithContext(ctx, tc.method, "http://"+s.addr+tc.path, tc.body())
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Content-Type", tc.contentType)
				done := make(chan struct{})
				go func() {
					defer close(done)
					if resp, err := transport.RoundTrip(req); err == nil {
						_, _ = io.Copy(io.Discard, resp.Body)
						resp.Body.Close()
					}
				}()
				eventually(t, "the call arrived", func() bool { return backend.InFlight() == 1 })
				if how == "reset" {
					cancel()
				} else {
					conn.Close()
				}
				eventually(t, "the call ended", func() bool { return backend.InFlight() == 0 })
				<-done
			})
		}
	}
}
