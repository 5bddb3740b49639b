package rpcwire

import (
	"sync/atomic"
	"time"
)

// Options are the settings of a connection. The zero value of each field means its default.
type Options struct {
	// Scheme is the :scheme of requests. Default: "http".
	Scheme string
	// Authority is the :authority of requests that have none of their own.
	Authority string
	// UserAgent is the user-agent of requests. Default: none is sent.
	UserAgent string

	// StreamWindow is how many bytes the peer may send on a stream before they are received by the
	// caller. It is widened for a larger message that a caller waits for. Default: 64 KiB.
	StreamWindow int
	// ConnWindow is how many bytes the peer may send before this client has read them from the
	// connection, in bytes. At least 65,535, which is where every connection starts. Default: 8
	// MiB.
	ConnWindow int
	// MaxMessage is the maximum size of a received message, in bytes. Default: 4 MiB.
	MaxMessage int
	// Decompresses reports whether the users of received messages know a compression. A message
	// with another one fails its call. Nil: they know all of them.
	Decompresses func(name string) bool
	// MaxHeaderList is the maximum size of a received header list as RFC 9113, section 10.5.1,
	// counts it, in bytes. Default: 256 KiB.
	MaxHeaderList int
	// Admission is told how much waits to be written. Several connections may share it. Nil: nobody
	// is told.
	Admission *Admission

	// HandshakeTimeout is how long the peer's SETTINGS may take. Default: 20s.
	HandshakeTimeout time.Duration
	// KeepaliveTime is how long a connection must be silent before it is pinged. Default: never.
	KeepaliveTime time.Duration
	// KeepaliveTimeout is how long the answer to a ping may take before the connection is closed.
	// It is also the TCP_USER_TIMEOUT, where the system has that. Default: 20s.
	KeepaliveTimeout time.Duration
	// PermitWithoutStream also pings connections without calls. Default: false.
	PermitWithoutStream bool

	// Reads counts how often something was read from the connection. Nil: nobody counts.
	Reads *atomic.Uint64
	// Buffers is where the buffers of received messages come from. Default: each is allocated.
	Buffers Buffers
	// Events is told what happens to the connection. Nil: nobody is told.
	Events Events
}

// Buffers is a pool of buffers. mem.BufferPool of grpc-go implements it. Its methods are called by
// several goroutines, some of them with the connection's lock held. They must not block, and must
// not call the connection. The connection's own read buffer comes from here as well.
type Buffers interface {
	// Get returns a buffer of the given length.
	Get(length int) *[]byte
	// Put takes a buffer back.
	Put(buf *[]byte)
}

// Events is told what happens to a connection. The methods are called by the goroutines of the
// connection, one at a time. They must not block. They may call every method of Conn and Call that
// does not wait.
type Events interface {
	// StreamLimit is called when the peer changes the maximum number of concurrent streams.
	// math.MaxUint32 means that there is none. The first value is that of [Conn.StreamLimit] after
	// [New].
	StreamLimit(n uint32)
	// Draining is called once when the peer's GOAWAY stops new calls. It is not called for
	// [Conn.Drain]. Two things drain the connection with a GoAway of this client's own making: its
	// Debug is [StreamIDsExhausted] or [WritingFailed].
	Draining(g GoAway)
	// Closed is called once, last, when the connection has ended. All its calls have ended.
	Closed(err *ConnError)
}

// StreamIDsExhausted is GoAway.Debug when this client has no stream identifiers left.
const StreamIDsExhausted = "the client has used up its stream identifiers"

// WritingFailed is GoAway.Debug when nothing can be written any more. The connection closes when
// what the peer has sent was read, after a second at most.
const WritingFailed = "writing failed"

const (
	defaultWindow = 65535 // RFC 9113, section 6.9.2
	maxWindow     = 1<<31 - 1
)

func (o Options) withDefaults() Options {
	text := func(s *string, def string) {
		if *s == "" {
			*s = def
		}
	}
	number := func(n *int, def, least int) {
		if *n == 0 {
			*n = def
		}
		*n = min(max(*n, least), maxWindow)
	}
	text(&o.Scheme, "http")
	number(&o.StreamWindow, 64<<10, 1)
	number(&o.ConnWindow, 8<<20, defaultWindow)
	number(&o.MaxMessage, 4<<20, 1)
	number(&o.MaxHeaderList, 256<<10, 1)
	if o.HandshakeTimeout <= 0 {
		o.HandshakeTimeout = 20 * time.Second
	}
	if o.KeepaliveTimeout <= 0 {
		o.KeepaliveTimeout = 20 * time.Second
	}
	if o.Buffers == nil {
		o.Buffers = allocated{}
	}
	if o.Events == nil {
		o.Events = noEvents{}
	}
	return o
}

// allocated makes a new buffer each time.
type allocated struct{}

func (allocated) Get(length int) *[]byte {
	buf := make([]byte, length)
	return &buf
}

func (allocated) Put(*[]byte) {}

type noEvents struct{}

func (noEvents) StreamLimit(uint32) {}
func (noEvents) Draining(GoAway)    {}
func (noEvents) Closed(*ConnError)  {}
