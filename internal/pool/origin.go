package pool

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/caddy-grpc/gateway/internal/rpcwire"
)

// Where an error came from is decided here, once. A status that the instance sent leaves the
// channel as it came. Everything else was made in this process, and leaves the channel as an
// *UnavailableError, a *LostError or a *CallError. Callers ask for the type.
//
// grpc-go returns both kinds as the same type, so evidence has to tell them apart:
//
//   - If no header block came from the instance, it cannot have sent a status.
//   - A status before any message comes in the only header block ("Trailers-Only"). grpc-go shows
//     that block as the trailer, and its content-type is among the fields.
//   - Other trailers that carry metadata show that a status came with them.
//   - After a header, a status without metadata leaves no trace. Only then does the text decide.
//
// A stats.Handler would see the trailers in every case. It is not used, because grpc-go then copies
// all metadata of every call. See docs/pool.md. Only this file knows grpc-go's texts. TestOrigin
// pins them to the real library.

// evidence is what grpc-go tells about the end of an attempt.
type evidence struct {
	// started is true if the attempt had a stream on a connection.
	started bool
	// received is true if a header block came from the instance.
	received bool
	// trailer has the fields of the last header block, without the status.
	trailer metadata.MD
	// exact is true if the link knows for certain what the instance sent. verdict is its status as
	// an error then. Nil: it sent none, or OK.
	exact   bool
	verdict error
}

// trailersOnly reports whether the only header block was the one with the status.
func (e *evidence) trailersOnly() bool { return len(e.trailer["content-type"]) > 0 }

// failure is the kind of an error that was made in this process.
type failure int

const (
	failureOther failure = iota
	failureDeadline
	failureCancelled
	failureLost
	failureReset
	failureNotGRPC
	failureHeadersTooLarge
	failureAnswerTooLarge
	failureNotOneMessage
)

// localText is how grpc-go begins the errors of one kind.
type localText struct {
	prefix string
	kind   failure
}

// wireTexts are the errors that grpc-go's transport makes when a stream ends without a status.
var wireTexts = [...]localText{
	{"stream terminated by RST_STREAM", failureReset},
	{"unexpected HTTP status code", failureNotGRPC},
	{"malformed header", failureNotGRPC},
	{"transport: received unexpected content-type", failureNotGRPC},
	{"transport: malformed", failureNotGRPC},
	{"protocol error: informational header", failureNotGRPC},
	{"a HEADERS frame cannot appear in the middle of a stream", failureNotGRPC},
	{"peer header list size exceeded limit", failureNotGRPC},
	{"server closed the stream without sending trailers", failureNotGRPC},
	{"connection error: ", failureLost},
	{"closing transport due to: ", failureLost},
	{"error reading from server: ", failureLost},
	{"transport is closing", failureLost},
	{"transport: ", failureLost},
	{"keepalive ping failed", failureLost},
	{"received goaway ", failureLost},
	{"closing connection since the server is not reading", failureLost},
	{"the connection is draining", failureLost},
	{"the stream is rejected because server is draining", failureLost},
	{"rpc error: ", failureLost}, // the error with which grpc-go closed the connection itself
}

// messageTexts are the errors that grpc-go makes when it reads a message. A status may have come by
// then.
var messageTexts = [...]localText{
	{"cardinality violation: ", failureNotOneMessage},
	{answerTooLargeText, failureAnswerTooLarge},
	{"grpc: received message after decompression larger than max", failureAnswerTooLarge},
	{"grpc: message after decompression larger than max", failureAnswerTooLarge},
	{"grpc: ", failureOther},
	{"unexpected EOF", failureNotGRPC}, // the stream ended in the middle of a message
}

const (
	answerTooLargeText  = "grpc: received message larger than max ("
	headersTooLargeText = "header list size to send violates the maximum size"

	proxyHeadersTooLargeText = "unexpected HTTP status code received from server: 431"
)

func find(texts []localText, message string) (failure, bool) {
	for _, t := range texts {
		if strings.HasPrefix(message, t.prefix) {
			return t.kind, true
		}
	}
	return failureOther, false
}

// fromInstance reports whether the instance sent the status, which is that of err. headed reports
// whether it sent a header that grpc-go accepted. It is called only if that matters.
func (l *lease) fromInstance(err error, st *status.Status, headed func() bool) bool {
	e := &l.evidence
	switch {
	case e.exact:
		return err == e.verdict //nolint:errorlint // the link returns this very error
	case !e.received:
		return false
	}
	kind, inMessage := find(messageTexts[:], st.Message())
	if e.trailersOnly() {
		// No message came, so no message can have been wrong. But one may be missing.
		return kind != failureNotOneMessage
	}
	if inMessage && (kind != failureAnswerTooLarge || !l.sentAsLargeAs(st.Message())) {
		return false
	}
	if len(e.trailer) > 0 {
		return true
	}
	if code := st.Code(); l.callerErr() != nil && (code == codes.Canceled || code == codes.DeadlineExceeded) {
		return false
	}
	kind, onWire := find(wireTexts[:], st.Message())
	if kind == failureLost && st.Code() != codes.Unavailable {
		onWire = false
	}
	return !onWire && headed()
}

// sentAsLargeAs reports whether a message that was sent explains the text "grpc: received message
// larger than max (5000000 vs. 4194304)". Servers of grpc-go refuse requests with the same words.
func (l *lease) sentAsLargeAs(message string) bool {
	size, _, _ := strings.Cut(strings.TrimPrefix(message, answerTooLargeText), " ")
	n, err := strconv.ParseInt(size, 10, 64)
	return err == nil && l.largest.Load() >= n
}

// localKind returns the kind of an error that was made in this process.
func (l *lease) localKind(err error, st *status.Status) failure {
	cause := l.callerErr()
	kind, known := kindOf(err, st)
	switch {
	case kind == failureHeadersTooLarge:
		return failureHeadersTooLarge
	case strings.HasPrefix(st.Message(), headersTooLargeText):
		return failureHeadersTooLarge
	case strings.HasPrefix(st.Message(), proxyHeadersTooLargeText):
		return failureHeadersTooLarge // a proxy in front of the instance says so
	case errors.Is(cause, context.DeadlineExceeded), st.Code() == codes.DeadlineExceeded:
		return failureDeadline
	case cause != nil:
		return failureCancelled
	case known && kind != failureLost:
		return kind
	case st.Code() == codes.Unavailable && l.endpoint.Load() != nil:
		return failureLost
	case st.Code() == codes.Canceled:
		return failureCancelled
	default:
		return failureOther
	}
}

// kindOf returns the kind of an error that was made in this process, as far as the error says it.
func kindOf(err error, st *status.Status) (kind failure, known bool) {
	if e, ok := err.(*wireError); ok { //nolint:errorlint // the link returns it unwrapped
		return e.kind, true
	}
	if kind, known = find(messageTexts[:], st.Message()); known {
		return kind, known
	}
	return find(wireTexts[:], st.Message())
}

// message says what went wrong, in words that are fit for clients.
func (k failure) message() string {
	switch k {
	case failureDeadline:
		return "the deadline of the call has passed"
	case failureCancelled:
		return "the call was cancelled"
	case failureReset:
		return "the upstream ended the call without a status"
	case failureNotGRPC:
		return "the upstream's answer is not valid gRPC"
	case failureHeadersTooLarge:
		return "the headers of the request are too large for the service"
	case failureAnswerTooLarge:
		return "the answer is larger than the gateway accepts"
	case failureNotOneMessage:
		return "the upstream did not answer with exactly one message"
	default:
		return "the call failed in the gateway"
	}
}

// prefaceText is in the error of a connection on which nothing came that begins HTTP/2.
const prefaceText = "error reading server preface"

// explainConnect adds to an error of connecting what operators may have to change.
func explainConnect(err error, withTLS bool) error {
	var conn *rpcwire.ConnError
	switch text := err.Error(); {
	case !withTLS && (strings.Contains(text, prefaceText) || errors.As(err, &conn) && conn.Reason == rpcwire.ReasonHandshake):
		return fmt.Errorf("%w; the instance may expect TLS (option tls), or may not speak HTTP/2", err)
	case withTLS && strings.Contains(text, "first record does not look like a TLS handshake"):
		return fmt.Errorf("%w; the instance may expect no TLS", err)
	default:
		return err
	}
}

// gistOfText is gist for errors of which grpc-go passes on only the text.
func gistOfText(text string) string {
	for _, known := range [...]struct{ part, gist string }{
		{"tls: ", "TLS handshake failed"},
		{"looked like an HTTP/1.1 header", "it does not speak HTTP/2"},
		{"too_many_pings", "too many keepalive pings"},
		{"keepalive ping failed", "keepalive timeout"},
		{"connection reset", "connection reset"},
		{"connection refused", "connection refused"},
		{"timed out", "timed out"},
		{"i/o timeout", "timed out"},
		{"deadline exceeded", "timed out"},
		{"draining", "connection closed"},
		{"transport is closing", "connection closed"},
		{"broken pipe", "connection closed"},
		{"EOF", "connection closed"},
	} {
		if strings.Contains(text, known.part) {
			return known.gist
		}
	}
	return "connection failed"
}
