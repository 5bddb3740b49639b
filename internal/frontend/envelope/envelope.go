// Package envelope reads, writes and compresses messages with a prefix of five bytes (flags and
// length), as gRPC, gRPC-Web and the streams of Connect have them. It knows nothing about the
// contents of messages, or about headers and trailers.
package envelope

import "encoding/binary"

// HeaderSize is the size of the prefix in bytes: one of flags, four of length (big endian).
const HeaderSize = 5

// Flags of an envelope.
const (
	// Compressed says that the payload is compressed by the coding that the headers name.
	Compressed = 0x01
	// ConnectEnd marks the last envelope of a Connect stream.
	ConnectEnd = 0x02
	// WebTrailers marks the last envelope of a gRPC-Web response.
	WebTrailers = 0x80
)

// Begin appends an empty prefix. Finish fills it in after the payload has been appended.
func Begin(dst []byte) []byte { return append(dst, 0, 0, 0, 0, 0) }

// Finish writes the prefix of the envelope that begins at start. The payload is everything after
// the prefix.
func Finish(dst []byte, start int, flags byte) {
	dst[start] = flags
	binary.BigEndian.PutUint32(dst[start+1:], uint32(len(dst)-start-HeaderSize))
}

// Append appends an envelope with the payload.
func Append(dst []byte, flags byte, payload []byte) []byte {
	start := len(dst)
	dst = append(Begin(dst), payload...)
	Finish(dst, start, flags)
	return dst
}

// minCompressed is the size in bytes below which compression costs more than it saves.
const minCompressed = 512

// Seal finishes the envelope that begins at start. It compresses the payload if coding says so and
// the payload is large enough.
func Seal(dst []byte, start int, flags byte, coding Coding) []byte {
	if coding == Identity || len(dst)-start-HeaderSize < minCompressed {
		Finish(dst, start, flags)
		return dst
	}
	dst = coding.replace(dst, start+HeaderSize)
	Finish(dst, start, flags|Compressed)
	return dst
}
