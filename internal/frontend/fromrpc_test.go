package frontend

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// stubStream has what is left of a stream that has ended.
type stubStream struct {
	grpc.ClientStream
	header, trailer metadata.MD
}

func (s stubStream) Header() (metadata.MD, error) { return s.header, nil }
func (s stubStream) Trailer() metadata.MD         { return s.trailer }

// channelError is an error that a channel has worded.
type channelError struct{}

func (channelError) Error() string { return "10.0.0.1:1 is away" }
func (channelError) GRPCStatus() *status.Status {
	return status.New(codes.Unavailable, "no instance of the service can be reached")
}

func TestWhatTheClientSeesOfAFailedCall(t *testing.T) {
	contentType := metadata.Pairs("content-type", "application/grpc")
	gone, leave := context.WithCancel(t.Context())
	leave()
	late, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	for _, tc := range []struct {
		name    string
		call    Call
		err     error
		code    codes.Code
		message string
		cause   bool // the log gets the error
		retry   string
	}{
		{name: "from the upstream, at once", call: Call{stream: stubStream{trailer: contentType}}, err: status.Error(codes.Unavailable, "connection error: mine"),
			code: codes.Unavailable, message: "connection error: mine"},
		{name: "from the upstream, after a message", call: Call{stream: stubStream{header: contentType}}, err: status.Error(codes.Aborted, "again"),
			code: codes.Aborted, message: "again"},
		{name: "a connection lost after a message", call: Call{stream: stubStream{header: contentType}},
			err:  status.Error(codes.Unavailable, "error reading from server: read tcp 10.0.0.1:1: reset"),
			code: codes.Unavailable, message: "the upstream is not available", cause: true, retry: "1"},
		{name: "no connection", call: Call{}, err: status.Error(codes.Unavailable, "dial tcp 10.0.0.1:1: refused"),
			code: codes.Unavailable, message: "the upstream is not available", cause: true, retry: "1"},
		{name: "worded by the channel", call: Call{}, err: channelError{},
			code: codes.Unavailable, message: "no instance of the service can be reached", cause: true, retry: "1"},
		{name: "no status at all", call: Call{}, err: errors.New("10.0.0.1:1 broke"), code: codes.Unknown, message: "the call failed in the gateway", cause: true},
		{name: "too large", call: Call{stream: stubStream{header: contentType}}, err: status.Error(codes.ResourceExhausted, "grpc: received message larger than max (9 vs. 8)"),
			code: codes.ResourceExhausted, message: "a message of the call is larger than allowed", cause: true},
		{name: "not one message", call: Call{stream: stubStream{header: contentType}}, err: status.Error(codes.Internal, "cardinality violation: expected <EOF>"),
			code: codes.Internal, message: "the upstream did not answer with exactly one message", cause: true},
		{name: "the deadline", call: Call{ctx: late, stream: stubStream{}}, err: status.Error(codes.DeadlineExceeded, "context deadline exceeded while at 10.0.0.1"),
			code: codes.DeadlineExceeded, message: "the deadline of the call has passed", cause: true},
		{name: "the client left", call: Call{parent: gone, ctx: gone, stream: stubStream{}}, err: status.Error(codes.Unavailable, "10.0.0.1"),
			code: codes.Canceled, message: "the client went away", cause: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			call := tc.call
			call.method = &Method{}
			if call.parent == nil {
				call.parent = t.Context()
			}
			if call.ctx == nil {
				call.ctx = t.Context()
			}
			e := call.failed(tc.err)
			if e.Code() != tc.code || e.Status.GetMessage() != tc.message || (e.Unwrap() != nil) != tc.cause || e.Header.Get("Retry-After") != tc.retry {
				t.Errorf("got %v %q, cause %v, header %v", e.Code(), e.Status.GetMessage(), e.Unwrap(), e.Header)
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
