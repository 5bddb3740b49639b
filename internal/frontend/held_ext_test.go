//go:build !race

// The race detector multiplies what is on the heap.

package frontend_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"go.uber.org/zap"
	"golang.org/x/net/http2"

	"github.com/caddy-grpc/gateway/discovery"
	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/frontend/connect"
	"github.com/caddy-grpc/gateway/internal/frontend/grpc"
	"github.com/caddy-grpc/gateway/internal/frontend/grpcweb"
	"github.com/caddy-grpc/gateway/internal/frontend/rest"
	"github.com/caddy-grpc/gateway/internal/frontend/rpctest"
	"github.com/caddy-grpc/gateway/internal/pool"
	"github.com/caddy-grpc/gateway/internal/testkit"
)

// deafInstance is a gRPC server that takes connections and calls, and then neither answers nor
// reads: it gives no more than the window of 64 KiB that HTTP/2 begins with, and holds nothing
// itself.
func deafInstance(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go deaf(c)
		}
	}()
	return l.Addr().String()
}

func deaf(c net.Conn) {
	defer c.Close()
	if _, err := io.CopyN(io.Discard, c, int64(len(http2.ClientPreface))); err != nil {
		return
	}
	f := http2.NewFramer(c, c)
	_ = f.WriteSettings()
	_ = f.WriteWindowUpdate(0, 64<<20) // of the connection: streams must not hinder each other
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				_ = f.WriteSettingsAck()
			}
		case *http2.PingFrame:
			if !frame.IsAck() {
				_ = f.WritePing(true, frame.Data)
			}
		}
	}
}

type connKey struct{}

// held starts a gateway before a deaf instance.
func held(t *testing.T) (addr string) {
	t.Helper()
	feed := discovery.NewFeed(testkit.NewSource(t.Name(), deafInstance(t)))
	channel, err := pool.Open("test", pool.Settings{Linger: time.Nanosecond}, feed, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		<-channel.Retire()
		feed.Close()
	})
	if err := channel.WaitReady(rpctest.Context(t)); err != nil {
		t.Fatal(err)
	}
	table := rpctest.Table(t, channel)
	opts := frontend.Options{Forms: true, ClientConn: func(r *http.Request) net.Conn {
		c, _ := r.Context().Value(connKey{}).(net.Conn)
		return c
	}}
	restH, connectH, grpcH, webH := rest.New(opts), connect.New(opts), grpc.New(opts), grpcweb.New(opts)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		info := new(frontend.Info)
		switch frontend.Detect(table, r) {
		case frontend.GRPC:
			grpcH.Serve(w, r, table, info)
		case frontend.GRPCWeb:
			webH.Serve(w, r, table, info)
		case frontend.Connect:
			connectH.Serve(w, r, table, info)
		default:
			if err := restH.Serve(w, r, table, info); err != nil {
				rest.WriteError(w, r, err)
			}
		}
	}))
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) }
	s.Start()
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s.Listener.Addr().String()
}

// heap is how many bytes of the heap are in use.
func heap() int64 {
	for range 3 { // Pools are emptied by the second one.
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

const (
	// heldPerByte and heldPerStream are what a request may hold: so many bytes for each byte that
	// came in, and a constant for the goroutines and buffers of server, gateway, gRPC, and of this
	// test's client.
	heldPerByte   = 6
	heldPerStream = 640 << 10
)

// TestWhatARequestHoldsIsBoundedByWhatCameIn sends requests in every way to a service that does
// nothing.
func TestWhatARequestHoldsIsBoundedByWhatCameIn(t *testing.T) {
	const (
		unary = "/gateway.test.v1.Echo/Unary"
		bidi  = "/gateway.test.v1.Echo/Bidi"
		tiny  = 60_000
		mib   = 1 << 20
	)
	pack := func(b string) string {
		var out bytes.Buffer
		zw := gzip.NewWriter(&out)
		_, _ = io.WriteString(zw, b)
		_ = zw.Close()
		return out.String()
	}
	envelope := func(flags byte, size int, payload string) string {
		return string(binary.BigEndian.AppendUint32([]byte{flags}, uint32(size))) + payload
	}
	window := string([]byte{0x28, 0xb5, 0x2f, 0xfd, 0, 13 << 3, 1 << 3, 0, 0}) + "{"
	rle := "\x28\xb5\x2f\xfd\x00\x68" + strings.Repeat("\x02\x00\x10 ", 31)
	numbers := `{"value":[` + strings.Repeat("0,", mib) + "0]}" // 11 MiB in protobuf
	empties := strings.Repeat("\x00\x00\x00\x00\x00", tiny)
	type headers = map[string]string
	ws := headers{
		"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
		"Sec-WebSocket-Key": base64.StdEncoding.EncodeToString(make([]byte, 16)),
	}
	kind := func(contentType, coding string) headers {
		h := headers{"Content-Type": contentType}
		if coding != "" {
			h["Content-Encoding"] = coding
		}
		return h
	}
	web := func(coding string) headers {
		return headers{"Content-Type": "application/grpc-web", "Grpc-Encoding": coding}
	}
	for name, tc := range map[string]struct {
		path   string
		header headers
		body   string
		http2  bool
	}{
		"REST, idle":                          {unary, kind("application/json", ""), "", false},
		"REST, a message within":              {unary, kind("application/json", ""), `{"text":"` + strings.Repeat("x", mib), false},
		"REST, gzip, idle":                    {unary, kind("application/json", "gzip"), "", false},
		"REST, gzip, a bomb":                  {unary, kind("application/json", "gzip"), pack(`{"text":"` + strings.Repeat("x", 3*mib) + `"}`)[:2000], false},
		"REST, zstd, a window of ten bytes":   {unary, kind("application/json", "zstd"), window, false},
		"REST, zstd, a window of blanks":      {unary, kind("application/json", "zstd"), rle, false},
		"form, not complete":                  {unary, kind("application/x-www-form-urlencoded", ""), "text=" + strings.Repeat("x", mib), false},
		"NDJSON, idle":                        {bidi, kind("application/x-ndjson", ""), "", false},
		"NDJSON, tiny messages":               {bidi, kind("application/x-ndjson", ""), strings.Repeat("{}\n", tiny), false},
		"NDJSON, small messages":              {bidi, kind("application/x-ndjson", ""), strings.Repeat(`{"text":"`+strings.Repeat("x", 300)+"\"}\n", 600), false},
		"NDJSON, a message within":            {bidi, kind("application/x-ndjson", ""), `{"text":"` + strings.Repeat("x", mib), false},
		"NDJSON, a message of numbers":        {bidi, kind("application/x-ndjson", ""), numbers + "\n", false},
		"Connect, gzip, numbers":              {bidi, headers{"Content-Type": "application/connect+json", "Connect-Content-Encoding": "gzip"}, envelope(1, len(pack(numbers)), pack(numbers)), false},
		"NDJSON, gzip, tiny messages":         {bidi, kind("application/x-ndjson", "gzip"), pack(strings.Repeat("{}\n", 10*tiny)), false},
		"NDJSON, zstd, a window of ten bytes": {bidi, kind("application/x-ndjson", "zstd"), window, false},
		"NDJSON, zstd, a window of blanks":    {bidi, kind("application/x-ndjson", "zstd"), rle, false},
		"array, tiny messages":                {bidi, kind("application/json", ""), "[{}" + strings.Repeat(",{}", tiny), false},
		"WebSocket, tiny messages":            {bidi, ws, strings.Repeat("\x81\x82\x00\x00\x00\x00{}", tiny), false},
		"gRPC-Web, a promise":                 {bidi, web("identity"), envelope(0, 4*mib, ""), false},
		"gRPC-Web, tiny messages":             {bidi, web("identity"), empties, false},
		"gRPC-Web, gzip, within":              {bidi, web("gzip"), envelope(1, mib, "x"), false},
		"gRPC-Web text, tiny messages":        {bidi, kind("application/grpc-web-text", ""), base64.StdEncoding.EncodeToString([]byte(empties)), false},
		"Connect, a promise":                  {bidi, kind("application/connect+proto", ""), envelope(0, 4*mib, ""), false},
		"Connect, tiny messages":              {bidi, kind("application/connect+proto", ""), empties, false},
		"Connect, tiny JSON messages":         {bidi, kind("application/connect+json", ""), strings.Repeat("\x00\x00\x00\x00\x02{}", tiny), false},
		"gRPC, a promise":                     {bidi, kind("application/grpc", ""), envelope(0, 4*mib, ""), true},
		"gRPC, tiny messages":                 {bidi, kind("application/grpc", ""), empties, true},
	} {
		t.Run(name, func(t *testing.T) {
			addr := held(t)
			const clients = 4
			before := heap()
			for range clients {
				if tc.http2 {
					sendHTTP2(t, addr, tc.path, tc.header["Content-Type"], tc.body)
				} else {
					sendHTTP1(t, addr, tc.path, tc.header, tc.body)
				}
			}
			limit := int64(clients * (heldPerStream + heldPerByte*len(tc.body)))
			var after int64
			// The requests are on their way. What they hold is measured once it does not grow any
			// more.
			for last, same := int64(0), 0; same < 3; {
				time.Sleep(30 * time.Millisecond)
				after = heap() - before
				if after > last+64<<10 {
					last, same = after, 0
				} else {
					same++
				}
			}
			t.Logf("%d bytes each hold %d", len(tc.body), after/clients)
			if after > limit {
				t.Errorf("%d clients that sent %d bytes each hold %d bytes, more than %d", clients, len(tc.body), after, limit)
			}
		})
	}
}

// sendHTTP1 sends a request whose body does not end. The client stays until the test ends.
func sendHTTP1(t *testing.T, addr, path string, header map[string]string, body string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	method, framing := "POST", fmt.Sprintf("Content-Length: %d\r\n", len(body)+1)
	if header["Upgrade"] != "" {
		method, framing = "GET", ""
	}
	head := method + " " + path + " HTTP/1.1\r\nHost: localhost\r\n" + framing
	for name, value := range header {
		head += name + ": " + value + "\r\n"
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.WriteString(conn, head+"\r\n")
		_, _ = io.WriteString(conn, body) // It is blocked if nobody takes it.
	}()
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
}

// sendHTTP2 does the same over HTTP/2.
func sendHTTP2(t *testing.T, addr, path, contentType, body string) {
	t.Helper()
	tr := &http.Transport{Protocols: new(http.Protocols)}
	tr.Protocols.SetUnencryptedHTTP2(true)
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+path, r)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if resp, err := tr.RoundTrip(req); err == nil {
			resp.Body.Close()
		}
	}()
	go func() { _, _ = io.WriteString(w, body) }()
	t.Cleanup(func() {
		cancel()
		r.Close()
		<-done
		tr.CloseIdleConnections()
	})
}

// A list of numbers in a google.protobuf.Value takes five times its JSON in protobuf.
// max_request_size holds for that form as well.
func TestRequestIsTooLargeInProtobuf(t *testing.T) {
	addr := held(t)
	numbers := `{"value":[` + strings.Repeat("0,", 400_000) + "0]}"
	envelope := string(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(numbers)))) + numbers
	for name, tc := range map[string]struct {
		path, contentType, body string
		status                  int
	}{
		"REST":            {"/gateway.test.v1.Echo/Unary", "application/json", numbers, http.StatusRequestEntityTooLarge},
		"NDJSON":          {"/gateway.test.v1.Echo/ClientStream", "application/x-ndjson", numbers, http.StatusRequestEntityTooLarge},
		"Connect streams": {"/gateway.test.v1.Echo/ClientStream", "application/connect+json", envelope, http.StatusOK},
		"gRPC-Web":        {"/gateway.test.v1.Echo/Unary", "application/grpc-web+json", envelope, http.StatusOK},
	} {
		t.Run(name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(rpctest.Context(t), http.MethodPost, "http://"+addr+tc.path, strings.NewReader(tc.body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", tc.contentType)
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			got, err := io.ReadAll(resp.Body)
			const want = "the request message is larger than 4194304 bytes in protobuf"
			if err != nil || resp.StatusCode != tc.status || !strings.Contains(string(got), want) {
				t.Errorf("got %d %s (%v), want %d with %q", resp.StatusCode, got, err, tc.status, want)
			}
		})
	}
}
