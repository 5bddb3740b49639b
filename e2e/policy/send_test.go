package policy

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// patience is how long an answer may take. Some requests of the table never get one: a stream that
// is open on both sides, or a request that the server takes for an incomplete one.
const patience = 3 * time.Second

// raw is a request as it is sent, right or wrong.
type raw struct {
	method, target string
	headers        []string // "Name: value"
	body           string
}

// send sends a request and waits for the end of its answer, or for as long as it has patience. It
// returns the status: 0 for none.
type send func(t *testing.T, r raw) int

// skipped is the status of a request that a client cannot send.
const skipped = -1

// http1 writes the request by hand.
func http1(addr string) send {
	return func(t *testing.T, r raw) int {
		t.Helper()
		conn := dial(t, addr, "")
		defer conn.Close()
		var b strings.Builder
		fmt.Fprintf(&b, "%s %s HTTP/1.1\r\n", r.method, r.target)
		host := "Host: " + addr
		length := fmt.Sprintf("Content-Length: %d", len(r.body))
		for _, h := range r.headers {
			name, _, _ := strings.Cut(h, ":")
			switch strings.ToLower(name) {
			case "host":
				host = ""
			case "transfer-encoding", "content-length":
				length = ""
			}
			fmt.Fprintf(&b, "%s\r\n", h)
		}
		for _, h := range []string{host, length} {
			if h != "" {
				fmt.Fprintf(&b, "%s\r\n", h)
			}
		}
		fmt.Fprintf(&b, "\r\n%s", r.body)
		if _, err := io.WriteString(conn, b.String()); err != nil {
			t.Fatal(err)
		}
		return firstAnswer(bufio.NewReader(conn), strings.ToUpper(r.method))
	}
}

// firstAnswer reads the answer to the first request of a connection. After a handshake it waits for
// the first byte, so that the call has had its time.
func firstAnswer(conn *bufio.Reader, method string) (status int) {
	for {
		resp, err := http.ReadResponse(conn, &http.Request{Method: method})
		if err != nil {
			return 0
		}
		if resp.StatusCode == http.StatusSwitchingProtocols {
			_, _ = conn.ReadByte()
			return resp.StatusCode
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.StatusCode >= http.StatusOK {
			return resp.StatusCode
		}
	}
}

// dial connects, with TLS if a protocol is named.
func dial(t *testing.T, addr, protocol string) net.Conn {
	t.Helper()
	var conn net.Conn
	var err error
	if protocol == "" {
		conn, err = net.Dial("tcp", addr)
	} else {
		conn, err = tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{protocol}})
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// http2Frames writes the frames by hand, on a connection of its own, without TLS or with it.
func http2Frames(addr string, secure bool) send {
	scheme, protocol := "http", ""
	if secure {
		scheme, protocol = "https", "h2"
	}
	return func(t *testing.T, r raw) int {
		t.Helper()
		conn := dial(t, addr, protocol)
		defer conn.Close()
		if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
			t.Fatal(err)
		}
		var block bytes.Buffer
		encoder := hpack.NewEncoder(&block)
		field := func(name, value string) { _ = encoder.WriteField(hpack.HeaderField{Name: name, Value: value}) }
		authority := addr
		for _, h := range r.headers {
			if name, value, _ := strings.Cut(h, ": "); strings.EqualFold(name, "host") {
				authority = value
			}
		}
		field(":method", r.method)
		field(":scheme", scheme)
		field(":authority", authority)
		field(":path", r.target)
		for _, h := range r.headers {
			name, value, _ := strings.Cut(h, ": ")
			if name = strings.ToLower(name); name != "host" {
				field(name, value)
			}
		}
		framer := http2.NewFramer(conn, conn)
		framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
		err := errors.Join(
			framer.WriteSettings(),
			framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: r.body == ""}),
		)
		if r.body != "" {
			err = errors.Join(err, framer.WriteData(1, true, []byte(r.body)))
		}
		if err != nil {
			t.Fatal(err)
		}
		return answerOf(framer)
	}
}

// answerOf reads frames until the answer on the only stream has ended.
func answerOf(framer *http2.Framer) (status int) {
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return status
		}
		switch f := frame.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				_ = framer.WriteSettingsAck()
			}
		case *http2.MetaHeadersFrame:
			if value := f.PseudoValue("status"); value != "" {
				_, _ = fmt.Sscan(value, &status)
			}
			if f.StreamEnded() {
				return status
			}
		case *http2.DataFrame:
			if f.StreamEnded() {
				return status
			}
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return status
		}
	}
}

// http3Client leaves the writing to quic-go, so it cannot send every request.
func http3Client(t *testing.T, addr string) send {
	t.Helper()
	transport := &http3.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	t.Cleanup(func() { transport.Close() })
	client := &http.Client{Transport: transport, Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return func(t *testing.T, r raw) int {
		t.Helper()
		target, err := url.Parse("https://" + addr + r.target)
		if err != nil || target.RequestURI() != r.target || target.Host != addr {
			return skipped
		}
		req, err := http.NewRequestWithContext(t.Context(), r.method, target.String(), strings.NewReader(r.body))
		if err != nil {
			return skipped
		}
		for _, h := range r.headers {
			name, value, _ := strings.Cut(h, ": ")
			if strings.EqualFold(name, "host") {
				req.Host = value
				continue
			}
			req.Header.Add(name, value)
		}
		resp, err := client.Do(req)
		if err != nil {
			return 0
		}
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, resp.Body)
		return resp.StatusCode
	}
}
