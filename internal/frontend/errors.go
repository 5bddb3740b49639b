package frontend

import (
	"errors"
	"fmt"
	"net/http"

	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"

	"github.com/caddy-grpc/gateway/internal/transcode"
)

// Error is a failed request as the client sees it. Every protocol writes it in its own form.
type Error struct {
	// Status has code, message and details, and nothing internal.
	Status *spb.Status
	// HTTPStatus is an HTTP status that says more than the one of the code. 0: the code decides.
	HTTPStatus int
	// Header has further response headers such as Allow and Retry-After. It may be nil.
	Header http.Header
	// Unrouted says that no route has the path.
	Unrouted bool
	// Line says that REST writes the error as the line that ends a stream, although no message was
	// sent before it, because the other lines would have that form.
	Line bool
	// Types resolves the details. It may be nil.
	Types transcode.Resolver
	cause error
}

// Errorf returns an error with the message, which the client will see.
func Errorf(code codes.Code, format string, args ...any) *Error {
	return &Error{Status: &spb.Status{Code: int32(code), Message: fmt.Sprintf(format, args...)}}
}

// AsError turns any error into one that a client may see. It hides the text of an error that is not
// an *Error.
func AsError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return Errorf(codes.Internal, "the request failed in the gateway").WithCause(err)
}

// WithHTTP sets an HTTP status other than that of the code.
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

// WithCause sets the cause, which the log shows and the client does not see.
func (e *Error) WithCause(err error) *Error {
	e.cause = err
	return e
}

// Code is the gRPC code.
func (e *Error) Code() codes.Code { return codes.Code(e.Status.GetCode()) }

// HTTP is the HTTP status to answer with. Options.ErrorStatus is that of REST.
func (e *Error) HTTP() int {
	if e.HTTPStatus != 0 {
		return e.HTTPStatus
	}
	return HTTPStatus(e.Code())
}

// Error includes the cause. It is for the log.
func (e *Error) Error() string {
	s := fmt.Sprintf("%s: %s", CodeName(e.Code()), e.Status.GetMessage())
	if e.cause != nil {
		s += ": " + e.cause.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.cause }
