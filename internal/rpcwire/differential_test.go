package rpcwire

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// differentialMax is the largest message that both clients accept.
const differentialMax = 10_000

// choices makes decisions from bytes, so that a fuzzer can make them.
type choices struct{ bytes []byte }

// below returns a number below n. It returns 0 when no bytes are left.
func (c *choices) below(n int) int {
	if len(c.bytes) == 0 {
		return 0
	}
	b := int(c.bytes[0])
	c.bytes = c.bytes[1:]
	if n > 256 && len(c.bytes) > 0 {
		b = b<<8 | int(c.bytes[0])
		c.bytes = c.bytes[1:]
	}
	return b % n
}

func pick[T any](c *choices, list ...T) T { return list[c.below(len(list))] }

// step is one thing that the server does: it writes frames, or hangs up.
type step struct {
	name   string
	frames func(fr *http2.Framer, block func(...string) []byte)
	hangUp bool
}

// plan makes the steps of a server. Its frames stay within the windows of a client that does not
// read. They avoid what this package refuses and grpc-go accepts. They also do not refuse a stream
// that has ended: for a moment grpc-go still takes that into account.
func plan(c *choices) (steps []step) {
	add := func(name string, f func(fr *http2.Framer, block func(...string) []byte)) {
		steps = append(steps, step{name: name, frames: f})
	}
	headed, ended, left, lowest := false, false, 50_000, uint32(1<<31-1)
	for range 2 + c.below(12) {
		switch c.below(20) {
		case 0, 1, 2, 3:
			if headed && c.below(8) > 0 {
				continue // usually there is one header
			}
			headed = true
			fields := append([]string{":status", pick(c, "200", "200", "200", "503"), "content-type", pick(c, "application/grpc", "application/grpc", "application/grpc", "application/grpc", "application/grpc", "application/grpc+proto", "application/grpc;x", "text/html", "application/grpcx")}, planFields(c)...)
			add(fmt.Sprint("HEADERS ", fields), planHeaders(c, fields, false))
		case 4, 5, 6, 7, 8:
			if !headed {
				continue
			}
			n := c.below(1 << c.below(14))
			if left -= n; left < 0 {
				continue
			}
			planMessage(c, add, n)
		case 9, 10, 11:
			fields := []string{"grpc-status", pick(c, "0", "0", "0", "0", "0", "0", "0", "0", "5", "14", "16", "99", "x", "-1", "")}
			if c.below(3) == 0 {
				fields = append(fields, "grpc-message", pick(c, "text", "50%25", "%C3%BC", "%", "%zz%", "a%2"))
			}
			if c.below(20) == 0 {
				fields = fields[2:]
			}
			fields = append(fields, planFields(c)...)
			if !headed {
				fields = append([]string{":status", pick(c, "200", "200", "404"), "content-type", pick(c, "application/grpc", "application/grpc", "text/plain")}, fields...)
			}
			headed, ended = true, true
			add(fmt.Sprint("HEADERS that end the stream ", fields), planHeaders(c, fields, true))
		case 12:
			code := http2.ErrCode(c.below(16))
			if ended {
				continue
			}
			ended = true
			add("RST_STREAM "+code.String(), func(fr *http2.Framer, _ func(...string) []byte) { _ = fr.WriteRSTStream(1, code) })
		case 13:
			last, code := pick(c, uint32(0), 1, 1, 1<<31-1), pick(c, http2.ErrCodeNo, http2.ErrCodeNo, http2.ErrCodeInternal, http2.ErrCodeEnhanceYourCalm)
			last = min(last, lowest) // grpc-go reads on for a moment if it grows
			lowest = last
			if ended && last == 0 {
				continue
			}
			ended = ended || last == 0
			add(fmt.Sprintf("GOAWAY %d %s", last, code), func(fr *http2.Framer, _ func(...string) []byte) { _ = fr.WriteGoAway(last, code, nil) })
		case 14:
			add("PING", func(fr *http2.Framer, _ func(...string) []byte) { _ = fr.WritePing(false, [8]byte{1}) })
		case 15:
			add("SETTINGS", func(fr *http2.Framer, _ func(...string) []byte) {
				_ = fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 100_000}, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 50})
			})
		case 16:
			if headed {
				ended = true
				add("DATA that ends the stream", func(fr *http2.Framer, _ func(...string) []byte) { _ = fr.WriteData(1, true, nil) })
			}
		case 17:
			if !headed {
				add("informational response", func(fr *http2.Framer, block func(...string) []byte) {
					_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, BlockFragment: block(":status", "103", "link", "x")})
				})
			}
		case 18:
			if c.below(3) == 0 {
				ended = true
				planViolation(c, add)
			}
		case 19:
			if c.below(3) > 0 {
				continue
			}
			steps = append(steps, step{name: "hang up", hangUp: true})
			return steps
		}
	}
	return append(steps, step{name: "hang up", hangUp: true})
}

func planFields(c *choices) (fields []string) {
	for range c.below(4) {
		name := pick(c, "a", "b", "c-bin", "grpc-encoding", "x-y_z.1", "user-agent", "server", "te")
		value := pick(c, "", "1", "two words", "AAEC", "AAEC", "identity")
		if name == "c-bin" {
			value = pick(c, "", "AAEC", "AA==", "AA", "AAE", "?", "A")
		}
		if name == "grpc-encoding" {
			value = "identity"
		}
		fields = append(fields, name, value)
	}
	return fields
}

// planHeaders writes a header block in one to three frames.
func planHeaders(c *choices, fields []string, end bool) func(*http2.Framer, func(...string) []byte) {
	cut, frames := c.below(30), c.below(3)
	return func(fr *http2.Framer, block func(...string) []byte) {
		b := block(fields...)
		if frames == 0 {
			_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: b, EndStream: end, EndHeaders: true, PadLength: uint8(cut)})
			return
		}
		cut := min(cut, len(b))
		_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: b[:cut], EndStream: end})
		if frames == 2 {
			_ = fr.WriteContinuation(1, false, nil)
		}
		_ = fr.WriteContinuation(1, true, b[cut:])
	}
}

// planMessage writes a message, which may be wrong, in any number of DATA frames.
func planMessage(c *choices, add func(string, func(*http2.Framer, func(...string) []byte)), n int) {
	p := framed(strings.Repeat("m", n))
	switch c.below(40) {
	case 0:
		p = p[:c.below(len(p))]
	case 1:
		p[0] = byte(c.below(4))
	case 2:
		binary.BigEndian.PutUint32(p[1:], differentialMax+uint32(c.below(2)))
	}
	for len(p) > 0 || c.below(10) == 0 {
		cut := len(p)
		if c.below(2) == 0 {
			cut = min(len(p), 1+c.below(1+len(p)))
		}
		cut = min(cut, maxFrame-256)
		part, pad := p[:cut], c.below(4)
		p = p[cut:]
		add(fmt.Sprintf("DATA %d", len(part)), func(fr *http2.Framer, _ func(...string) []byte) {
			if pad == 1 {
				_ = fr.WriteDataPadded(1, false, part, make([]byte, 20))
				return
			}
			_ = fr.WriteData(1, false, part)
		})
		if len(p) == 0 {
			return
		}
	}
}

func planViolation(c *choices, add func(string, func(*http2.Framer, func(...string) []byte))) {
	kind := c.below(8)
	add(fmt.Sprint("violation ", kind), func(fr *http2.Framer, block func(...string) []byte) {
		switch kind {
		case 0:
			_ = fr.WriteRawFrame(http2.FramePing, 0, 0, []byte{1})
		case 1:
			_ = fr.WriteRawFrame(http2.FrameData, 0, 0, []byte{1})
		case 2:
			_ = fr.WriteRawFrame(http2.FrameHeaders, http2.FlagHeadersEndHeaders, 1, []byte{0xff, 0xff, 0xff, 0x7f})
		case 3:
			_ = fr.WriteContinuation(1, true, []byte{0x88})
		case 4:
			_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, BlockFragment: block(":status", "200", "UPPER", "x")})
		case 5:
			_ = fr.WriteWindowUpdate(1, 0)
		case 6:
			_ = fr.WriteWindowUpdate(0, 0)
		case 7:
			_ = fr.WriteRawFrame(http2.FrameSettings, 0, 0, []byte{1, 2, 3})
		}
	})
}

// planned is a server that follows a plan on the first stream of its first connection. It answers
// everything else with "resent".
type planned struct {
	steps []step
	cuts  *choices
	mu    sync.Mutex
	conns int
	// resent is true if the client has sent the call again.
	resent bool
	work   sync.WaitGroup
}

func (p *planned) dial() net.Conn {
	client, server := net.Pipe()
	p.mu.Lock()
	first := p.conns == 0
	p.conns++
	p.mu.Unlock()
	p.work.Go(func() { p.serve(server, first) })
	return client
}

func (p *planned) serve(nc net.Conn, first bool) {
	defer nc.Close()
	var write sync.Mutex
	var out, hbuf safeBuffer
	fr, henc := http2.NewFramer(&out, nil), hpack.NewEncoder(&hbuf)
	fr.AllowIllegalWrites = true
	block := func(fields ...string) []byte {
		hbuf.Reset()
		for i := 0; i < len(fields); i += 2 {
			_ = henc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
		}
		return slices.Clone(hbuf.Bytes())
	}
	flush := func() {
		for b := out.Bytes(); len(b) > 0; {
			n := len(b)
			if first && p.cuts.below(2) == 0 {
				n = 1 + p.cuts.below(len(b))
			}
			if _, err := nc.Write(b[:n]); err != nil {
				break
			}
			b = b[n:]
		}
		out.Reset()
	}
	var writers sync.WaitGroup
	defer writers.Wait()
	write.Lock() // nothing may come before the SETTINGS
	writers.Go(func() {
		defer write.Unlock()
		_ = fr.WriteSettings()
		flush()
	})
	if _, err := io.ReadFull(nc, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	in := http2.NewFramer(nil, nc)
	for {
		f, err := in.ReadFrame()
		if err != nil {
			return
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				writers.Go(func() {
					write.Lock()
					defer write.Unlock()
					_ = fr.WriteSettingsAck()
					flush()
				})
			}
		case *http2.DataFrame:
			if !f.StreamEnded() {
				continue
			}
			id := f.StreamID
			writers.Go(func() {
				if first && id == 1 {
					write.Lock()
					defer write.Unlock()
					p.run(nc, fr, block, flush)
					return
				}
				p.mu.Lock()
				p.resent = true
				p.mu.Unlock()
				write.Lock()
				defer write.Unlock()
				_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndHeaders: true, EndStream: true, BlockFragment: block(":status", "200", "content-type", "application/grpc", "grpc-status", "15")})
				flush()
			})
		}
	}
}

func (p *planned) run(nc net.Conn, fr *http2.Framer, block func(...string) []byte, flush func()) {
	for _, s := range p.steps {
		if s.hangUp {
			flush()
			p.awaitResend()
			_ = nc.Close()
			return
		}
		s.frames(fr, block)
		if p.cuts.below(3) > 0 {
			flush()
		}
	}
	flush()
}

// awaitResend gives the client a moment to send the call again before the connection is lost, if
// the server has said that it may. Otherwise grpc-go's second attempt could be lost with the
// connection.
func (p *planned) awaitResend() {
	refused := func(s step) bool {
		return strings.Contains(s.name, "REFUSED_STREAM") || strings.HasPrefix(s.name, "GOAWAY 0 ")
	}
	if !slices.ContainsFunc(p.steps, refused) {
		return
	}
	for range 100 {
		p.mu.Lock()
		resent := p.resent
		p.mu.Unlock()
		if resent {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// safeBuffer is a bytes.Buffer for one writer at a time.
type safeBuffer struct{ b []byte }

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.b = append(s.b, p...)
	return len(p), nil
}
func (s *safeBuffer) Bytes() []byte { return s.b }
func (s *safeBuffer) Reset()        { s.b = s.b[:0] }

// observed is how a call ended, for one client.
type observed struct {
	resent   bool
	code     string
	message  string
	header   string
	trailer  string
	messages []int
}

// withGRPC makes the call with grpc-go.
func withGRPC(t *testing.T, p *planned, isUnary bool) observed {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///server.test", grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableRetry(),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return p.dial(), nil }),
		grpc.WithStaticStreamWindowSize(64<<10), grpc.WithStaticConnWindowSize(8<<20),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(raw{}), grpc.MaxCallRecvMsgSize(differentialMax)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var o observed
	var header, trailer metadata.MD
	body := []byte("request")
	if isUnary {
		var reply []byte
		err = conn.Invoke(ctx, methodEcho, &body, &reply, grpc.Header(&header), grpc.Trailer(&trailer))
		if err == nil {
			o.messages = []int{len(reply)}
		}
	} else {
		var s grpc.ClientStream
		s, err = conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, methodEcho)
		if err == nil {
			_ = s.SendMsg(&body)
			_ = s.CloseSend()
			for err == nil {
				var m []byte
				if err = s.RecvMsg(&m); err == nil {
					o.messages = append(o.messages, len(m))
				}
			}
			if errors.Is(err, io.EOF) {
				err = nil
			}
			header, _ = s.Header()
			trailer = s.Trailer()
		}
	}
	st := status.Convert(err)
	o.code, o.message = st.Code().String(), st.Message()
	o.header, o.trailer = fmt.Sprint(header), fmt.Sprint(trailer)
	_ = conn.Close()
	p.work.Wait()
	o.resent = p.resent
	return o
}

// withOurs makes the call with this package. local is the error if the peer sent no status.
func withOurs(t *testing.T, p *planned, isUnary bool) (o observed, local *Error, answered bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := New(ctx, p.dial(), Options{Authority: "server.test", MaxMessage: differentialMax})
	if err != nil {
		t.Fatal(err)
	}
	call := new(Call)
	body := [][]byte{[]byte("request")}
	if isUnary {
		var m Message
		if err = c.Start(call, &Request{Method: methodEcho, Unary: true, Body: body}); err == nil {
			m, err = call.Wait(ctx)
		}
		if m.Buf != nil {
			o.messages = []int{len(*m.Buf)}
		}
	} else if err = c.Start(call, &Request{Method: methodEcho}); err == nil {
		_ = call.Send(ctx, false, body...)
		call.CloseSend()
		for err == nil {
			var m Message
			if m, err = call.Recv(ctx); err == nil {
				o.messages = append(o.messages, len(*m.Buf))
			}
		}
		if errors.Is(err, io.EOF) {
			err = nil
		}
	}
	if err != nil {
		local = wantErrorType(t, err)
		o.code, o.resent = local.Code.String(), local.Unprocessed
	} else {
		o.code, o.message = call.Status().Code.String(), call.Status().Message
	}
	header, _ := call.ResponseHeader()
	o.header, o.trailer = fmt.Sprint(asMD(header)), fmt.Sprint(asMD(call.Trailer()))
	answered = call.Answered()
	closeConn(t, c)
	p.work.Wait()
	return o, local, answered
}

func asMD(fields []Field) metadata.MD {
	md := metadata.MD{}
	for _, f := range fields {
		md[f.Name] = append(md[f.Name], f.Value)
	}
	return md
}

// compare runs one plan against both clients.
func compare(t *testing.T, seed []byte) (resent bool, code string) {
	t.Helper()
	isUnary := len(seed)%2 == 0
	server := func() *planned {
		c := &choices{seed}
		steps := plan(c)
		return &planned{steps: steps, cuts: &choices{slices.Clone(seed)}}
	}
	p := server()
	want := withGRPC(t, p, isUnary)
	got, local, answered := withOurs(t, server(), isUnary)
	if want.resent && !got.resent && answered {
		// Deliberate: a call that was answered in part counts as processed, even if the peer then
		// says that it was not. grpc-go makes it again if no message has come.
		return false, "deliberate"
	}
	if want.resent && got.resent {
		return true, ""
	}
	if want.code == "OK" {
		want.message = got.message // grpc-go drops it
	}
	if local != nil { // the texts of local errors differ
		got.message, want.message = "", ""
		got.header, want.header, got.trailer, want.trailer = "", "", "", ""
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		var names []string
		for _, s := range p.steps {
			names = append(names, s.name)
		}
		t.Errorf("unary=%t, the server's steps are\n  %s\ngot  %+v (%v)\nwant %+v", isUnary, strings.Join(names, "\n  "), got, local, want)
	}
	return got.resent, got.code
}

// TestAgainstGRPC lets random servers, whose frames are cut anywhere, talk to grpc-go's client and
// to this one. Both must see the same status, message, metadata and messages, and must agree
// whether the call may be made again.
func TestAgainstGRPC(t *testing.T) {
	n := 1500
	if testing.Short() {
		n = 200
	}
	seen := make(map[string]int)
	for i := range n {
		random := rand.New(rand.NewPCG(uint64(i), 4))
		seed := make([]byte, 150+i%2)
		for j := range seed {
			seed[j] = byte(random.Uint32())
		}
		resent, code := compare(t, seed)
		if resent {
			code = "resent"
		}
		seen[code]++
		if t.Failed() {
			t.Fatalf("seed %d", i)
		}
	}
	t.Log(seen)
	for _, want := range []string{"OK", "Unavailable", "Internal", "Unknown", "NotFound", "ResourceExhausted", "resent"} {
		if seen[want] == 0 {
			t.Errorf("no server led to %s", want)
		}
	}
}

func FuzzAgainstGRPC(f *testing.F) {
	for i := range 20 {
		random := rand.New(rand.NewPCG(uint64(i), 5))
		seed := make([]byte, 100+i)
		for j := range seed {
			seed[j] = byte(random.Uint32())
		}
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed []byte) { compare(t, seed[:min(len(seed), 400)]) })
}
