package frontend

import (
	"net"
	"net/http"
	"time"

	"google.golang.org/grpc"
)

// Defaults of Options.
const (
	DefaultMaxRequestSize = 4 << 20 // bytes
	DefaultHeartbeat      = 15 * time.Second
)

// Options are the settings of one handler that all protocols obey. The zero value of each field means its default. They are
// compiled from the config once and not changed afterwards.
//
// How JSON is written is not here: that is a property of the codecs in Method.
type Options struct {
	// MaxRequestSize bounds a request body, and each message of a streamed one, in bytes after decompression. Default 4 MiB.
	// A larger one is 413 (RESOURCE_EXHAUSTED in the RPC protocols).
	MaxRequestSize int64
	// Timeout is the deadline of unary calls where neither the binding nor the method has one. 0 is none.
	Timeout time.Duration
	// QueryIgnoreUnknown lets query parameters pass that name no field. Default: 400 naming the parameter.
	QueryIgnoreUnknown bool
	// RequestMetadata says which request headers become metadata; nil is the default set (see DefaultRequestRules).
	RequestMetadata *Rules
	// ResponseMetadata says which metadata becomes response headers and trailers; nil is the default set.
	ResponseMetadata *Rules
	// TrustedProxy reports whether the request comes from a proxy whose X-Forwarded-* headers are believed. nil: from none.
	TrustedProxy func(*http.Request) bool
	// CallOptions are added to each RPC; idempotent says that it may be executed twice. nil adds none.
	CallOptions func(m *Method, idempotent bool) []grpc.CallOption

	// Heartbeat is how long a stream may be quiet before an SSE comment or a WebSocket ping is sent. Default 15 s; negative is off.
	Heartbeat time.Duration
	// NoWebSocket refuses the upgrade to WebSocket.
	NoWebSocket bool
	// WebSocketOrigins are host patterns (path.Match) of other origins whose pages may open a WebSocket. Pages of the same host always may.
	WebSocketOrigins []string
	// ETag adds an ETag to 200 answers of GET and HEAD and answers 304 to a matching If-None-Match.
	ETag bool
	// Forms accepts multipart/form-data and application/x-www-form-urlencoded request bodies.
	Forms bool

	// Patient is called before a request is read whose client may rest between its messages as long as it likes, and lifts the limit that
	// the server sets to that; restore puts it back. nil: there is none.
	Patient func(r *http.Request) (restore func())

	// ClientConn returns the connection that an HTTP/1.1 request came over, nil if it is not known. With it,
	// a client that leaves is noticed even while nobody reads its body; see WatchClient. nil: never known.
	ClientConn func(r *http.Request) net.Conn

	// Drain is closed when the server stops: streams then end, each with the terminal frame of its protocol. Unary calls
	// are not cut short. nil: never. Streams outlive a reload, so it must not be closed by one.
	Drain *Drain
	// CloseDelay is how long after Drain a stream may go on before it is ended. Default 0.
	CloseDelay time.Duration
}

// BePatient calls Patient.
func (o *Options) BePatient(r *http.Request) (restore func()) {
	if o.Patient == nil {
		return func() {}
	}
	return o.Patient(r)
}

// WithDefaults returns the options with every zero field set to its default.
func (o Options) WithDefaults() Options {
	if o.MaxRequestSize <= 0 {
		o.MaxRequestSize = DefaultMaxRequestSize
	}
	if o.Heartbeat == 0 {
		o.Heartbeat = DefaultHeartbeat
	}
	if o.RequestMetadata == nil {
		o.RequestMetadata = DefaultRequestRules()
	}
	if o.ResponseMetadata == nil {
		o.ResponseMetadata = DefaultResponseRules()
	}
	return o
}
