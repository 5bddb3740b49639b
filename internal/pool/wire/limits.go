package wire

import (
	"encoding/binary"
	"sync/atomic"
)

// streamLimit learns how many concurrent streams the instance allows on a connection. grpc-go keeps
// that to itself: it makes streams beyond the limit wait, silently. The limit is in the SETTINGS
// frame that a server must send first (RFC 9113, section 3.4). Later changes are rare and not
// followed.
type streamLimit struct {
	// limit is where to put it. 0: not known, or none.
	limit *atomic.Uint32
	// head is the beginning of the first frame while it is not complete. It belongs to the reading
	// goroutine.
	head []byte
	done bool
}

const (
	frameHeader      = 9 // length (24 bits), type, flags, stream
	frameSettings    = 0x4
	settingSize      = 6 // identifier (16 bits), value (32 bits)
	settingStreams   = 0x3
	settingsLengthOK = 1 << 10 // more settings than there are identifiers: not what it seems
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

// goAwayTooManyPings is the end of the GOAWAY frame with which servers answer keepalive pings that
// they do not allow (gRPC's proposal A8): the code ENHANCE_YOUR_CALM and the reason. The server
// closes the connection after it, so it is the last thing that is read.
var goAwayTooManyPings = []byte("\x00\x00\x00\x0btoo_many_pings")
