package rpcwire

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// script is a server that does what a test says. It reads everything that the client writes, unless
// it is paused. It runs in a bubble of synctest.
type script struct {
	t    testing.TB
	nc   net.Conn
	out  bytes.Buffer
	fr   *http2.Framer
	hbuf bytes.Buffer
	henc *hpack.Encoder

	mu     sync.Mutex
	got    []frame
	paused chan struct{}
	// fields are those of the last header block of each stream.
	fields map[uint32][]hpack.HeaderField
	// data are the bytes of each stream.
	data map[uint32][]byte
	// eof is true once the client has closed the connection.
	eof bool
}

// frame is a frame of the client.
type frame struct {
	frameHeader

	payload []byte
}

func (f frame) String() string { return fmt.Sprintf("%s %x", f.frameHeader, f.payload) }

// pipe returns the two ends of a connection.
func pipe() (client, server net.Conn) { return net.Pipe() }

// newScript starts a server on one end of a connection.
func newScript(t testing.TB, nc net.Conn) *script {
	s := &script{t: t, nc: nc, fields: make(map[uint32][]hpack.HeaderField), data: make(map[uint32][]byte)}
	s.fr = http2.NewFramer(&s.out, nil)
	s.fr.AllowIllegalWrites = true
	s.henc = hpack.NewEncoder(&s.hbuf)
	return s
}

// start connects a client to a script. The first SETTINGS are those given.
func start(t testing.TB, o Options, settings ...http2.Setting) (*Conn, *script, *recorder) {
	t.Helper()
	client, server := pipe()
	s := newScript(t, server)
	go s.read()
	events := new(recorder)
	o.Events = events
	if o.Authority == "" {
		o.Authority = "server.test"
	}
	go func() {
		_ = s.fr.WriteSettings(settings...)
		s.flush()
	}()
	c, err := New(t.Context(), client, o)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	t.Cleanup(func() { _ = server.Close() })
	return c, s, events
}

// read takes what the client writes.
func (s *script) read() {
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(s.nc, preface); err != nil || string(preface) != http2.ClientPreface {
		s.t.Errorf("the preface is %q: %v", preface, err)
		return
	}
	table := hpack.NewDecoder(tableMax, nil)
	var block []byte
	for {
		s.mu.Lock()
		paused := s.paused
		s.mu.Unlock()
		if paused != nil {
			<-paused
		}
		var head [frameHeaderSize]byte
		if _, err := io.ReadFull(s.nc, head[:]); err != nil {
			s.mu.Lock()
			s.eof = true
			s.mu.Unlock()
			return
		}
		f := frame{frameHeader: parseFrameHeader(head[:])}
		f.payload = make([]byte, f.length)
		if _, err := io.ReadFull(s.nc, f.payload); err != nil {
			return
		}
		s.mu.Lock()
		s.got = append(s.got, f)
		switch f.kind {
		case http2.FrameHeaders, http2.FrameContinuation:
			block = append(block, f.payload...)
			if f.flags.Has(http2.FlagHeadersEndHeaders) {
				fields, err := table.DecodeFull(block)
				if err != nil {
					s.t.Errorf("the header block of stream %d is not valid: %v", f.stream, err)
				}
				s.fields[f.stream], block = fields, nil
			}
		case http2.FrameData:
			s.data[f.stream] = append(s.data[f.stream], f.payload...)
		}
		s.mu.Unlock()
	}
}

// pause stops reading until the returned function is called.
func (s *script) pause() (resume func()) {
	ch := make(chan struct{})
	s.mu.Lock()
	s.paused = ch
	s.mu.Unlock()
	return func() {
		s.mu.Lock()
		s.paused = nil
		s.mu.Unlock()
		close(ch)
	}
}

// flush writes the frames that were made, and waits until the client has done what follows.
func (s *script) flush() {
	_, _ = s.nc.Write(s.out.Bytes()) // a client that has closed does not matter
	s.out.Reset()
}

// send writes frames.
func (s *script) send(frames ...func(*script)) {
	s.t.Helper()
	for _, f := range frames {
		f(s)
	}
	s.flush()
	synctest.Wait()
}

// frames returns the client's frames of some kinds since the last time, and forgets all frames.
func (s *script) frames(kinds ...http2.FrameType) (list []frame) {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.got {
		for _, k := range kinds {
			if f.kind == k {
				list = append(list, f)
			}
		}
	}
	s.got = nil
	return list
}

// block encodes a header block. The arguments are names and values in turn.
func (s *script) block(fields ...string) []byte {
	s.hbuf.Reset()
	for i := 0; i < len(fields); i += 2 {
		if err := s.henc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}); err != nil {
			s.t.Fatal(err)
		}
	}
	return bytes.Clone(s.hbuf.Bytes())
}

// The frames of a script.

func headers(id uint32, end bool, fields ...string) func(*script) {
	return func(s *script) {
		_ = s.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: s.block(fields...), EndStream: end, EndHeaders: true})
	}
}

// ok is a response header.
func ok(id uint32) func(*script) {
	return headers(id, false, ":status", "200", "content-type", "application/grpc")
}

// trailer ends a stream with a status.
func trailer(id uint32, status string, fields ...string) func(*script) {
	return headers(id, true, append([]string{"grpc-status", status}, fields...)...)
}

func data(id uint32, end bool, p []byte) func(*script) {
	return func(s *script) { _ = s.fr.WriteData(id, end, p) }
}

// message is a DATA frame with a message.
func message(id uint32, text string) func(*script) { return data(id, false, framed(text)) }

func framed(text string) []byte {
	n := len(text)
	return append([]byte{0, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, text...)
}

func rst(id uint32, code http2.ErrCode) func(*script) {
	return func(s *script) { _ = s.fr.WriteRSTStream(id, code) }
}

func goAway(last uint32, code http2.ErrCode, debug string) func(*script) {
	return func(s *script) { _ = s.fr.WriteGoAway(last, code, []byte(debug)) }
}

func windowUpdate(id, n uint32) func(*script) {
	return func(s *script) { _ = s.fr.WriteWindowUpdate(id, n) }
}

func settings(list ...http2.Setting) func(*script) {
	return func(s *script) { _ = s.fr.WriteSettings(list...) }
}

func ping(text string) func(*script) {
	return func(s *script) { _ = s.fr.WritePing(false, [8]byte([]byte(text))) }
}

// rawFrame is any frame.
func rawFrame(kind http2.FrameType, flags http2.Flags, id uint32, payload ...byte) func(*script) {
	return func(s *script) {
		s.out.Write(append(appendFrameHeader(nil, len(payload), kind, flags, id), payload...))
	}
}

// times repeats a frame.
func times(n int, f func(*script)) func(*script) {
	return func(s *script) {
		for range n {
			f(s)
		}
	}
}

// result is how a call ended.
type result struct {
	text string
	err  error
	call *Call
}

// begin starts a unary call, and returns when the request is written, as far as that is possible.
func begin(t testing.TB, c *Conn, r Request) <-chan result {
	t.Helper()
	return beginWith(t.Context(), c, r)
}

func beginWith(ctx context.Context, c *Conn, r Request) <-chan result {
	ch := make(chan result, 1)
	if r.Method == "" {
		r.Method = "/test.Service/Method"
	}
	if r.Body == nil {
		r.Body = [][]byte{[]byte("request")}
	}
	go func() {
		call := new(Call)
		text, err := unary(ctx, c, call, r)
		ch <- result{text, err, call}
	}()
	synctest.Wait()
	return ch
}

// end returns how a call ended. It must have ended.
func end(t testing.TB, ch <-chan result) result {
	t.Helper()
	synctest.Wait()
	select {
	case r := <-ch:
		return r
	default:
		t.Fatal("the call has not ended")
		return result{}
	}
}

func running(t testing.TB, ch <-chan result) {
	t.Helper()
	synctest.Wait()
	select {
	case r := <-ch:
		t.Fatalf("the call has ended: %q, %v", r.text, r.err)
	default:
	}
}

// stop closes the connection and waits for its goroutines.
func stop(t testing.TB, c *Conn) {
	t.Helper()
	c.Close("the test is over")
	time.Sleep(2 * closeTimeout)
	select {
	case <-c.Done():
	default:
		t.Error("the goroutines of the connection have not ended")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	checkEmpty(t, c)
}

// inBubble runs a test in a bubble of synctest.
func inBubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}
