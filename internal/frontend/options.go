package frontend

import (
	"net"
	"net/http"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
)

// Defaults of Options.
const (
	DefaultMaxRequestSize = 4 << 20 // bytes
	DefaultHeartbeat      = 15 * time.Second
)

// Options are the settings of one handler that all protocols obey. They are compiled from the
// config once and are not changed afterwards. The zero value of each field means its default.
//
// How JSON is written is not among them: that is a property of the codecs in Method.
type Options struct {
	// MaxRequestSize bounds a request body, and each message of a streamed one, in bytes after
	// decompression, and its protobuf form as well. Default: 4 MiB. A larger one is answered with
	// 413 (RESOURCE_EXHAUSTED in the RPC protocols).
	MaxRequestSize int64
	// Timeout is the deadline of unary calls if neither the binding nor the method has one.
	// Default: 0, none.
	Timeout time.Duration
	// QueryIgnoreUnknown ignores query parameters that name no field. Default: false, they are
	// answered with 400, which names the parameter.
	QueryIgnoreUnknown bool
	// QueryPathWins ignores a query parameter that gives a field of the path another value, and a
	// part of a form that names no field. Default: false, they are answered with 400.
	QueryPathWins bool
	// AnyMediaType reads every request body as JSON, whatever its Content-Type says, and answers
	// with JSON if nothing that Accept allows can be made. Forms that are accepted stay forms.
	// Default: false, such requests are answered with 415 and 406.
	AnyMediaType bool
	// IgnoreClientTimeout makes REST ignore the headers by which a client says how long it will
	// wait, malformed ones among them. Default: false, see ClientTimeout.
	IgnoreClientTimeout bool
	// TrailingText ignores what follows the JSON value in a request body. It does not apply to
	// streams, in which messages follow one another. Default: false, it is answered with 400.
	TrailingText bool
	// FormsToQuery reads the body of type application/x-www-form-urlencoded of a request to a
	// binding without a body as query parameters. A POST of such a form to a path without a POST
	// binding goes to that for GET. Default: false, such a body is ignored.
	FormsToQuery bool
	// RequestMetadata says which request headers become metadata. Default: nil, see
	// DefaultRequestRules.
	RequestMetadata *Rules
	// ResponseMetadata says which metadata becomes response headers. Default: nil, see
	// DefaultResponseRules.
	ResponseMetadata *Rules
	// TrailerMetadata says which trailer metadata becomes trailers. Default: nil, those of
	// ResponseMetadata.
	TrailerMetadata *Rules
	// TrailersAsHeaders sends the trailer metadata of a unary answer, and of an error before the
	// first byte, in the header of the response. This is for REST only. Default: false, trailers
	// are trailers.
	TrailersAsHeaders bool
	// TrustedProxy reports whether the request comes from a proxy whose X-Forwarded-* headers are
	// believed. Default: nil, none is.
	TrustedProxy func(*http.Request) bool
	// CallOptions returns options for a stream, and for a whole call over a connection that is no
	// UnaryConn. idempotent says that it may be executed twice. Default: nil, none.
	CallOptions func(m *Method, idempotent bool) []grpc.CallOption

	// Origins are those whose pages may call from a browser, besides the gateway's own. Default:
	// nil, none.
	Origins Origins
	// AllowCrossSite turns CheckCrossSite off. Default: false.
	AllowCrossSite bool

	// Heartbeat is how long a stream may be quiet before an SSE comment or a WebSocket ping is
	// sent, and how long the header of any stream over plain HTTP waits for the service's. Default:
	// 15 s. Negative: nothing is sent.
	Heartbeat time.Duration
	// HeartbeatLines gives NDJSON and JSON array streams heartbeats too: a line break. Default:
	// false.
	HeartbeatLines bool
	// NoEventIDs leaves the events of an event stream without IDs. Default: false, they count the
	// messages.
	NoEventIDs bool
	// EventIDField is the path of the message field that has the ID of an event. Default: "", IDs
	// count the messages.
	EventIDField string
	// EndEvent ends an event stream that succeeded with an event of the type "end". Default: false.
	EndEvent bool
	// ResultLines frames streams over plain HTTP as lines {"result":<message>}, and
	// {"error":<Status>} at the end of one that failed. They are of the type application/json. Only
	// a client that prefers event streams gets another framing. Default: false, Accept decides.
	ResultLines bool
	// NoWebSocket refuses the upgrade to WebSocket. Default: false.
	NoWebSocket bool
	// WebSocketUnary lets a WebSocket call unary methods that are not bound to GET. Default: false.
	WebSocketUnary bool
	// WebSocketOrigins are host patterns (path.Match) of other sites whose pages may open a
	// WebSocket, besides those in Origins. Pages of the same host always may. Default: none.
	WebSocketOrigins []string
	// ETag adds an ETag to 200 answers of GET and HEAD, and answers 304 to a matching
	// If-None-Match. Default: false.
	ETag bool
	// Fields lets REST clients ask for parts of an answer. Default: nil, they cannot.
	Fields *Fields
	// Answers is the shape of answers over plain HTTP. Default: nil, the message as JSON with
	// status 200.
	Answers *Answers
	// Errors is the form of REST errors. Default: StatusErrors.
	Errors ErrorForm
	// Forms accepts multipart/form-data and application/x-www-form-urlencoded request bodies.
	// Default: false.
	Forms bool

	// LiftReadTimeout, if set, is called before a streaming request body is read. It lifts the
	// server's limit on the time between two reads, because the client may send its messages at any
	// time. restore puts the limit back. Default: nil, there is no limit.
	LiftReadTimeout func(r *http.Request) (restore func())

	// ClientConn returns the connection over which an HTTP/1.1 request came, or nil if it is not
	// known. With it, a client that leaves is noticed even while nobody reads its body (see
	// WatchClient). Default: nil, never known.
	ClientConn func(r *http.Request) net.Conn

	// Drain is closed when the server stops. Streams then end, each with the terminal frame of its
	// protocol. Unary calls are not cut short. Streams outlive a reload, so a reload must not close
	// it. Default: nil, never closed.
	Drain *Drain
	// CloseDelay is how long a stream may go on after Drain was closed. Default: 0.
	CloseDelay time.Duration
}

// UnboundedRead calls LiftReadTimeout, if it is set.
func (o *Options) UnboundedRead(r *http.Request) (restore func()) {
	if o.LiftReadTimeout == nil {
		return func() {}
	}
	return o.LiftReadTimeout(r)
}

// WithDefaults returns the options with each zero field that has another default set to it.
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

// CheckWireSize refuses a message that came as JSON and is larger than MaxRequestSize in protobuf.
// JSON can be the smaller form: in a google.protobuf.Value, `0,` takes eleven bytes. The error is a
// *Error.
func (o *Options) CheckWireSize(size int) error {
	if int64(size) <= o.MaxRequestSize {
		return nil
	}
	return Errorf(codes.ResourceExhausted, "the request message is larger than %d bytes in protobuf", o.MaxRequestSize).
		WithHTTP(http.StatusRequestEntityTooLarge)
}
