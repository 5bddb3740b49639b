package frontend

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
)

// Refusal is the error of a call that was refused with an HTTP status before it was made.
//
//	HTTP status      code
//	401              UNAUTHENTICATED
//	403              PERMISSION_DENIED
//	404              NOT_FOUND
//	413, 429         RESOURCE_EXHAUSTED
//	499              CANCELLED
//	503              UNAVAILABLE
//	504              DEADLINE_EXCEEDED
//	other 4xx        FAILED_PRECONDITION if it is about a state, otherwise INVALID_ARGUMENT
//	other 5xx        INTERNAL
//	1xx, 2xx, 3xx    UNKNOWN
//
// gRPC's own mapping (http-grpc-status-mapping.md) makes 429 and 504 UNAVAILABLE. Clients call
// again at once after UNAVAILABLE, which a limit must not invite, and a call that was too slow may
// have been executed.
//
// The message is what the client sees. "" stands for the name of the status. A status from 300 on
// stays the status for REST. h has the headers of the refusal, and may be nil. WWW-Authenticate,
// Set-Cookie, Location and Retry-After are copied to Error.Header. A valid Retry-After becomes a
// google.rpc.RetryInfo, too.
func Refusal(status int, message string, h http.Header) *Error {
	if status < 100 || status > 999 {
		status = http.StatusInternalServerError // A server could not send any other.
	}
	e := Errorf(refusalCode(status), "%s", cmp.Or(message, refusalMessage(status)))
	if status >= http.StatusMultipleChoices {
		e.HTTPStatus = status
	}
	for _, name := range refusalHeaders {
		if values := h[name]; len(values) > 0 {
			if e.Header == nil {
				e.Header = make(http.Header)
			}
			e.Header[name] = slices.Clone(values)
		}
	}
	if delay, ok := parseRetryAfter(h.Get("Retry-After"), time.Now()); ok {
		if detail, err := anypb.New(&errdetails.RetryInfo{RetryDelay: delay}); err == nil {
			e.Status.Details = append(e.Status.Details, detail)
		}
	}
	return e
}

// refusalHeaders is never changed.
var refusalHeaders = [...]string{"Www-Authenticate", "Set-Cookie", "Location", "Retry-After"}

func refusalCode(status int) codes.Code {
	switch status {
	case http.StatusUnauthorized:
		return codes.Unauthenticated
	case http.StatusForbidden:
		return codes.PermissionDenied
	case http.StatusNotFound:
		return codes.NotFound
	case http.StatusRequestEntityTooLarge, http.StatusTooManyRequests:
		return codes.ResourceExhausted
	case StatusClientClosedRequest:
		return codes.Canceled
	case http.StatusServiceUnavailable:
		return codes.Unavailable
	case http.StatusGatewayTimeout:
		return codes.DeadlineExceeded
	}
	switch {
	case status < http.StatusBadRequest:
		return codes.Unknown
	case status >= http.StatusInternalServerError:
		return codes.Internal
	case aboutState(status):
		return codes.FailedPrecondition
	default:
		return codes.InvalidArgument
	}
}

// aboutState reports whether a 4xx status is about a state of the client, the connection or the
// resource. The same request may succeed in another state, whereas INVALID_ARGUMENT says that it is
// wrong in any (google/rpc/code.proto).
func aboutState(status int) bool {
	switch status {
	case http.StatusPaymentRequired, http.StatusProxyAuthRequired, http.StatusRequestTimeout, http.StatusConflict, http.StatusGone,
		http.StatusPreconditionFailed, http.StatusMisdirectedRequest, http.StatusLocked, http.StatusFailedDependency, http.StatusTooEarly,
		http.StatusUpgradeRequired, http.StatusPreconditionRequired, http.StatusUnavailableForLegalReasons:
		return true
	}
	return false
}

func refusalMessage(status int) string {
	switch text := http.StatusText(status); {
	case status < http.StatusBadRequest:
		return fmt.Sprintf("the policy answered with HTTP %d", status)
	case text == "":
		return fmt.Sprintf("HTTP %d", status)
	default:
		return text
	}
}

// maxRetryDelay is the largest google.protobuf.Duration, in seconds.
const maxRetryDelay = 315_576_000_000

// parseRetryAfter reads a Retry-After (RFC 9110, section 10.2.3): seconds or a date. A date that
// has passed is no delay.
func parseRetryAfter(value string, now time.Time) (*durationpb.Duration, bool) {
	value = strings.TrimSpace(value)
	seconds, err := strconv.ParseUint(value, 10, 64)
	if err == nil || errors.Is(err, strconv.ErrRange) {
		return &durationpb.Duration{Seconds: int64(min(seconds, maxRetryDelay))}, true
	}
	date, err := http.ParseTime(value)
	if err != nil {
		return nil, false
	}
	return &durationpb.Duration{Seconds: int64(math.Ceil(max(0, date.Sub(now)).Seconds()))}, true
}
