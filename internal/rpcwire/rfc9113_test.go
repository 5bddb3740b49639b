package rpcwire

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"golang.org/x/net/http2"
)

// outcome is what a client must do about the frames of a server.
type outcome struct {
	// connection is the code of the GOAWAY with which the client closes the connection. 0: the
	// connection stays open.
	connection http2.ErrCode
	// stream is the code of the RST_STREAM for stream 1, if reset is true.
	stream http2.ErrCode
	reset  bool
	// code is the status code of the call on stream 1. "": the call goes on.
	code string
	// kind is the kind of the call's error. 0: the status is the peer's.
	kind Kind
}

func connectionError(code http2.ErrCode) outcome {
	return outcome{connection: code, code: "Unavailable", kind: KindLost}
}

func streamError(code http2.ErrCode) outcome {
	return outcome{stream: code, reset: true, code: "Internal", kind: KindNotGRPC}
}

var (
	goesOn = outcome{}
	endsOK = outcome{code: "OK"}
)

// TestRFC9113 turns the cases of h2spec round: here they come from the server. In each case one
// call is open, on stream 1, and its request is complete.
func TestRFC9113(t *testing.T) {
	const (
		protocol    = http2.ErrCodeProtocol
		flowControl = http2.ErrCodeFlowControl
		frameSize   = http2.ErrCodeFrameSize
		compression = http2.ErrCodeCompression
	)
	u32 := func(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
	part := func(kind http2.FrameType, flags http2.Flags, id uint32, fields ...string) func(*script) {
		return func(s *script) { rawFrame(kind, flags, id, s.block(fields...)...)(s) }
	}
	answer := func(frames ...func(*script)) []func(*script) { return frames }
	tests := []struct {
		name   string
		frames []func(*script)
		want   outcome
	}{
		// 4.1: frame format.
		{"4.1 a frame of an unknown type is ignored", answer(rawFrame(0x16, 0, 0, 0, 0), rawFrame(0x16, 0xff, 1, 1)), goesOn},
		{"4.1 undefined flags are ignored", answer(rawFrame(http2.FramePing, 0x16, 0, make([]byte, 8)...)), goesOn},
		{"4.1 the reserved bit is ignored", answer(rawFrame(http2.FrameWindowUpdate, 0, 1<<31|1, u32(1<<31|1)...)), goesOn},
		// 4.2: frame size.
		{"4.2 a DATA frame of the largest size", answer(ok(1), data(1, false, append([]byte{0, 0, 0, 0x40, 0}, make([]byte, maxFrame-5)...))), goesOn},
		{"4.2 a DATA frame that is too long", answer(ok(1), rawFrame(http2.FrameData, 0, 1, make([]byte, maxFrame+1)...)), connectionError(frameSize)},
		{"4.2 a HEADERS frame that is too long", answer(rawFrame(http2.FrameHeaders, http2.FlagHeadersEndHeaders, 1, make([]byte, maxFrame+1)...)), connectionError(frameSize)},
		// 4.3: field section compression and decompression.
		{"4.3 an index that does not exist", answer(rawFrame(http2.FrameHeaders, http2.FlagHeadersEndHeaders, 1, 0xff, 0xff, 0x7f)), connectionError(compression)},
		{"4.3 a header block that is cut off", answer(rawFrame(http2.FrameHeaders, http2.FlagHeadersEndHeaders, 1, 0x40, 5, 'a')), connectionError(compression)},
		{"4.3 a table size above the limit", answer(rawFrame(http2.FrameHeaders, http2.FlagHeadersEndHeaders, 1, 0x3f, 0xe2, 0x1f)), connectionError(compression)},
		{"4.3 a Huffman code with too much padding", answer(rawFrame(http2.FrameHeaders, http2.FlagHeadersEndHeaders, 1, 0x40, 0x01, 'a', 0x82, 0xff, 0xff)), connectionError(compression)},
		{"4.3 PRIORITY between HEADERS and CONTINUATION", answer(part(http2.FrameHeaders, 0, 1, ":status", "200"), rawFrame(http2.FramePriority, 0, 1, make([]byte, 5)...)), connectionError(protocol)},
		{"4.3 HEADERS of another stream before CONTINUATION", answer(part(http2.FrameHeaders, 0, 1, ":status", "200"), headers(1, false, ":status", "200")), connectionError(protocol)},
		{"4.3 an unknown frame before CONTINUATION", answer(part(http2.FrameHeaders, 0, 1, ":status", "200"), rawFrame(0x16, 0, 0)), connectionError(protocol)},
		// 5.1: stream states.
		{"5.1 DATA on an idle stream", answer(data(3, false, []byte("x"))), connectionError(protocol)},
		{"5.1 HEADERS on an idle stream", answer(ok(3)), connectionError(protocol)},
		{"5.1 RST_STREAM on an idle stream", answer(rst(3, http2.ErrCodeCancel)), connectionError(protocol)},
		{"5.1 WINDOW_UPDATE on an idle stream", answer(windowUpdate(3, 1)), connectionError(protocol)},
		{"5.1 CONTINUATION on an idle stream", answer(rawFrame(http2.FrameContinuation, http2.FlagContinuationEndHeaders, 3)), connectionError(protocol)},
		{"5.1 PRIORITY on an idle stream", answer(rawFrame(http2.FramePriority, 0, 5, make([]byte, 5)...)), goesOn},
		{"5.1 DATA after the end", answer(ok(1), message(1, "a"), trailer(1, "0"), data(1, false, []byte("x"))), endsOK},
		{"5.1 HEADERS after the end", answer(ok(1), message(1, "a"), trailer(1, "0"), trailer(1, "5")), endsOK},
		{"5.1 WINDOW_UPDATE and RST_STREAM after the end", answer(ok(1), message(1, "a"), trailer(1, "0"), windowUpdate(1, 1), rst(1, http2.ErrCodeNo)), endsOK},
		{"5.1 DATA after RST_STREAM", answer(rst(1, http2.ErrCodeInternal), data(1, false, []byte("x"))), outcome{code: "Internal", kind: KindReset}},
		// 5.1.1: stream identifiers.
		{"5.1.1 HEADERS on an even stream", answer(ok(2)), connectionError(protocol)},
		{"5.1.1 DATA on an even stream", answer(data(2, false, []byte("x"))), connectionError(protocol)},
		{"5.1.1 RST_STREAM on an even stream", answer(rst(2, http2.ErrCodeCancel)), connectionError(protocol)},
		{"5.1.1 WINDOW_UPDATE on an even stream", answer(windowUpdate(2, 1)), connectionError(protocol)},
		// 5.4: errors.
		{"5.4.1 GOAWAY with an error", answer(goAway(1, http2.ErrCodeInternal, "")), goesOn},
		{"5.4.2 RST_STREAM is not answered", answer(rst(1, http2.ErrCodeProtocol)), outcome{code: "Internal", kind: KindReset}},
		// 6.1: DATA.
		{"6.1 DATA on stream 0", answer(data(0, false, []byte("x"))), connectionError(protocol)},
		{"6.1 DATA with padding", answer(ok(1), rawFrame(http2.FrameData, http2.FlagDataPadded, 1, append([]byte{3}, append(framed("a"), 0, 0, 0)...)...), trailer(1, "0")), endsOK},
		{"6.1 DATA that is all padding", answer(ok(1), rawFrame(http2.FrameData, http2.FlagDataPadded, 1, 2, 0, 0)), goesOn},
		{"6.1 DATA with padding that is too long", answer(ok(1), rawFrame(http2.FrameData, http2.FlagDataPadded, 1, 4, 0, 0, 0)), connectionError(protocol)},
		{"6.1 DATA with padding and no length", answer(ok(1), rawFrame(http2.FrameData, http2.FlagDataPadded, 1)), connectionError(protocol)},
		// 6.2: HEADERS.
		{"6.2 HEADERS on stream 0", answer(ok(0)), connectionError(protocol)},
		{"6.2 HEADERS with padding that is too long", answer(rawFrame(http2.FrameHeaders, http2.FlagHeadersPadded|http2.FlagHeadersEndHeaders, 1, 9, 0x88)), connectionError(protocol)},
		{"6.2 HEADERS with an incomplete priority", answer(rawFrame(http2.FrameHeaders, http2.FlagHeadersPriority|http2.FlagHeadersEndHeaders, 1, 0, 0, 0, 0)), connectionError(frameSize)},
		{"6.2 HEADERS with padding and priority", answer(func(s *script) {
			p := append([]byte{2, 0, 0, 0, 0, 7}, s.block(":status", "200", "content-type", "application/grpc")...)
			rawFrame(http2.FrameHeaders, http2.FlagHeadersPadded|http2.FlagHeadersPriority|http2.FlagHeadersEndHeaders, 1, append(p, 0, 0)...)(s)
		}, message(1, "a"), trailer(1, "0")), endsOK},
		{"6.2 an empty HEADERS frame", answer(rawFrame(http2.FrameHeaders, http2.FlagHeadersEndHeaders, 1)), streamError(protocol)},
		// 6.3: PRIORITY.
		{"6.3 PRIORITY on stream 0", answer(rawFrame(http2.FramePriority, 0, 0, make([]byte, 5)...)), connectionError(protocol)},
		{"6.3 PRIORITY of a wrong length", answer(rawFrame(http2.FramePriority, 0, 1, make([]byte, 4)...)), streamError(frameSize)},
		// 6.4: RST_STREAM.
		{"6.4 RST_STREAM on stream 0", answer(rst(0, http2.ErrCodeCancel)), connectionError(protocol)},
		{"6.4 RST_STREAM of a wrong length", answer(rawFrame(http2.FrameRSTStream, 0, 1, 0, 0, 0)), connectionError(frameSize)},
		{"6.4 RST_STREAM with an unknown code", answer(rst(1, 0xbeef)), outcome{code: "Unknown", kind: KindReset}},
		// 6.5: SETTINGS.
		{"6.5 SETTINGS acknowledgement with a payload", answer(rawFrame(http2.FrameSettings, http2.FlagSettingsAck, 0, make([]byte, 6)...)), connectionError(frameSize)},
		{"6.5 SETTINGS on a stream", answer(rawFrame(http2.FrameSettings, 0, 1, make([]byte, 6)...)), connectionError(protocol)},
		{"6.5 SETTINGS of a wrong length", answer(rawFrame(http2.FrameSettings, 0, 0, make([]byte, 5)...)), connectionError(frameSize)},
		{"6.5.2 ENABLE_PUSH of 1", answer(settings(http2.Setting{ID: http2.SettingEnablePush, Val: 1})), connectionError(protocol)},
		{"6.5.2 ENABLE_PUSH of 0", answer(settings(http2.Setting{ID: http2.SettingEnablePush, Val: 0})), goesOn},
		{"6.5.2 INITIAL_WINDOW_SIZE above the maximum", answer(settings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 31})), connectionError(flowControl)},
		{"6.5.2 MAX_FRAME_SIZE below the minimum", answer(settings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 16383})), connectionError(protocol)},
		{"6.5.2 MAX_FRAME_SIZE above the maximum", answer(settings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1 << 24})), connectionError(protocol)},
		{"6.5.2 MAX_FRAME_SIZE at the maximum", answer(settings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1<<24 - 1})), goesOn},
		{"6.5.2 an unknown setting", answer(settings(http2.Setting{ID: 0xff, Val: 1})), goesOn},
		// 6.6: PUSH_PROMISE.
		{"6.6 PUSH_PROMISE", answer(rawFrame(http2.FramePushPromise, http2.FlagPushPromiseEndHeaders, 1, 0, 0, 0, 2, 0x82)), connectionError(protocol)},
		// 6.7: PING.
		{"6.7 PING of a wrong length", answer(rawFrame(http2.FramePing, 0, 0, make([]byte, 6)...)), connectionError(frameSize)},
		{"6.7 PING on a stream", answer(rawFrame(http2.FramePing, 0, 1, make([]byte, 8)...)), connectionError(protocol)},
		{"6.7 an unexpected acknowledgement", answer(rawFrame(http2.FramePing, http2.FlagPingAck, 0, make([]byte, 8)...)), goesOn},
		// 6.8: GOAWAY.
		{"6.8 GOAWAY on a stream", answer(rawFrame(http2.FrameGoAway, 0, 1, make([]byte, 8)...)), connectionError(protocol)},
		{"6.8 GOAWAY of a wrong length", answer(rawFrame(http2.FrameGoAway, 0, 0, make([]byte, 7)...)), connectionError(frameSize)},
		{"6.8 GOAWAY with an even stream", answer(goAway(2, http2.ErrCodeNo, "")), connectionError(protocol)},
		{"6.8 GOAWAY whose last stream grows", answer(goAway(3, http2.ErrCodeNo, ""), goAway(5, http2.ErrCodeNo, "")), connectionError(protocol)},
		{"6.8 GOAWAY twice, as when a server shuts down", answer(goAway(1<<31-1, http2.ErrCodeNo, ""), goAway(1, http2.ErrCodeNo, "")), goesOn},
		// 6.9: WINDOW_UPDATE.
		{"6.9 WINDOW_UPDATE of 0 on the connection", answer(windowUpdate(0, 0)), connectionError(protocol)},
		{"6.9 WINDOW_UPDATE of 0 on a stream", answer(windowUpdate(1, 0)), streamError(protocol)},
		{"6.9 WINDOW_UPDATE of a wrong length", answer(rawFrame(http2.FrameWindowUpdate, 0, 0, 0, 0, 1)), connectionError(frameSize)},
		{"6.9.1 the window of the connection overflows", answer(windowUpdate(0, 1<<31-1), windowUpdate(0, 1<<31-1)), connectionError(flowControl)},
		{"6.9.1 the window of a stream overflows", answer(windowUpdate(1, 1<<31-1), windowUpdate(1, 1<<31-1)), streamError(flowControl)},
		{"6.9.2 SETTINGS make the window of a stream overflow", answer(windowUpdate(1, 1<<30), settings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1})), connectionError(flowControl)},
		// 6.10: CONTINUATION.
		{"6.10 a header block in three frames", answer(func(s *script) {
			b := s.block(":status", "200", "content-type", "application/grpc", "a", "b")
			rawFrame(http2.FrameHeaders, 0, 1, b[:1]...)(s)
			rawFrame(http2.FrameContinuation, 0, 1, b[1:4]...)(s)
			rawFrame(http2.FrameContinuation, http2.FlagContinuationEndHeaders, 1, b[4:]...)(s)
		}, message(1, "a"), trailer(1, "0")), endsOK},
		{"6.10 DATA before CONTINUATION", answer(part(http2.FrameHeaders, 0, 1, ":status", "200"), data(1, false, []byte("x"))), connectionError(protocol)},
		{"6.10 CONTINUATION on stream 0", answer(part(http2.FrameHeaders, 0, 1, ":status", "200"), rawFrame(http2.FrameContinuation, http2.FlagContinuationEndHeaders, 0)), connectionError(protocol)},
		{"6.10 CONTINUATION of another stream", answer(part(http2.FrameHeaders, 0, 1, ":status", "200"), rawFrame(http2.FrameContinuation, http2.FlagContinuationEndHeaders, 3)), connectionError(protocol)},
		{"6.10 CONTINUATION without HEADERS", answer(rawFrame(http2.FrameContinuation, http2.FlagContinuationEndHeaders, 1)), connectionError(protocol)},
		{"6.10 CONTINUATION after a complete block", answer(ok(1), rawFrame(http2.FrameContinuation, http2.FlagContinuationEndHeaders, 1)), connectionError(protocol)},
		// 8.1: message framing.
		{"8.1 a complete answer", answer(ok(1), message(1, "a"), trailer(1, "0")), endsOK},
		{"8.1 an informational response before the answer", answer(headers(1, false, ":status", "103", "link", "x"), ok(1), message(1, "a"), trailer(1, "0")), endsOK},
		{"8.1 an informational response that ends the stream", answer(headers(1, true, ":status", "103")), streamError(protocol)},
		{"8.1 a second header block that does not end the stream", answer(ok(1), ok(1)), streamError(protocol)},
		{"8.1 DATA before the header", answer(message(1, "a")), streamError(protocol)},
		{"8.1 the stream ends without a trailer", answer(ok(1), data(1, true, framed("a"))), outcome{code: "Internal", kind: KindNotGRPC}},
		// 8.2: fields.
		{"8.2.1 a name in upper case", answer(headers(1, false, ":status", "200", "Content-Type", "application/grpc")), streamError(protocol)},
		{"8.2.1 a name with a space", answer(headers(1, false, ":status", "200", "content type", "application/grpc")), streamError(protocol)},
		{"8.2.1 a name that is empty", answer(headers(1, false, ":status", "200", "", "x")), streamError(protocol)},
		{"8.2.1 a value with a line break", answer(headers(1, false, ":status", "200", "content-type", "application/grpc", "a", "b\r\nc")), streamError(protocol)},
		{"8.2.1 a value with a NUL", answer(headers(1, false, ":status", "200", "content-type", "application/grpc", "a", "b\x00")), streamError(protocol)},
		{"8.2.2 a field of the connection", answer(headers(1, false, ":status", "200", "content-type", "application/grpc", "connection", "close")), streamError(protocol)},
		{"8.2.2 transfer-encoding", answer(headers(1, false, ":status", "200", "content-type", "application/grpc", "transfer-encoding", "chunked")), streamError(protocol)},
		// 8.3: pseudo-header fields.
		{"8.3 :status after other fields", answer(headers(1, false, "content-type", "application/grpc", ":status", "200")), streamError(protocol)},
		{"8.3 an unknown pseudo-header", answer(headers(1, false, ":status", "200", ":nope", "x", "content-type", "application/grpc")), streamError(protocol)},
		{"8.3 a pseudo-header of requests", answer(headers(1, false, ":status", "200", ":path", "/", "content-type", "application/grpc")), streamError(protocol)},
		{"8.3 a pseudo-header in the trailer", answer(ok(1), headers(1, true, ":status", "200", "grpc-status", "0")), streamError(protocol)},
		{"8.3.2 no :status", answer(headers(1, false, "content-type", "application/grpc")), streamError(protocol)},
		{"8.3.2 two :status", answer(headers(1, false, ":status", "200", ":status", "200", "content-type", "application/grpc")), streamError(protocol)},
		{"8.3.2 :status is not a number", answer(headers(1, false, ":status", "2x0", "content-type", "application/grpc")), streamError(protocol)},
		{"8.3.2 :status has two digits", answer(headers(1, false, ":status", "20", "content-type", "application/grpc")), streamError(protocol)},
		{"8.3.2 :status is empty", answer(headers(1, false, ":status", "", "content-type", "application/grpc")), streamError(protocol)},
		// 10.5: denial of service.
		{"10.5.1 a header list above the limit", answer(headers(1, false, ":status", "200", "content-type", "application/grpc", "a", strings.Repeat("b", 9000))), streamError(frameSize)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				c, s, _ := start(t, Options{MaxHeaderList: 8 << 10})
				ch := begin(t, c, Request{})
				s.frames()
				s.send(tt.frames...)
				checkOutcome(t, s, ch, tt.want)
				stop(t, c)
			})
		})
	}
}

// checkOutcome checks what the client did.
func checkOutcome(t *testing.T, s *script, ch <-chan result, want outcome) {
	t.Helper()
	var got outcome
	for _, f := range s.frames(http2.FrameGoAway, http2.FrameRSTStream) {
		switch f.kind {
		case http2.FrameGoAway:
			got.connection = http2.ErrCode(binary.BigEndian.Uint32(f.payload[4:]))
			if last := binary.BigEndian.Uint32(f.payload); last != 0 {
				t.Errorf("the last stream of the client's GOAWAY is %d, want 0", last)
			}
		case http2.FrameRSTStream:
			if f.stream != 1 || got.reset {
				t.Errorf("the client sent %s", f)
			}
			got.reset, got.stream = true, http2.ErrCode(binary.BigEndian.Uint32(f.payload))
		}
	}
	select {
	case r := <-ch:
		got.code = r.call.Status().Code.String()
		if r.err != nil {
			e := wantErrorType(t, r.err)
			got.code, got.kind = e.Code.String(), e.Kind
			if e.Unprocessed {
				t.Error("the call counts as not processed")
			}
		}
	default:
	}
	if got != want {
		t.Errorf("the outcome is %+v, want %+v", got, want)
	}
	if want.connection != 0 && !s.closed() {
		t.Error("the client has not closed the connection")
	}
	if want.connection == 0 && s.closed() && want.code == "" {
		t.Error("the client has closed the connection")
	}
}

func (s *script) closed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.eof
}

// RFC 9113, section 3.4: the first frame of the server is SETTINGS.
func TestPreface(t *testing.T) {
	tests := []struct {
		name, sent, want string
	}{
		{"HTTP/1", "HTTP/1.1 400 Bad Request\r\n\r\n", "HTTP/1"},
		{"PING first", string(appendPing(nil, 0, [8]byte{})), "PING"},
		{"SETTINGS acknowledgement first", string(appendFrameHeader(nil, 0, http2.FrameSettings, http2.FlagSettingsAck, 0)), "SETTINGS"},
		{"SETTINGS on a stream", string(appendFrameHeader(nil, 0, http2.FrameSettings, 0, 1)), "stream 0"},
		{"SETTINGS with a wrong value", string(append(appendFrameHeader(nil, 6, http2.FrameSettings, 0, 0), appendSetting(nil, http2.SettingMaxFrameSize, 1)...)), "MAX_FRAME_SIZE"},
		{"garbage", strings.Repeat("\xff", 100), "expected SETTINGS"},
		{"half a frame", "\x00\x00", "SETTINGS did not come"},
		{"nothing", "", "SETTINGS did not come"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				client, server := pipe()
				go func() {
					var sink bytes.Buffer
					_, _ = sink.ReadFrom(server)
				}()
				go func() {
					_, _ = server.Write([]byte(tt.sent))
					_ = server.Close()
				}()
				_, err := New(t.Context(), client, Options{})
				ce, isConn := err.(*ConnError) //nolint:errorlint // it is documented as that
				if !isConn || ce.Reason != ReasonHandshake || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("the error is %v, want a failed handshake with %q", err, tt.want)
				}
			})
		})
	}
}

// The client's preface has its settings and the window of the connection.
func TestClientPreface(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c, s, _ := start(t, Options{StreamWindow: 100_000, ConnWindow: 1 << 20, MaxHeaderList: 12345})
		var got []string
		for _, f := range s.frames(http2.FrameSettings, http2.FrameWindowUpdate) {
			got = append(got, f.String())
		}
		want := []string{
			"SETTINGS frame (flags 0x0, stream 0, 18 bytes) 0002000000000004000186a0000600003039",
			"WINDOW_UPDATE frame (flags 0x0, stream 0, 4 bytes) 000f0001",
			"SETTINGS frame (flags 0x1, stream 0, 0 bytes) ",
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("the client sent\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		stop(t, c)
	})
}

func wantErrorType(t testing.TB, err error) *Error {
	t.Helper()
	e, isError := err.(*Error) //nolint:errorlint // it is documented as that
	if !isError {
		t.Fatalf("the error is %v (%T), want an *Error", err, err)
	}
	return e
}
