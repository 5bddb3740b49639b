package frontend

import (
	"context"
	"errors"
	"math"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// localRetry is the Retry-After, in seconds, when no instance could be reached: connecting is tried again within a few seconds at most.
const localRetry = "1"

// failed turns the error of a gRPC call into the one that the client may see.
//
// A status that the upstream sent passes as it is, and so does one that the channel worded. One that gRPC made up (a refused
// connection, a lost one, the deadline) has addresses and Go errors in its text: the client gets the code and a text
// of ours, the log gets the rest.
func (c *Call) failed(err error) *Error {
	st := status.Convert(err)
	e := &Error{Status: st.Proto(), Types: c.method.Types, cause: err}
	local := false
	switch parent := c.parent.Err(); {
	case parent != nil && !errors.Is(parent, context.DeadlineExceeded):
		// Whatever gRPC made of it: the client left, and nobody reads this.
		e.Status = &spb.Status{Code: int32(codes.Canceled), Message: "the client went away"}
	case isWorded(err):
		local = true
	case c.fromUpstream(st):
		e.cause = nil
	default:
		local = true
		e.Status = localStatus(st, c.over())
	}
	if d, ok := retryDelay(e.Status); ok && e.retryable() {
		e.Header = http.Header{"Retry-After": {d}}
	} else if local && e.Code() == codes.Unavailable {
		e.Header = http.Header{"Retry-After": {localRetry}}
	}
	return e
}

// isWorded reports whether the error is one of the channel's own, with a status whose message is fit for strangers, and not of gRPC's type.
func isWorded(err error) bool {
	// Not errors.As: an error that wraps one has a text of its own, which is in its status.
	_, ok := err.(interface{ GRPCStatus() *status.Status })
	return ok && reflect.TypeOf(err) != reflect.TypeOf(status.Error(codes.Unknown, ""))
}

// fromUpstream reports whether the status came over the wire. gRPC does not say, but it can be told: a status without a message
// before it comes in the only header block, whose fields (content-type among them) Trailer shows; after a header it is the upstream's
// unless it has the text of one of gRPC's own.
func (c *Call) fromUpstream(st *status.Status) bool {
	switch {
	case c.stream == nil && c.header == nil && c.trailer == nil:
		return false
	case len(c.Trailer()) > 0:
		return true
	case c.over() != nil || hasAnyPrefix(st.Message(), localTexts...):
		return false
	}
	return len(c.Header()) > 0
}

// localTexts are how the errors begin that grpc-go makes itself on a stream that has begun.
var localTexts = []string{
	"grpc: ", "transport: ", "rpc error: ", "connection error: ", "error reading from server: ", "closing transport due to: ", "keepalive ping failed",
	"stream terminated by RST_STREAM", "the connection is draining", "the stream is rejected because server is draining",
	"unexpected HTTP status code", "malformed header", "server closed the stream without sending trailers", "cardinality violation",
	"context canceled", "context deadline exceeded",
}

// localStatus is what is said of a failure on our side of the connection.
func localStatus(st *status.Status, ctxErr error) *spb.Status {
	message := "the call failed in the gateway"
	switch code := st.Code(); {
	case code == codes.DeadlineExceeded || errors.Is(ctxErr, context.DeadlineExceeded):
		return &spb.Status{Code: int32(codes.DeadlineExceeded), Message: "the deadline of the call has passed"}
	case code == codes.Unavailable:
		message = "the upstream is not available"
	case code == codes.Canceled:
		message = "the call was cancelled"
	case code == codes.ResourceExhausted:
		message = "a message of the call is larger than allowed"
	case code == codes.Internal && strings.HasPrefix(st.Message(), "cardinality violation"):
		message = "the upstream did not answer with exactly one message"
	}
	return &spb.Status{Code: int32(st.Code()), Message: message}
}

// retryable are the statuses for which Retry-After means something (RFC 9110, section 10.2.3, and RFC 6585).
func (e *Error) retryable() bool {
	s := e.HTTP()
	return s == http.StatusServiceUnavailable || s == http.StatusTooManyRequests
}

// retryDelay is the value of Retry-After by a RetryInfo among the details: whole seconds, rounded up.
func retryDelay(st *spb.Status) (string, bool) {
	for _, d := range st.GetDetails() {
		var info errdetails.RetryInfo
		if !d.MessageIs(&info) || d.UnmarshalTo(&info) != nil || info.GetRetryDelay().CheckValid() != nil {
			continue
		}
		seconds := math.Ceil(info.GetRetryDelay().AsDuration().Seconds())
		return strconv.FormatInt(int64(max(0, seconds)), 10), true
	}
	return "", false
}
