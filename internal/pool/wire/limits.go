package wire

import (
	"encoding/binary"
	"sync/atomic"
)

// streamLimit learns how many concurrent streams the instance allows on a connection. Grpc-go does
// not tell: it silently makes streams beyond the limit wait. The limit is in the SETTINGS frame
// that a server must send first (RFC 9113, section 3.4). Later changes are rare and are not
// followed.
type streamLimit struct {
	// limit is where the limit is stored. 0: there is none, or it is not known.
	limit *atomic.Uint32
	// head is the beginning of the first frame until it is complete. It belongs to the reading
	// goroutine.
	head []byte
	done bool
}

const (
	// frameHeader is the size of length (24 bits), type, flags and stream, in bytes.
	frameHeader   = 9
	frameSettings = 0x4
	// settingSize is the size of identifier (16 bits) and value (32 bits), in bytes.
	settingSize    = 6
	settingStreams = 0x3
	// settingsLengthOK is the maximum length that is read, in bytes. A longer frame has more
	// settings than there are identifiers, so it is not a real SETTINGS frame.
	settingsLengthOK = 1 << 10
)

// read looks at bytes that came from the instance.
func (l *streamLimit) read(p []byte) {
	if l.done || len(p) == 0 {
		return
	}
	l.head = append(l.head, p[:min(len(p), frameHeader+settingsLengthOK)]...)
	if len(l.head) < frameHeader {
		return
	}
	length := int(l.head[0])<<16 | int(l.head[1])<<8 | int(l.head[2])
	if l.head[3] != frameSettings || length > settingsLengthOK {
		l.finish()
		return
	}
	if len(l.head) < frameHeader+length {
		return
	}
	for settings := l.head[frameHeader : frameHeader+length]; len(settings) >= settingSize; settings = settings[settingSize:] {
		if binary.BigEndian.Uint16(settings) == settingStreams {
			l.limit.Store(binary.BigEndian.Uint32(settings[2:]))
		}
	}
	l.finish()
}

func (l *streamLimit) finish() { l.head, l.done = nil, true }

// goAwayTooManyPings is the end of the GOAWAY frame that a server sends when it gets more keepalive
// pings than it allows (gRPC's proposal A8). It has the code ENHANCE_YOUR_CALM and the reason. The
// server then closes the connection, so this is the last thing that is read.
var goAwayTooManyPings = []byte("\x00\x00\x00\x0btoo_many_pings")
