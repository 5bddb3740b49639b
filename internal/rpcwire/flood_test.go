package rpcwire

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/codes"
)

// goAwayCode returns the code of the client's GOAWAY, and "" if there is none.
func (s *script) goAwayCode() string {
	list := s.frames(http2.FrameGoAway)
	if len(list) == 0 {
		return ""
	}
	return http2.ErrCode(binary.BigEndian.Uint32(list[0].payload[4:])).String()
}

// A peer may send many frames that do nothing, but not without end.
func TestFloods(t *testing.T) {
	// changing sends another initial window each time.
	var window uint32
	changing := func(s *script) {
		window = (window + 1) % 1000
		settings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: window})(s)
	}
	floods := []struct {
		name  string
		frame func(*script)
	}{
		{"PING", ping("12345678")},
		{"PING acknowledgements", rawFrame(http2.FramePing, http2.FlagPingAck, 0, make([]byte, 8)...)},
		{"SETTINGS", settings()},
		{"SETTINGS acknowledgements", rawFrame(http2.FrameSettings, http2.FlagSettingsAck, 0)},
		{"SETTINGS that change all windows", changing},
		{"empty DATA", data(3, false, nil)},
		{"DATA that is all padding", rawFrame(http2.FrameData, http2.FlagDataPadded, 3, 0)},
		{"empty DATA of a stream that has ended", data(1, false, nil)},
		{"DATA of a stream that has ended", data(1, false, []byte("x"))},
		{"HEADERS of a stream that has ended", headers(1, false, ":status", "200")},
		{"WINDOW_UPDATE of the connection", windowUpdate(0, 1)},
		{"WINDOW_UPDATE of a stream", windowUpdate(3, 1)},
		{"WINDOW_UPDATE of a stream that has ended", windowUpdate(1, 1)},
		{"RST_STREAM of a stream that has ended", rst(1, http2.ErrCodeCancel)},
		{"PRIORITY", rawFrame(http2.FramePriority, 0, 3, make([]byte, 5)...)},
		{"unknown frames", rawFrame(0x77, 0, 0)},
		{"informational responses", headers(5, false, ":status", "103")},
		{"GOAWAY", goAway(1<<31-1, http2.ErrCodeNo, "")},
	}
	for _, tt := range floods {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				c, s, events := start(t, Options{})
				begin(t, c, Request{}) // ends
				second, third := begin(t, c, Request{}), begin(t, c, Request{})
				s.send(ok(1), message(1, "a"), trailer(1, "0"), ok(3))
				time.Sleep(time.Minute)
				for range 5 { // 1,000 frames in a second are nothing to worry about
					s.send(times(1000, tt.frame))
					time.Sleep(1100 * time.Millisecond)
				}
				if code := s.goAwayCode(); code != "" {
					t.Fatalf("the client closed the connection with %s after few frames", code)
				}
				running(t, second)
				for range 4*junkMax/500 + 20 {
					s.send(times(500, tt.frame))
				}
				if code := s.goAwayCode(); code != "ENHANCE_YOUR_CALM" {
					t.Errorf("the client's GOAWAY has the code %q", code)
				}
				wantError(t, end(t, second).err, KindLost, codes.Unavailable, false)
				<-third
				stop(t, c)
				if e := events.closedWith(); e == nil || e.Reason != ReasonProtocol || !strings.Contains(e.Error(), "did nothing") {
					t.Errorf("the connection closed with %v", e)
				}
			})
		})
	}
}

// A transfer has many WINDOW_UPDATE frames, and they are not a flood.
func TestUsefulFramesAreNoFlood(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c, s, _ := start(t, Options{})
		ch := begin(t, c, Request{Body: [][]byte{make([]byte, 200_000)}})
		s.send(ok(1))
		for range 3 * junkMax / 100 {
			s.send(times(50, windowUpdate(0, 10)), times(50, windowUpdate(1, 10)))
		}
		s.send(windowUpdate(0, 1<<20), windowUpdate(1, 1<<20))
		s.send(message(1, "done"), trailer(1, "0"))
		if r := end(t, ch); r.err != nil || r.text != "done" {
			t.Error(r.text, r.err)
		}
		stop(t, c)
	})
}

// When calls are cancelled, what the peer has sent before it knew is not a flood. More than the
// windows allow is one.
func TestFramesThatWereOnTheWayAreNoFlood(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c, s, _ := start(t, Options{})
		var calls []*Call
		for range junkMax {
			call := new(Call)
			if err := c.Start(call, &Request{Method: "/a/b"}); err != nil {
				t.Fatal(err)
			}
			calls = append(calls, call)
		}
		synctest.Wait()
		s.send(ok(1))
		for _, call := range calls {
			call.Cancel(errCause)
		}
		for i := range calls[1:] {
			id := uint32(2*i + 3)
			s.send(ok(id), message(id, "a"), trailer(id, "0"))
		}
		s.send(times(10_000, data(1, false, []byte("small"))), trailer(1, "0"))
		if code := s.goAwayCode(); code != "" {
			t.Fatalf("the client closed the connection with %s", code)
		}
		last := begin(t, c, Request{})
		s.send(ok(uint32(2*len(calls)+1)), message(uint32(2*len(calls)+1), "a"), trailer(uint32(2*len(calls)+1), "0"))
		if r := end(t, last); r.err != nil {
			t.Error(r.err)
		}
		s.send(times(6*junkMax, rst(1, http2.ErrCodeCancel)))
		if code := s.goAwayCode(); code != "ENHANCE_YOUR_CALM" {
			t.Errorf("the client's GOAWAY has the code %q", code)
		}
		stop(t, c)
	})
}

// More DATA than the window of a cancelled stream had cannot have been on the way.
func TestDataAfterACancelledStreamIsBounded(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c, s, _ := start(t, Options{})
		call := new(Call)
		if err := c.Start(call, &Request{Method: "/a/b"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		s.send(ok(1))
		call.Cancel(errCause)
		s.send(times(13_000, data(1, false, []byte("small"))))
		if code := s.goAwayCode(); code != "" {
			t.Fatalf("the client closed the connection with %s", code)
		}
		s.send(times(4*junkMax, data(1, false, []byte("x"))))
		if code := s.goAwayCode(); code != "ENHANCE_YOUR_CALM" {
			t.Errorf("the client's GOAWAY has the code %q", code)
		}
		stop(t, c)
	})
}

// A peer that allows one byte at a time makes the client send a frame for each.
func TestWindowsOfOneByte(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c, s, events := start(t, Options{}, initialWindow(0))
		ch := begin(t, c, Request{Body: [][]byte{make([]byte, 1<<20)}})
		for range 3 * junkMax {
			s.send(windowUpdate(1, 1))
			if events.closedWith() != nil {
				break
			}
		}
		if code := s.goAwayCode(); code != "ENHANCE_YOUR_CALM" {
			t.Errorf("the client's GOAWAY has the code %q", code)
		}
		end(t, ch)
		stop(t, c)
	})
}

// A peer that asks for answers and does not read them is closed.
func TestAnswersThatNobodyReads(t *testing.T) {
	for name, frame := range map[string]func(*script){"PING": ping("12345678"), "SETTINGS": settings()} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				c, s, events := start(t, Options{})
				resume := s.pause()
				s.send(ping("the last"))         // the reader of the script takes one more frame
				s.send(ping("the next"))         // the writer blocks
				s.send(times(controlMax, frame)) // these wait
				if e := events.closedWith(); e != nil {
					t.Fatal(e)
				}
				c.mu.Lock()
				waiting := len(c.control.pingAcks) + c.control.settingsAcks
				c.mu.Unlock()
				if waiting < controlMax-2 {
					t.Fatalf("only %d answers wait", waiting)
				}
				s.send(times(3, frame))
				if e := events.closedWith(); e == nil || e.Code != http2.ErrCodeEnhanceYourCalm {
					t.Errorf("the connection closed with %v", e)
				}
				resume()
				stop(t, c)
			})
		})
	}
}

func TestHeaderBlocksAreBounded(t *testing.T) {
	type sender func(s *script)
	// continued sends a header block in many frames.
	continued := func(first []byte, n int, each []byte) sender {
		return func(s *script) {
			s.send(rawFrame(http2.FrameHeaders, 0, 1, first...))
			for range n {
				s.send(rawFrame(http2.FrameContinuation, 0, 1, each...))
			}
		}
	}
	tests := []struct {
		name string
		send sender
		want string // the GOAWAY, or the error of the call
	}{
		{"many CONTINUATION frames", continued([]byte{0x88}, continuationsMax+1, []byte{0x88}), "ENHANCE_YOUR_CALM"},
		{"many empty CONTINUATION frames", continued([]byte{0x88}, continuationsMax+1, nil), "ENHANCE_YOUR_CALM"},
		{"large CONTINUATION frames", continued([]byte{0x88}, 3, make([]byte, maxFrame)), "ENHANCE_YOUR_CALM"},
		// One entry of 4,000 bytes in the table, and then an index of one byte for each copy.
		{"a list that is large only when decoded", func(s *script) {
			block := s.block(":status", "200", "a", strings.Repeat("b", 3900))
			block = append(block, []byte(strings.Repeat("\xbe", 12000))...)
			s.send(rawFrame(http2.FrameHeaders, http2.FlagHeadersEndHeaders, 1, block...))
		}, "header list has more than"},
		{"a list of many binary values", func(s *script) {
			s.send(headers(1, false, ":status", "200", "a-bin", strings.Repeat(",", 2000)))
		}, "header list has more than"},
		{"many small fields", func(s *script) {
			s.send(rawFrame(http2.FrameHeaders, http2.FlagHeadersEndHeaders, 1, []byte(strings.Repeat("\x90", 2000))...))
		}, "header list has more than"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				c, s, _ := start(t, Options{MaxHeaderList: 16 << 10})
				ch := begin(t, c, Request{})
				s.frames()
				tt.send(s)
				code := s.goAwayCode()
				r := end(t, ch)
				if code != tt.want && !strings.Contains(fmt.Sprint(r.err), tt.want) {
					t.Errorf("the GOAWAY is %q and the error %v, want %q", code, r.err, tt.want)
				}
				if code == "" { // the table is still in order
					ch := begin(t, c, Request{})
					s.send(ok(3), message(3, "a"), trailer(3, "0"))
					if r := end(t, ch); r.err != nil || r.text != "a" {
						t.Error(r.text, r.err)
					}
				}
				c.mu.Lock()
				if n := cap(c.head.fields); n > 16<<10/fieldOverhead*2 {
					t.Errorf("%d fields are kept", n)
				}
				c.mu.Unlock()
				stop(t, c)
			})
		})
	}
}

// A peer that stops reading holds up nothing but its own connection.
func TestPeerThatDoesNotRead(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c, s, events := start(t, Options{}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
		resume := s.pause()
		defer resume()
		body := [][]byte{make([]byte, 30_000)}
		first := begin(t, c, Request{Body: body}) // its writing blocks
		before := time.Now()
		late := begin(t, c, Request{Body: body, Deadline: time.Now().Add(50 * time.Millisecond)})
		var calls []*Call
		for range 100 { // neither Start nor Cancel waits
			call := new(Call)
			if err := c.Start(call, &Request{Method: "/a/b", Unary: true, Body: body}); err != nil {
				t.Fatal(err)
			}
			calls = append(calls, call)
		}
		for _, call := range calls {
			if !call.Cancel(nil) || call.Cancel(nil) {
				t.Error("Cancel did not end the call once")
			}
		}
		if time.Since(before) != 0 {
			t.Error("Start or Cancel waited")
		}
		running(t, late)
		time.Sleep(100 * time.Millisecond)
		wantError(t, end(t, late).err, KindDeadline, codes.DeadlineExceeded, true)
		if n := c.Backlog(); n > 31_000 {
			t.Errorf("%d bytes wait though only one call is left", n)
		}
		// The reader does not depend on the writer: it takes the answer, though a PING waits to be
		// answered.
		s.send(ping("12345678"), ok(1), message(1, "early"), trailer(1, "0"))
		if r := end(t, first); r.err != nil || r.text != "early" {
			t.Error(r.text, r.err)
		}
		synctest.Wait()
		if e := events.closedWith(); e != nil {
			t.Error(e)
		}
		stop(t, c) // in spite of the writer that blocks
	})
}
