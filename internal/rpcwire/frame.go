package rpcwire

import (
	"encoding/binary"
	"fmt"
	"io"

	"golang.org/x/net/http2"
)

const (
	frameHeaderSize = 9
	// maxFrame is the largest frame payload that is accepted, in bytes. It is the default of
	// SETTINGS_MAX_FRAME_SIZE, and also the least that every peer accepts.
	maxFrame = 16384
	// readBufferSize has room for the largest frame, and for what usually comes with it.
	readBufferSize = 32 << 10
	// idleBufferSize has room for the frames of an idle connection, and for a small answer.
	idleBufferSize = 512
)

// frameHeader is the header of a frame (RFC 9113, section 4.1).
type frameHeader struct {
	length int
	kind   http2.FrameType
	flags  http2.Flags
	stream uint32
}

func (h frameHeader) String() string {
	return fmt.Sprintf("%s frame (flags %#x, stream %d, %d bytes)", h.kind, uint8(h.flags), h.stream, h.length)
}

func parseFrameHeader(b []byte) frameHeader {
	return frameHeader{
		length: int(b[0])<<16 | int(b[1])<<8 | int(b[2]),
		kind:   http2.FrameType(b[3]),
		flags:  http2.Flags(b[4]),
		stream: binary.BigEndian.Uint32(b[5:]) & maxWindow,
	}
}

func appendFrameHeader(dst []byte, length int, kind http2.FrameType, flags http2.Flags, stream uint32) []byte {
	return append(dst, byte(length>>16), byte(length>>8), byte(length), byte(kind), byte(flags),
		byte(stream>>24), byte(stream>>16), byte(stream>>8), byte(stream))
}

func appendSetting(dst []byte, id http2.SettingID, value uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(dst, uint16(id)), value)
}

func appendWindowUpdate(dst []byte, stream, increment uint32) []byte {
	return binary.BigEndian.AppendUint32(appendFrameHeader(dst, 4, http2.FrameWindowUpdate, 0, stream), increment)
}

func appendReset(dst []byte, stream uint32, code http2.ErrCode) []byte {
	return binary.BigEndian.AppendUint32(appendFrameHeader(dst, 4, http2.FrameRSTStream, 0, stream), uint32(code))
}

func appendPing(dst []byte, flags http2.Flags, data [8]byte) []byte {
	return append(appendFrameHeader(dst, 8, http2.FramePing, flags, 0), data[:]...)
}

// appendGoAway appends a GOAWAY. A client's GOAWAY says that it has processed none of the streams
// that the server has begun.
func appendGoAway(dst []byte, code http2.ErrCode, debug string) []byte {
	dst = appendFrameHeader(dst, 8+len(debug), http2.FrameGoAway, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(code))
	return append(dst, debug...)
}

// frameReader reads frames. Only the reading goroutine uses it.
type frameReader struct {
	from    io.Reader
	buffers Buffers
	// idle reports whether the connection has no calls. Then it waits with a small buffer.
	idle func() bool
	// onRead is called after each read that brought something.
	onRead func()

	// buf is small, or what large refers to. From start to end it has bytes that were read and not
	// parsed.
	buf        []byte
	start, end int
	small      [idleBufferSize]byte
	// large is a buffer of readBufferSize. Nil: buf is small.
	large *[]byte
	// filled is true if the last read has filled the buffer.
	filled bool
}

// next returns the next frame. The payload is valid until the next call. A frame that is too long
// is returned with the error errFrameTooLong.
func (r *frameReader) next() (frameHeader, []byte, error) {
	if err := r.fill(frameHeaderSize); err != nil {
		return frameHeader{}, nil, err
	}
	h := parseFrameHeader(r.buf[r.start:])
	if h.length > maxFrame {
		return h, nil, errFrameTooLong
	}
	if err := r.fill(frameHeaderSize + h.length); err != nil {
		return h, nil, err
	}
	payload := r.buf[r.start+frameHeaderSize : r.start+frameHeaderSize+h.length]
	r.start += frameHeaderSize + h.length
	return h, payload, nil
}

// fill reads until the buffer has n unparsed bytes.
func (r *frameReader) fill(n int) error {
	for r.end-r.start < n {
		r.makeRoom(n)
		read, err := r.from.Read(r.buf[r.end:])
		r.end += read
		r.filled = r.end == len(r.buf)
		if read > 0 {
			r.onRead()
		}
		if err != nil && r.end-r.start < n {
			if err == io.EOF && r.end > r.start { // Readers return it bare.
				return io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}

// makeRoom makes the buffer have room for n unparsed bytes. It uses the large buffer while there is
// much to read.
func (r *frameReader) makeRoom(n int) {
	if r.start == r.end {
		r.start, r.end = 0, 0
		if r.large != nil && !r.filled && r.idle() {
			r.release()
		}
	}
	if r.large == nil && (r.filled || n > len(r.small)) {
		r.large = r.buffers.Get(readBufferSize)
		r.end = copy(*r.large, r.buf[r.start:r.end])
		r.start, r.buf = 0, *r.large
	}
	if r.buf == nil {
		r.buf = r.small[:]
	}
	if r.start+n > len(r.buf) {
		r.end = copy(r.buf, r.buf[r.start:r.end])
		r.start = 0
	}
}

// release gives the large buffer back.
func (r *frameReader) release() {
	if r.large != nil {
		r.buffers.Put(r.large)
		r.large, r.buf, r.start, r.end = nil, nil, 0, 0
	}
}

// unpad returns the payload of a DATA or HEADERS frame without its padding. ok is false if the
// padding is longer than the payload.
func unpad(h frameHeader, p []byte) (data []byte, ok bool) {
	if !h.flags.Has(http2.FlagDataPadded) { // it is the same flag for HEADERS
		return p, true
	}
	if len(p) == 0 || int(p[0]) >= len(p) {
		return nil, false
	}
	return p[1 : len(p)-int(p[0])], true
}
