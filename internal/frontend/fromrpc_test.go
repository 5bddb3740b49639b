package frontend

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// localError is an error that a connection has made.
type localError struct {
	code codes.Code
	http int
}

func (localError) Error() string     { return "10.0.0.1:1 is away" }
func (e localError) HTTPStatus() int { return e.http }
func (e localError) GRPCStatus() *status.Status {
	return status.New(e.code, "no instance of the service can be reached")
}

func TestWhatTheClientSeesOfAFailedCall(t *testing.T) {
	gone, leave := context.WithCancel(t.Context())
	leave()
	late, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	const worded = "no instance of the service can be reached"
	for _, tc := range []struct {
		name    string
		parent  context.Context
		err     error
		code    codes.Code
		http    int
		message string
		cause   bool // the log gets the error
		retry   string
	}{
		{name: "from the upstream", err: status.Error(codes.Aborted, "again"), code: codes.Aborted, http: 409, message: "again"},
		{name: "from the upstream, in words of grpc-go's", err: status.Error(codes.Unavailable, "connection error: mine"),
			code: codes.Unavailable, http: 503, message: "connection error: mine"},
		{name: "from the upstream, after the deadline", parent: late, err: status.Error(codes.NotFound, "no"),
			code: codes.NotFound, http: 404, message: "no"},
		{name: "UNAVAILABLE from this process", err: localError{code: codes.Unavailable},
			code: codes.Unavailable, http: 503, message: worded, cause: true, retry: "1"},
		{name: "with an HTTP status of its own", err: localError{code: codes.ResourceExhausted, http: 431},
			code: codes.ResourceExhausted, http: 431, message: worded, cause: true},
		{name: "wrapped", err: fmt.Errorf("10.0.0.1: %w", localError{code: codes.Internal}),
			code: codes.Internal, http: 500, message: worded, cause: true},
		{name: "without a status", err: errors.New("10.0.0.1:1 broke"),
			code: codes.Unknown, http: 500, message: "the call failed in the gateway", cause: true},
		{name: "of a context", err: ContextError(context.DeadlineExceeded),
			code: codes.DeadlineExceeded, http: 504, message: "the deadline of the call has passed", cause: true},
		{name: "the client left", parent: gone, err: status.Error(codes.Unavailable, "10.0.0.1"),
			code: codes.Canceled, http: 499, message: "the client went away", cause: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			call := Call{method: &Method{}, parent: tc.parent}
			if call.parent == nil {
				call.parent = t.Context()
			}
			e := call.failed(tc.err)
			if e.Code() != tc.code || e.HTTP() != tc.http || e.Status.GetMessage() != tc.message || (e.Unwrap() != nil) != tc.cause || e.Header.Get("Retry-After") != tc.retry {
				t.Errorf("got %v %d %q, cause %v, header %v", e.Code(), e.HTTP(), e.Status.GetMessage(), e.Unwrap(), e.Header)
			}
		})
	}
}

func TestEveryCodeHasAStatus(t *testing.T) {
	for code := codes.OK; code <= codes.Unauthenticated; code++ {
		if HTTPStatus(code) == 0 || CodeName(code) == "" {
			t.Errorf("%v: %d %q", code, HTTPStatus(code), CodeName(code))
		}
	}
	if HTTPStatus(99) != http.StatusInternalServerError {
		t.Errorf("an unknown code: %d", HTTPStatus(99))
	}
}
