package rpcwire

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
)

// model knows what a client may and must do, in the simplest way: it adds up what went over the
// connection. After each step it is compared with the client.
type model struct {
	t       *testing.T
	c       *Conn
	s       *script
	events  *recorder
	choices *choices
	buffers *countingBuffers

	// seen is the number of the client's frames that were counted.
	seen int
	// initial is the window with which streams begin. It is the server's setting.
	initial, maxStreams int64
	// connSend is what the client may send, and connReceive what the server may send.
	connSend, connReceive int64
	calls                 []*modelCall
	byID                  map[uint32]*modelCall
	log                   []string
	// over is true once the server has broken the protocol, or the connection has closed.
	over bool
}

type modelCall struct {
	call  *Call
	unary bool
	id    uint32
	// send and receive are the windows of the stream.
	send, receive int64
	// requested are the bytes that the caller has given, with prefixes. got are those that came.
	requested, got []byte
	// ended is true once either side has ended the stream.
	headed, ended bool
	// answer is what the server has sent of its messages. left is what is to come of the current
	// one.
	answered [][]byte
	left     int
	// received is the number of messages that the caller got.
	received int
	// spoiled is true if bytes came that the model does not know. They may complete a message.
	spoiled      bool
	sending      bool
	receiving    bool
	closed, done bool
	err          error
}

func runModel(t *testing.T, data []byte) {
	t.Helper()
	buffers := &countingBuffers{}
	m := &model{
		t: t, choices: &choices{data}, buffers: buffers, byID: make(map[uint32]*modelCall),
		connReceive: defaultWindow, connSend: defaultWindow, maxStreams: 1 << 32,
	}
	m.initial = int64(pick(m.choices, 65535, 0, 3, 1000, 100_000))
	m.c, m.s, m.events = start(t, Options{StreamWindow: 4000, ConnWindow: 70_000, MaxMessage: 20_000, Buffers: buffers}, initialWindow(uint32(m.initial)))
	for steps := 0; len(m.choices.bytes) > 0 && steps < 300 && !m.over; steps++ {
		m.step()
		synctest.Wait()
		m.count()
		m.check()
		if t.Failed() {
			t.Fatalf("after these steps: %q", m.log)
		}
	}
	stop(t, m.c)
	synctest.Wait()
	for i, call := range m.calls {
		if call.sending || call.receiving {
			t.Errorf("call %d still waits after the end", i)
		}
		_ = m.c.Start(call.call, &Request{}) // gives back what nobody received
	}
	if buffers.held() != 0 {
		t.Errorf("%d bytes of buffers are held after the end", buffers.held())
	}
	if t.Failed() {
		t.Fatalf("after these steps: %q", m.log)
	}
}

func (m *model) logf(format string, args ...any) { m.log = append(m.log, fmt.Sprintf(format, args...)) }

// some returns a call that fits, or nil.
func (m *model) some(fits func(*modelCall) bool) *modelCall {
	if len(m.calls) == 0 {
		return nil
	}
	from := m.choices.below(len(m.calls))
	for i := range m.calls {
		if call := m.calls[(from+i)%len(m.calls)]; fits(call) {
			return call
		}
	}
	return nil
}

func open(call *modelCall) bool { return call.id != 0 && !call.ended }

func (m *model) step() {
	switch k := m.choices.below(24); k {
	case 0, 1, 2:
		m.start(k == 0)
	case 3, 4, 5:
		m.send()
	case 6:
		if call := m.some(func(c *modelCall) bool { return !c.unary && !c.closed && !c.sending }); call != nil {
			m.logf("close %d", call.id)
			call.closed = true
			call.call.CloseSend()
		}
	case 7, 8, 9:
		m.receive()
	case 10:
		if call := m.some(func(c *modelCall) bool { return !c.done }); call != nil {
			m.logf("cancel %d", call.id)
			call.call.Cancel(nil)
		}
	case 11, 12:
		if call := m.some(func(c *modelCall) bool { return open(c) && !c.headed }); call != nil {
			m.logf("header %d", call.id)
			call.headed = true
			m.s.send(ok(call.id))
		}
	case 13, 14, 15:
		m.answer()
	case 16:
		if call := m.some(func(c *modelCall) bool { return open(c) && c.headed && c.left == 0 }); call != nil {
			m.logf("trailer %d", call.id)
			m.s.send(trailer(call.id, "0"))
			call.ended = true
		}
	case 17:
		if call := m.some(open); call != nil {
			m.logf("reset %d", call.id)
			m.s.send(rst(call.id, http2.ErrCode(m.choices.below(14))))
			call.ended = true
		}
	case 18, 19:
		m.widen()
	case 20:
		m.settings()
	case 21:
		d := time.Duration(m.choices.below(5)) * 37 * time.Millisecond
		m.logf("sleep %s", d)
		time.Sleep(d)
	case 22:
		m.s.send(ping("12345678"))
	case 23:
		if m.choices.below(4) == 0 {
			m.garbage()
		}
	}
}

func (m *model) start(isUnary bool) {
	if len(m.calls) > 12 {
		return
	}
	call := &modelCall{call: new(Call), unary: isUnary, closed: isUnary}
	r := Request{Method: "/test.Service/Method", Unary: isUnary}
	if m.choices.below(3) == 0 {
		r.Deadline = time.Now().Add(time.Duration(1+m.choices.below(200)) * time.Millisecond)
	}
	if isUnary {
		body := m.body(byte(len(m.calls)))
		call.requested = framed(string(body))
		r.Body = [][]byte{body[:len(body)/2], body[len(body)/2:]}
	}
	m.logf("start unary=%t %d bytes, deadline %t", isUnary, len(call.requested), !r.Deadline.IsZero())
	m.calls = append(m.calls, call)
	if err := m.c.Start(call.call, &r); err != nil {
		call.done, call.err = true, err
		return
	}
	if isUnary {
		call.receiving = true
		go func() {
			msg, err := call.call.Wait(m.t.Context())
			m.got(call, msg, err)
			call.done, call.receiving = true, false
		}()
	}
}

// body makes a message. Its bytes differ from call to call and from place to place.
func (m *model) body(seed byte) []byte {
	b := make([]byte, m.choices.below(1<<m.choices.below(18)))
	for i := range b {
		b[i] = seed + byte(i*7)
	}
	return b
}

func (m *model) send() {
	call := m.some(func(c *modelCall) bool { return !c.unary && !c.closed && !c.sending && !c.done })
	if call == nil {
		return
	}
	body := m.body(byte(len(call.requested)))
	m.logf("send %d: %d bytes", call.id, len(body))
	call.sending = true
	call.requested = append(call.requested, framed(string(body))...)
	go func() {
		_ = call.call.Send(m.t.Context(), false, body)
		clear(body)
		call.sending = false
	}()
}

func (m *model) receive() {
	call := m.some(func(c *modelCall) bool { return !c.unary && !c.receiving && !c.done })
	if call == nil {
		return
	}
	waiting := pick(m.choices, 0, 1, 10_000) // the limit of what is received without waiting
	m.logf("receive %d, and up to %d bytes more", call.id, waiting)
	call.receiving = true
	go func() {
		msg, err := call.call.Recv(m.t.Context())
		m.got(call, msg, err)
		if err != nil {
			call.done = true
		} else {
			m.gotWaiting(call, waiting)
		}
		call.receiving = false
	}()
}

// gotWaiting receives without waiting, and checks that.
func (m *model) gotWaiting(call *modelCall, limit int) {
	framed, messages := call.call.RecvWaiting(nil, limit)
	for i := range messages {
		if limit <= 0 || len(framed) < prefixSize {
			m.t.Errorf("call %d received too much: %d more with a limit of %d", call.id, messages-i, limit)
			return
		}
		end := prefixSize + int(binary.BigEndian.Uint32(framed[1:]))
		m.gotMessage(call, framed[prefixSize:end])
		framed = framed[end:]
		limit -= end
	}
	if len(framed) != 0 {
		m.t.Errorf("call %d received %d messages, and %d bytes after them", call.id, messages, len(framed))
	}
}

// got checks what a caller received.
func (m *model) got(call *modelCall, msg Message, err error) {
	call.err = err
	if err == nil && msg.Buf != nil {
		m.gotMessage(call, *msg.Buf)
		m.c.putBack(msg)
	}
}

func (m *model) gotMessage(call *modelCall, msg []byte) {
	if call.spoiled {
		return
	}
	if call.received >= len(call.answered) || string(msg) != string(call.answered[call.received]) {
		m.t.Errorf("call %d received message %d with %d bytes, which was not sent", call.id, call.received, len(msg))
	}
	call.received++
}

// answer sends the next part of a message, as far as the windows allow.
func (m *model) answer() {
	call := m.some(func(c *modelCall) bool {
		return open(c) && c.headed && min(c.receive, m.connReceive) >= prefixSize && (!c.unary || len(c.answered) == 0 || c.left > 0)
	})
	if call == nil {
		return
	}
	var p []byte
	if call.left == 0 {
		size := m.choices.below(1 << m.choices.below(15))
		message := make([]byte, size)
		for i := range message {
			message[i] = byte(len(call.answered)) + byte(i*5)
		}
		call.answered = append(call.answered, message)
		p = framed(string(message))
		call.left = len(p)
	} else {
		whole := framed(string(call.answered[len(call.answered)-1]))
		p = whole[len(whole)-call.left:]
	}
	pad := m.choices.below(4) * 10
	n := min(len(p), 1+m.choices.below(1<<m.choices.below(15)), maxFrame-pad-1, int(call.receive)-pad-1, int(m.connReceive)-pad-1)
	if n <= 0 {
		n, pad = min(len(p), int(call.receive), int(m.connReceive), maxFrame), 0
	}
	size := n
	m.logf("answer %d: %d of %d bytes, padding %d", call.id, n, len(p), pad)
	if pad > 0 {
		size += 1 + pad
		m.s.send(rawFrame(http2.FrameData, http2.FlagDataPadded, call.id, append(append([]byte{byte(pad)}, p[:n]...), make([]byte, pad)...)...))
	} else {
		m.s.send(data(call.id, false, p[:n]))
	}
	call.left -= n
	call.receive -= int64(size)
	m.connReceive -= int64(size)
}

func (m *model) widen() {
	n := uint32(1 + m.choices.below(1<<m.choices.below(17)))
	call := m.some(open)
	if call == nil || m.choices.below(2) == 0 {
		m.logf("widen by %d", n)
		m.connSend += int64(n)
		m.s.send(windowUpdate(0, n))
		return
	}
	m.logf("widen %d by %d", call.id, n)
	call.send += int64(n)
	m.s.send(windowUpdate(call.id, n))
}

func (m *model) settings() {
	switch m.choices.below(3) {
	case 0:
		n := int64(m.choices.below(1 << m.choices.below(17)))
		m.logf("initial window %d", n)
		for _, call := range m.byID {
			if !call.ended {
				call.send += n - m.initial
			}
		}
		m.initial = n
		m.s.send(settings(initialWindow(uint32(n))))
	case 1:
		m.maxStreams = int64(m.choices.below(8))
		m.logf("max streams %d", m.maxStreams)
		m.s.send(settings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: uint32(m.maxStreams)}))
	case 2:
		m.s.send(settings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: uint32(m.choices.below(5000))}))
	}
}

// garbage sends any frame. What follows cannot be foreseen: the frame may be one that opens a
// window.
func (m *model) garbage() {
	m.over = true
	n := m.choices.below(60)
	payload := m.choices.bytes[:min(len(m.choices.bytes), n)]
	kind, flags, id := http2.FrameType(m.choices.below(11)), http2.Flags(m.choices.below(256)), uint32(m.choices.below(9))
	m.logf("garbage %s %x %d %x", kind, flags, id, payload)
	if call := m.byID[id]; call != nil && kind == http2.FrameData {
		call.spoiled = true
	}
	m.s.send(rawFrame(kind, flags, id, payload...))
	m.s.send(rawFrame(http2.FramePing, 0, 0, make([]byte, 8)...))
}

// count takes the frames that the client has sent. It checks that each was allowed.
func (m *model) count() {
	m.s.mu.Lock()
	defer m.s.mu.Unlock()
	for ; m.seen < len(m.s.got); m.seen++ {
		f := m.s.got[m.seen]
		call := m.byID[f.stream]
		switch f.kind {
		case http2.FrameHeaders:
			m.opened(f.stream)
		case http2.FrameData:
			m.connSend -= int64(f.length)
			call.send -= int64(f.length)
			if f.length > 0 && !m.over && (m.connSend < 0 || call.send < 0) {
				m.t.Errorf("stream %d got %d bytes beyond its window", f.stream, f.length)
			}
			if call.ended {
				m.t.Errorf("stream %d got DATA after its end", f.stream)
			}
			call.got = append(call.got, f.payload...)
		case http2.FrameWindowUpdate:
			n := int64(binary.BigEndian.Uint32(f.payload))
			if f.stream == 0 {
				m.connReceive += n
			} else {
				call.receive += n
			}
		case http2.FrameRSTStream:
			if call == nil {
				m.t.Errorf("the client reset stream %d, which it has not opened", f.stream)
				continue
			}
			call.ended = true
		case http2.FrameGoAway:
			m.over = true
		}
	}
}

// opened finds the call that has got a stream.
func (m *model) opened(id uint32) {
	for _, call := range m.calls {
		if call.id == 0 && call.call.id == id {
			call.id, call.send, call.receive = id, m.initial, 4000
			m.byID[id] = call
			return
		}
	}
	m.t.Errorf("stream %d was opened for no call", id)
}

// check compares the client with the model. Nothing is under way.
func (m *model) check() {
	c := m.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == connClosed {
		if !m.over {
			m.t.Errorf("the connection has closed: %v", c.err)
		}
		m.over = true
		return
	}
	if m.over {
		return
	}
	if c.sendWindow != m.connSend || int64(c.receiveWindow) != m.connReceive {
		m.t.Errorf("the windows of the connection are %d and %d, want %d and %d", c.sendWindow, c.receiveWindow, m.connSend, m.connReceive)
	}
	backlog, streams := 0, 0
	for _, call := range m.calls {
		if call.call.state == callOpen || call.call.state == callPending {
			backlog += call.call.out.left()
		}
		if string(call.got) != string(call.requested[:min(len(call.got), len(call.requested))]) {
			m.t.Errorf("stream %d got other bytes than were sent", call.id)
		}
		if call.id == 0 {
			continue
		}
		if isOpen := c.streams[call.id] == call.call; isOpen == call.ended {
			m.t.Errorf("stream %d is open: %t, ended: %t", call.id, isOpen, call.ended)
		} else if isOpen {
			streams++
			m.checkStream(call)
		}
	}
	if backlog != c.backlog {
		m.t.Errorf("the backlog is %d, want %d", c.backlog, backlog)
	}
	if streams != len(c.streams) {
		m.t.Errorf("%d streams are open, want %d", len(c.streams), streams)
	}
	if !c.ending.empty() || !c.sending.empty() && c.sendWindow > 0 || !c.pending.empty() && int64(streams) < m.maxStreams {
		m.t.Error("the client has something to send, is allowed to, and does not")
	}
}

// checkStream compares an open stream with the model.
func (m *model) checkStream(call *modelCall) {
	o, in := &call.call.out, &call.call.in
	if o.window != call.send || int64(in.window) != call.receive {
		m.t.Errorf("the windows of stream %d are %d and %d, want %d and %d", call.id, o.window, in.window, call.send, call.receive)
	}
	if o.left() > 0 && o.window > 0 && call.call.list != &m.c.sending {
		m.t.Errorf("stream %d has %d bytes to send and a window of %d, and does not wait for its turn", call.id, o.left(), o.window)
	}
	if o.closed && o.left() == 0 && !o.ended {
		m.t.Errorf("stream %d was not ended", call.id)
	}
	// The server must not be stuck: a caller that waits for a message lets it come.
	if (call.receiving || call.unary) && call.left > 0 && call.receive == 0 {
		m.t.Errorf("the caller of stream %d waits for %d bytes, and the window is 0", call.id, call.left)
	}
	if in.held > 4000+prefixSize+20_000 {
		m.t.Errorf("stream %d holds %d bytes", call.id, in.held)
	}
	if call.received > len(call.answered) {
		m.t.Errorf("stream %d received %d messages, %d were sent", call.id, call.received, len(call.answered))
	}
}

// TestModel does random steps of callers and of a server, and compares the windows, the lists and
// the bytes with the model after each of them.
func TestModel(t *testing.T) {
	n := 400
	if testing.Short() {
		n = 50
	}
	for i := range n {
		random := rand.New(rand.NewPCG(uint64(i), 6))
		seed := make([]byte, 100+random.IntN(900))
		for j := range seed {
			seed[j] = byte(random.Uint32())
		}
		synctest.Test(t, func(t *testing.T) { runModel(t, seed) })
		if t.Failed() {
			t.Fatalf("seed %d", i)
		}
	}
}

func FuzzModel(f *testing.F) {
	for i := range 20 {
		random := rand.New(rand.NewPCG(uint64(i), 7))
		seed := make([]byte, 300)
		for j := range seed {
			seed[j] = byte(random.Uint32())
		}
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed []byte) {
		synctest.Test(t, func(t *testing.T) { runModel(t, seed[:min(len(seed), 2000)]) })
	})
}
