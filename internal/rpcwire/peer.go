package rpcwire

import (
	"encoding/binary"
	"fmt"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/codes"
)

const (
	// controlMax is how many answers to PING or to SETTINGS may wait to be written. A peer that
	// does not read what it asks for is closed.
	controlMax = 1024
	// junkMax is how many frames that do nothing the peer may send in a second.
	junkMax = 2000
	// progressMin is how much of a request must be sent at once to count as progress. A peer that
	// allows one byte at a time makes work.
	progressMin = 128
	// junkTime is that second.
	junkTime = time.Second
	// framesOfAnswer is how many frames of an answer are not DATA: header, trailer and RST_STREAM.
	framesOfAnswer = 3
	// lateFramesMax is the maximum of flood.lateFrames.
	lateFramesMax = 64 << 10
)

// flood counts frames that do nothing: empty DATA, PING, SETTINGS, WINDOW_UPDATE, and whatever
// belongs to streams that have ended. The owner's lock guards it.
type flood struct {
	count int
	since time.Time
	// lateBytes and lateFrames are what the peer may have sent before it knew that this client has
	// ended a stream: bytes of DATA, and other frames.
	lateBytes, lateFrames int
}

// progress notes that something useful happened.
func (f *flood) progress() { f.count = 0 }

// expectLateLocked notes that this client ends a stream, of which the peer may have sent more. No
// more can be on the way than the window of the connection allows.
func (c *Conn) expectLateLocked(call *Call) {
	f := &c.flood
	f.lateBytes = min(f.lateBytes+call.in.window, c.opts.ConnWindow)
	f.lateFrames = min(f.lateFrames+framesOfAnswer, lateFramesMax)
}

// endedLocked takes a frame of a stream that has ended. n is how many bytes of DATA it has. The
// frame does nothing, but it need not be the peer's fault.
func (c *Conn) endedLocked(h frameHeader, n int) *ConnError {
	f := &c.flood
	switch {
	case n > 0 && n <= f.lateBytes:
		f.lateBytes -= n
	case h.kind != http2.FrameData && f.lateFrames > 0:
		f.lateFrames--
	default:
		return c.junkLocked(h)
	}
	return nil
}

func (c *Conn) junkLocked(h frameHeader) *ConnError {
	f := &c.flood
	if f.count++; f.count <= junkMax {
		return nil
	}
	now := time.Now()
	if now.Sub(f.since) < junkTime {
		return violation(h, http2.ErrCodeEnhanceYourCalm, "more than %d frames in %s did nothing, the last one", junkMax, junkTime)
	}
	f.count, f.since = 0, now
	return nil
}

// violation is the error for a frame that the peer must not send.
func violation(h frameHeader, code http2.ErrCode, format string, args ...any) *ConnError {
	return &ConnError{Reason: ReasonProtocol, Code: code, Detail: fmt.Sprintf(format, args...), Frame: h.String()}
}

// resetError is the error of a call that the peer has reset.
func (c *Conn) resetError(call *Call, code http2.ErrCode) *Error {
	e := &Error{
		Kind: KindReset, Code: resetCode(code), Reset: code,
		Message: "the peer sent RST_STREAM with " + code.String(),
		// A peer that has answered has processed the call, whatever it says.
		Unprocessed: code == http2.ErrCodeRefusedStream && !call.in.answered,
	}
	return e
}

func (c *Conn) onSettings(h frameHeader, p []byte) *ConnError {
	switch {
	case h.stream != 0:
		return violation(h, http2.ErrCodeProtocol, "expected stream 0")
	case h.flags.Has(http2.FlagSettingsAck):
		if len(p) > 0 {
			return violation(h, http2.ErrCodeFrameSize, "expected an empty frame")
		}
		return c.junk(h)
	case len(p)%6 != 0:
		return violation(h, http2.ErrCodeFrameSize, "expected a multiple of 6 bytes")
	}
	c.mu.Lock()
	was := c.peer.maxStreams
	err := c.applySettingsLocked(h, p)
	now := c.peer.maxStreams
	c.mu.Unlock()
	if err == nil && now != was && c.running.Load() > 0 {
		c.opts.Events.StreamLimit(now)
	}
	return err
}

func (c *Conn) applySettingsLocked(h frameHeader, p []byte) *ConnError {
	if err := c.junkLocked(h); err != nil {
		return err
	}
	if c.control.settingsAcks++; c.control.settingsAcks > controlMax {
		return violation(h, http2.ErrCodeEnhanceYourCalm, "%d SETTINGS frames wait for an answer that the peer does not read", controlMax)
	}
	for ; len(p) > 0; p = p[6:] {
		id, value := http2.SettingID(binary.BigEndian.Uint16(p)), binary.BigEndian.Uint32(p[2:])
		switch id {
		case http2.SettingHeaderTableSize:
			c.encoder.setLimit(value)
		case http2.SettingEnablePush:
			if value != 0 {
				return violation(h, http2.ErrCodeProtocol, "a server must not enable push")
			}
		case http2.SettingMaxConcurrentStreams:
			c.peer.maxStreams = value
		case http2.SettingInitialWindowSize:
			if err := c.setInitialWindowLocked(h, value); err != nil {
				return err
			}
		case http2.SettingMaxFrameSize:
			if value < maxFrame || value > 1<<24-1 {
				return violation(h, http2.ErrCodeProtocol, "SETTINGS_MAX_FRAME_SIZE is %d", value)
			}
		case http2.SettingMaxHeaderListSize:
			c.peer.headerList = value
		}
	}
	c.wakeWriterLocked()
	return nil
}

// setInitialWindowLocked changes the windows of all streams (RFC 9113, section 6.9.2). They may
// become negative.
func (c *Conn) setInitialWindowLocked(h frameHeader, value uint32) *ConnError {
	if value > maxWindow {
		return violation(h, http2.ErrCodeFlowControl, "SETTINGS_INITIAL_WINDOW_SIZE is %d", value)
	}
	change := int64(value) - c.peer.window
	c.peer.window = int64(value)
	for _, call := range c.streams {
		call.out.window += change
		if call.out.window > maxWindow {
			return violation(h, http2.ErrCodeFlowControl, "the window of stream %d overflows", call.id)
		}
		c.requeueLocked(call)
	}
	return nil
}

// requeueLocked moves a call to the list that fits its window.
func (c *Conn) requeueLocked(call *Call) {
	if call.list == &c.sending && call.out.window <= 0 {
		c.sending.remove(call)
	}
	c.enqueueLocked(call)
}

func (c *Conn) onPing(h frameHeader, p []byte) *ConnError {
	switch {
	case h.stream != 0:
		return violation(h, http2.ErrCodeProtocol, "expected stream 0")
	case len(p) != 8:
		return violation(h, http2.ErrCodeFrameSize, "expected 8 bytes")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.junkLocked(h); err != nil || h.flags.Has(http2.FlagPingAck) {
		return err
	}
	if len(c.control.pingAcks) >= controlMax {
		return violation(h, http2.ErrCodeEnhanceYourCalm, "%d PING frames wait for an answer that the peer does not read", controlMax)
	}
	c.control.pingAcks = append(c.control.pingAcks, [8]byte(p))
	c.wakeWriterLocked()
	return nil
}

func (c *Conn) onWindowUpdate(h frameHeader, p []byte) *ConnError {
	if len(p) != 4 {
		return violation(h, http2.ErrCodeFrameSize, "expected 4 bytes")
	}
	increment := int64(binary.BigEndian.Uint32(p) & maxWindow)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.junkLocked(h); err != nil {
		return err
	}
	if h.stream == 0 {
		switch {
		case increment == 0:
			return violation(h, http2.ErrCodeProtocol, "the increment is 0")
		case c.sendWindow+increment > maxWindow:
			return violation(h, http2.ErrCodeFlowControl, "the window of the connection overflows")
		}
		c.sendWindow += increment
		c.wakeWriterLocked()
		return nil
	}
	if err := c.checkStreamLocked(h); err != nil {
		return err
	}
	call := c.streams[h.stream]
	switch {
	case call == nil:
	case increment == 0:
		c.resetLocked(call, http2.ErrCodeProtocol, notGRPC("a WINDOW_UPDATE has the increment 0"))
	case call.out.window+increment > maxWindow:
		err := notGRPC("the window of the stream overflows")
		err.Code = codes.Internal
		c.resetLocked(call, http2.ErrCodeFlowControl, err)
	default:
		call.out.window += increment
		c.enqueueLocked(call)
		c.wakeWriterLocked()
	}
	return nil
}

func (c *Conn) onGoAway(h frameHeader, p []byte) *ConnError {
	switch {
	case h.stream != 0:
		return violation(h, http2.ErrCodeProtocol, "expected stream 0")
	case len(p) < 8:
		return violation(h, http2.ErrCodeFrameSize, "expected at least 8 bytes")
	}
	debug := p[8:]
	g := GoAway{
		LastStream: binary.BigEndian.Uint32(p) & maxWindow,
		Code:       http2.ErrCode(binary.BigEndian.Uint32(p[4:])),
		Debug:      string(debug[:min(len(debug), debugMax)]),
	}
	c.mu.Lock()
	first := c.goAway == nil
	switch {
	case g.LastStream%2 == 0 && g.LastStream != 0:
		c.mu.Unlock()
		return violation(h, http2.ErrCodeProtocol, "the last stream is %d, which is not a stream of this client", g.LastStream)
	case !first && g.LastStream > c.goAway.LastStream:
		last := c.goAway.LastStream
		c.mu.Unlock()
		return violation(h, http2.ErrCodeProtocol, "the last stream is %d, but it was %d before", g.LastStream, last)
	}
	err := c.junkLocked(h)
	if err == nil {
		c.goAwayLocked(g)
	}
	c.mu.Unlock()
	if err == nil {
		c.tellDraining(g)
	}
	return err
}

// goAwayLocked ends the calls that the peer will not process, and drains.
func (c *Conn) goAwayLocked(g GoAway) {
	c.goAway = &g
	c.drainLocked()
	if c.state == connClosed {
		return
	}
	for id, call := range c.streams {
		if id > g.LastStream {
			c.endLocked(call, &Error{
				Kind: KindDraining, Code: codes.Unavailable, Message: "the peer sent " + g.String(),
				Unprocessed: !call.in.answered,
			})
		}
	}
}
