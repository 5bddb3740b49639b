package frontend

import (
	"context"
	"errors"
	"math"
	"net/http"
	"strconv"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// localRetry is the Retry-After in seconds if no instance could be reached. The pool connects again
// within a few seconds at most.
const localRetry = "1"

// LocalError is an error of a call that was made in this process and that no upstream sent. A
// connection (Method.Conn) returns its own errors as LocalError. Every other error with a gRPC
// status is a status that the upstream sent.
type LocalError interface {
	error
	// GRPCStatus is what the client may see. It names no address and has no text of a library.
	GRPCStatus() *status.Status
	// HTTPStatus is an HTTP status that says more than the one of the code. 0: the code decides.
	HTTPStatus() int
}

// ContextError is the LocalError of a call whose context has ended with err.
func ContextError(err error) error { return contextError{err} }

type contextError struct{ error }

func (e contextError) Unwrap() error { return e.error }

func (e contextError) GRPCStatus() *status.Status {
	if errors.Is(e.error, context.DeadlineExceeded) {
		return status.New(codes.DeadlineExceeded, "the deadline of the call has passed")
	}
	return status.New(codes.Canceled, "the call was cancelled")
}

func (e contextError) HTTPStatus() int { return 0 }

// failed turns the error of a gRPC call into one that the client may see. The status of the
// upstream and that of a LocalError pass unchanged, unless the texts of the upstream's are hidden.
// The log gets the causes of local errors, and what was hidden.
func (c *Call) failed(err error) *Error {
	if refused := c.refused.Load(); refused != nil {
		return refused
	}
	var local LocalError
	parent := c.parent.Err()
	switch {
	case parent != nil && !errors.Is(parent, context.DeadlineExceeded):
		// The client has left, so nobody reads what gRPC made of it.
		return Errorf(codes.Canceled, "the client went away").WithCause(err)
	case errors.As(err, &local):
		e := &Error{Status: local.GRPCStatus().Proto(), HTTPStatus: local.HTTPStatus(), Types: c.method.Types, cause: err}
		if e.Code() == codes.Unavailable && c.retryable(e) {
			e.Header = http.Header{"Retry-After": {localRetry}}
		}
		return e
	}
	st, ok := status.FromError(err)
	if !ok {
		return Errorf(codes.Unknown, "the call failed in the gateway").WithCause(err)
	}
	e := &Error{Status: c.method.withoutHidden(st.Proto()), Types: c.method.Types}
	if d, ok := retryDelay(e.Status); ok && c.retryable(e) {
		e.Header = http.Header{"Retry-After": {d}}
	}
	if c.opts.hides(e.Code()) {
		e.hide()
	}
	return e
}

// retryable reports whether Retry-After has a meaning for the status that the error gets (RFC 9110,
// section 10.2.3, and RFC 6585).
func (c *Call) retryable(e *Error) bool {
	s := e.HTTP()
	if c.info.Protocol == REST.String() {
		s = c.opts.ErrorStatus(e)
	}
	return s == http.StatusServiceUnavailable || s == http.StatusTooManyRequests
}

// retryDelay is the value of Retry-After by a RetryInfo in the details: whole seconds, rounded up.
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
