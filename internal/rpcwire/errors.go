package rpcwire

import (
	"fmt"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/codes"
)

// Kind says why a call failed in this process or on the connection.
type Kind uint8

// The kinds of failures.
const (
	// KindCancelled means that the caller has cancelled the call.
	KindCancelled Kind = iota + 1
	// KindDeadline means that the deadline of the call has passed.
	KindDeadline
	// KindLost means that the connection was lost or closed.
	KindLost
	// KindDraining means that the connection accepts no new calls.
	KindDraining
	// KindReset means that the peer ended the stream with RST_STREAM.
	KindReset
	// KindNotGRPC means that the response is not valid HTTP/2 or not valid gRPC.
	KindNotGRPC
	// KindRequestTooLarge means that the request's header list is above the peer's limit.
	KindRequestTooLarge
	// KindAnswerTooLarge means that a message is larger than Options.MaxMessage.
	KindAnswerTooLarge
	// KindNotOneMessage means that a unary call did not get exactly one message.
	KindNotOneMessage
	// KindCompression means that a message has a compression that Options.Decompresses does not
	// know.
	KindCompression
	// KindInvalid means that the request has fields that cannot be sent.
	KindInvalid
)

var kindNames = [...]string{
	KindCancelled:       "cancelled",
	KindDeadline:        "deadline exceeded",
	KindLost:            "connection lost",
	KindDraining:        "connection is draining",
	KindReset:           "stream reset",
	KindNotGRPC:         "not valid gRPC",
	KindRequestTooLarge: "request headers too large",
	KindAnswerTooLarge:  "answer too large",
	KindNotOneMessage:   "not exactly one message",
	KindCompression:     "unknown compression",
	KindInvalid:         "invalid request",
}

func (k Kind) String() string {
	if int(k) < len(kindNames) && kindNames[k] != "" {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Error is the failure of a call that did not get its status from the peer. All errors of a Call
// are of this type, apart from io.EOF.
type Error struct {
	Kind Kind
	// Code is the gRPC status code for this failure. It equals that of grpc-go.
	Code codes.Code
	// Unprocessed is true if the peer certainly has not processed the call. It was never written,
	// or the peer said so with REFUSED_STREAM or with the last stream of a GOAWAY. Such a call may
	// be made again on another connection, whatever it does.
	Unprocessed bool
	// Reset is the peer's error code if Kind is KindReset.
	Reset http2.ErrCode
	// HTTPStatus is the status of a response that is not gRPC, such as a page of a proxy. 0: the
	// failure is another one.
	HTTPStatus int
	// Message has details for operators.
	Message string
	// Cause is the *ConnError of the connection, or the error of Cancel. It may be nil.
	Cause error
}

func (e *Error) Error() string {
	text := e.Kind.String()
	if e.Message != "" {
		text += ": " + e.Message
	}
	if e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	return text
}

// Unwrap returns the Cause.
func (e *Error) Unwrap() error { return e.Cause }

// Reason says why a connection ended.
type Reason uint8

// The reasons.
const (
	// ReasonLocal means that Close was called.
	ReasonLocal Reason = iota + 1
	// ReasonDrained means that the connection was draining and its last call has ended.
	ReasonDrained
	// ReasonPeer means that the peer closed or reset the connection, or that reading failed.
	ReasonPeer
	// ReasonProtocol means that the peer violated HTTP/2, or sent too many frames that do nothing.
	ReasonProtocol
	// ReasonKeepalive means that a keepalive ping was not answered in time.
	ReasonKeepalive
	// ReasonHandshake means that the peer's SETTINGS did not come in time.
	ReasonHandshake
)

var reasonNames = [...]string{
	ReasonLocal:     "closed",
	ReasonDrained:   "drained",
	ReasonPeer:      "lost",
	ReasonProtocol:  "protocol error",
	ReasonKeepalive: "keepalive ping was not answered",
	ReasonHandshake: "handshake failed",
}

func (r Reason) String() string {
	if int(r) < len(reasonNames) && reasonNames[r] != "" {
		return reasonNames[r]
	}
	return fmt.Sprintf("reason %d", uint8(r))
}

// SpeaksHTTP1 is ConnError.Detail if the peer answered the handshake with HTTP/1.
const SpeaksHTTP1 = "the peer speaks HTTP/1"

// ConnError says why a connection ended.
type ConnError struct {
	Reason Reason
	// Code is the error code that this client sent in its GOAWAY. It is NO_ERROR unless Reason is
	// ReasonProtocol.
	Code http2.ErrCode
	// Detail says what was wrong.
	Detail string
	// Frame describes the frame that violated the protocol. "": it was not a frame.
	Frame string
	// GoAway is the last GOAWAY of the peer. Nil: there was none.
	GoAway *GoAway
	// Cause is the error of the connection below. It may be nil.
	Cause error
}

func (e *ConnError) Error() string {
	text := "connection " + e.Reason.String()
	if e.Reason == ReasonProtocol {
		text += " (" + e.Code.String() + ")"
	}
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	if e.Frame != "" {
		text += " in " + e.Frame
	}
	if e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	if e.GoAway != nil {
		text += "; before that the peer sent " + e.GoAway.String()
	}
	return text
}

// Unwrap returns the Cause.
func (e *ConnError) Unwrap() error { return e.Cause }

// GoAway is what a GOAWAY frame of the peer says.
type GoAway struct {
	// LastStream is the highest stream that the peer may have processed.
	LastStream uint32
	Code       http2.ErrCode
	// Debug is the beginning of the peer's debug data.
	Debug string
}

// TooManyPings reports whether the peer closes the connection because of keepalive pings (gRPC's
// proposal A8).
func (g *GoAway) TooManyPings() bool {
	return g.Code == http2.ErrCodeEnhanceYourCalm && g.Debug == "too_many_pings"
}

func (g *GoAway) String() string {
	return fmt.Sprintf("GOAWAY %s, last stream %d, %q", g.Code, g.LastStream, g.Debug)
}

// resetCodes maps the peer's RST_STREAM codes to status codes, as gRPC over HTTP2 says under
// "HTTP2 Transport Mapping, Errors". NO_ERROR and codes that are not in the list are as in grpc-go.
var resetCodes = map[http2.ErrCode]codes.Code{
	http2.ErrCodeNo:                 codes.Internal,
	http2.ErrCodeProtocol:           codes.Internal,
	http2.ErrCodeInternal:           codes.Internal,
	http2.ErrCodeFlowControl:        codes.ResourceExhausted,
	http2.ErrCodeSettingsTimeout:    codes.Internal,
	http2.ErrCodeStreamClosed:       codes.Internal,
	http2.ErrCodeFrameSize:          codes.Internal,
	http2.ErrCodeRefusedStream:      codes.Unavailable,
	http2.ErrCodeCancel:             codes.Canceled,
	http2.ErrCodeCompression:        codes.Internal,
	http2.ErrCodeConnect:            codes.Internal,
	http2.ErrCodeEnhanceYourCalm:    codes.ResourceExhausted,
	http2.ErrCodeInadequateSecurity: codes.PermissionDenied,
	http2.ErrCodeHTTP11Required:     codes.Internal,
}

func resetCode(code http2.ErrCode) codes.Code {
	if c, ok := resetCodes[code]; ok {
		return c
	}
	return codes.Unknown
}

func notGRPC(format string, args ...any) *Error {
	return &Error{Kind: KindNotGRPC, Code: codes.Internal, Message: fmt.Sprintf(format, args...)}
}
