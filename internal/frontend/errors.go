package frontend

import (
	"errors"
	"fmt"
	"net/http"

	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"

	"github.com/caddy-grpc/gateway/internal/transcode"
)

// Error is a failed request as the client shall see it. Every protocol writes it in its own form.
type Error struct {
	Status     *spb.Status        // code, message and details; nothing internal
	HTTPStatus int                // the REST status; 0 is the one that the code maps to
	Header     http.Header        // extra response headers such as Allow and Retry-After; may be nil
	Types      transcode.Resolver // resolves the details; may be nil
	cause      error
}

// Errorf returns an error with the message, which the client will see.
func Errorf(code codes.Code, format string, args ...any) *Error {
	return &Error{Status: &spb.Status{Code: int32(code), Message: fmt.Sprintf(format, args...)}}
}

// AsError makes an error that a client may see of any error. The text of one that is not an *Error is not shown.
func AsError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return Errorf(codes.Internal, "the request failed in the gateway").WithCause(err)
}

// WithHTTP sets an HTTP status other than the one the code maps to.
func (e *Error) WithHTTP(status int) *Error {
	e.HTTPStatus = status
	return e
}

// WithHeader sets a response header.
func (e *Error) WithHeader(key, value string) *Error {
	if e.Header == nil {
		e.Header = make(http.Header)
	}
	e.Header.Set(key, value)
	return e
}

// WithCause sets what the log gets to see and the client does not.
func (e *Error) WithCause(err error) *Error {
	e.cause = err
	return e
}

// Code is the gRPC code.
func (e *Error) Code() codes.Code { return codes.Code(e.Status.GetCode()) }

// HTTP is the HTTP status to answer with.
func (e *Error) HTTP() int {
	if e.HTTPStatus != 0 {
		return e.HTTPStatus
	}
	return HTTPStatus(e.Code())
}

// Error has the cause in it: it is for the log.
func (e *Error) Error() string {
	s := fmt.Sprintf("%s: %s", CodeName(e.Code()), e.Status.GetMessage())
	if e.cause != nil {
		s += ": " + e.cause.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.cause }
