package rpcwire

import (
	"bytes"
	"encoding/binary"
	"errors"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

var errFrameTooLong = errors.New("the frame is too long")

const (
	// continuationsMax is the maximum number of CONTINUATION frames of a header block.
	continuationsMax = 64
	// blockSlack is by how much an encoded header block may be larger than the list that it may
	// hold. Lists that are a little too large then fail only their call.
	blockSlack = 16 << 10
)

// headerBlock is a header block of which more is to come.
type headerBlock struct {
	// stream is the stream that it belongs to. 0: there is none.
	stream uint32
	end    bool
	bytes  []byte
	frames int
}

// readLoop reads until the connection is closed.
func (c *Conn) readLoop() {
	defer c.ended()
	var err *ConnError
	for err == nil {
		h, p, readErr := c.reader.next()
		switch {
		case errors.Is(readErr, errFrameTooLong):
			err = violation(h, http2.ErrCodeFrameSize, "the frame is longer than %d bytes", maxFrame)
		case readErr != nil:
			err = lost(readErr)
		default:
			err = c.onFrame(h, p)
		}
	}
	c.reader.release()
	c.mu.Lock()
	if c.writeErr != nil && err.Reason == ReasonPeer {
		err.Cause = c.writeErr // it came first
	}
	c.closeLocked(err)
	err = c.err
	c.mu.Unlock()
	close(c.readerDone)
	c.tellClosed(err)
}

// sawHTTP1 reports whether the peer has answered with HTTP/1.
func (r *frameReader) sawHTTP1() bool {
	return bytes.HasPrefix(r.buf[r.start:r.end], []byte("HTTP/1."))
}

// onFrame takes a frame.
func (c *Conn) onFrame(h frameHeader, p []byte) *ConnError {
	if c.block.stream != 0 && (h.kind != http2.FrameContinuation || h.stream != c.block.stream) {
		return violation(h, http2.ErrCodeProtocol, "expected a CONTINUATION frame of stream %d", c.block.stream)
	}
	switch h.kind {
	case http2.FrameData:
		return c.onData(h, p)
	case http2.FrameHeaders:
		return c.onHeaders(h, p)
	case http2.FrameContinuation:
		return c.onContinuation(h, p)
	case http2.FrameRSTStream:
		return c.onReset(h, p)
	case http2.FrameSettings:
		return c.onSettings(h, p)
	case http2.FramePing:
		return c.onPing(h, p)
	case http2.FrameGoAway:
		return c.onGoAway(h, p)
	case http2.FrameWindowUpdate:
		return c.onWindowUpdate(h, p)
	case http2.FramePushPromise:
		return violation(h, http2.ErrCodeProtocol, "the client has disabled push")
	case http2.FramePriority:
		return c.onPriority(h)
	default: // RFC 9113, section 5.5: unknown frames are ignored
		return c.junk(h)
	}
}

// junk counts a frame that does nothing.
func (c *Conn) junk(h frameHeader) *ConnError {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.junkLocked(h)
}

// checkStreamLocked checks the stream of a frame that must belong to a stream of this client (RFC
// 9113, section 5.1). It returns nil for streams that have ended.
func (c *Conn) checkStreamLocked(h frameHeader) *ConnError {
	switch {
	case h.stream == 0:
		return violation(h, http2.ErrCodeProtocol, "the frame needs a stream")
	case h.stream%2 == 0:
		return violation(h, http2.ErrCodeProtocol, "the client accepts no streams of the server")
	case h.stream >= c.nextID:
		return violation(h, http2.ErrCodeProtocol, "the stream is idle")
	}
	return nil
}

func (c *Conn) onData(h frameHeader, p []byte) *ConnError {
	data, ok := unpad(h, p)
	if !ok {
		return violation(h, http2.ErrCodeProtocol, "the padding is longer than the frame")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.checkStreamLocked(h); err != nil {
		return err
	}
	if h.length > c.receiveWindow {
		return violation(h, http2.ErrCodeFlowControl, "the window of the connection has %d bytes", c.receiveWindow)
	}
	// The window of the connection is given back at once. The streams' own windows bound what is
	// held, and a stream that nobody reads must not stop the others.
	c.receiveWindow -= h.length
	if c.unacked += h.length; c.unacked >= c.opts.ConnWindow/4 {
		c.receiveWindow += c.unacked
		c.control.connUpdate += uint32(c.unacked)
		c.unacked = 0
		c.wakeWriterLocked()
	}
	call := c.streams[h.stream]
	if call == nil {
		return c.endedLocked(h, len(data)) // usually the peer does not know yet
	}
	end := h.flags.Has(http2.FlagDataEndStream)
	if len(data) > 0 || end {
		c.flood.progress()
	} else if err := c.junkLocked(h); err != nil {
		return err
	}
	c.dataLocked(call, data, h.length, end)
	return nil
}

func (c *Conn) onHeaders(h frameHeader, p []byte) *ConnError {
	c.mu.Lock()
	err := c.checkStreamLocked(h)
	c.mu.Unlock()
	if err != nil {
		return err
	}
	block, ok := unpad(h, p)
	if !ok {
		return violation(h, http2.ErrCodeProtocol, "the padding is longer than the frame")
	}
	if h.flags.Has(http2.FlagHeadersPriority) {
		if len(block) < 5 {
			return violation(h, http2.ErrCodeFrameSize, "the priority is not complete")
		}
		block = block[5:]
	}
	c.block.stream, c.block.end = h.stream, h.flags.Has(http2.FlagHeadersEndStream)
	if h.flags.Has(http2.FlagHeadersEndHeaders) {
		return c.onBlock(h, block)
	}
	c.block.bytes, c.block.frames = append(c.block.bytes[:0], block...), 0
	return nil
}

func (c *Conn) onContinuation(h frameHeader, p []byte) *ConnError {
	b := &c.block
	if b.stream == 0 {
		return violation(h, http2.ErrCodeProtocol, "there is no header block to continue")
	}
	if b.frames++; b.frames > continuationsMax {
		return violation(h, http2.ErrCodeEnhanceYourCalm, "the header block has more than %d CONTINUATION frames", continuationsMax)
	}
	if limit := c.opts.MaxHeaderList + blockSlack; len(b.bytes)+len(p) > limit {
		return violation(h, http2.ErrCodeEnhanceYourCalm, "the header block has more than %d bytes", limit)
	}
	b.bytes = append(b.bytes, p...)
	if !h.flags.Has(http2.FlagContinuationEndHeaders) {
		return nil
	}
	block := b.bytes
	if cap(b.bytes) > maxFrame {
		b.bytes = nil
	}
	return c.onBlock(h, block)
}

// onBlock takes a complete header block. It is decoded even if nobody waits for it, because it
// changes the table.
func (c *Conn) onBlock(h frameHeader, block []byte) *ConnError {
	stream, end := c.block.stream, c.block.end
	c.block.stream = 0
	c.decoder.SetEmitEnabled(true)
	if _, err := c.decoder.Write(block); err != nil {
		return violation(h, http2.ErrCodeCompression, "%v", err)
	}
	if err := c.decoder.Close(); err != nil {
		return violation(h, http2.ErrCodeCompression, "%v", err)
	}
	defer c.head.reset()
	c.mu.Lock()
	defer c.mu.Unlock()
	call := c.streams[stream]
	if call == nil {
		return c.endedLocked(h, 0)
	}
	if !c.headLocked(call, &c.head, end) {
		return c.junkLocked(h)
	}
	c.flood.progress()
	return nil
}

// onField takes a field from the decoder.
func (c *Conn) onField(f hpack.HeaderField) {
	if !c.head.add(f, c.opts.MaxHeaderList) {
		c.decoder.SetEmitEnabled(false)
	}
}

func (c *Conn) onReset(h frameHeader, p []byte) *ConnError {
	if len(p) != 4 {
		return violation(h, http2.ErrCodeFrameSize, "expected 4 bytes")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.checkStreamLocked(h); err != nil {
		return err
	}
	call := c.streams[h.stream]
	if call == nil {
		return c.endedLocked(h, 0)
	}
	c.endLocked(call, c.resetError(call, http2.ErrCode(binary.BigEndian.Uint32(p))))
	return nil
}

func (c *Conn) onPriority(h frameHeader) *ConnError {
	if h.stream == 0 {
		return violation(h, http2.ErrCodeProtocol, "the frame needs a stream")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if call := c.streams[h.stream]; call != nil && h.length != 5 {
		c.resetLocked(call, http2.ErrCodeFrameSize, notGRPC("a PRIORITY frame has %d bytes, expected 5", h.length))
		return nil
	}
	return c.junkLocked(h)
}
