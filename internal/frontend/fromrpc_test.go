package frontend

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
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
			call := Call{method: &Method{}, parent: tc.parent, opts: new(Options), info: new(Info)}
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

func TestTextsThatStayInTheGateway(t *testing.T) {
	st, err := status.New(codes.Internal, "panic at main.go:7").WithDetails(
		&errdetails.DebugInfo{Detail: "goroutine 1"}, &errdetails.RetryInfo{RetryDelay: durationpb.New(time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name    string
		opts    Options
		err     error
		message string
		hidden  string // what the log has of it
		retry   string
	}{
		{name: "shown by default", err: st.Err(), message: "panic at main.go:7"},
		{name: "shown by other options", opts: Options{Answers: &Answers{}}, err: st.Err(), message: "panic at main.go:7"},
		{name: "INTERNAL", opts: Options{Answers: &Answers{HideInternal: true}}, err: st.Err(), message: "the service failed",
			hidden: `INTERNAL: panic at main.go:7 [{"@type":"type.googleapis.com/google.rpc.DebugInfo","detail":"goroutine 1"},` +
				`{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"1s"}]`},
		{name: "the time to wait is not a text", err: st.Err(), message: "the service failed", retry: "1",
			opts:   Options{Answers: &Answers{HideInternal: true, HTTPStatus: map[codes.Code]int{codes.Internal: 503}}},
			hidden: "INTERNAL: panic at main.go:7 "},
		{name: "UNKNOWN", opts: Options{Answers: &Answers{HideInternal: true}}, err: status.Error(codes.Unknown, "sql: x"),
			message: "the service failed", hidden: "UNKNOWN: sql: x"},
		{name: "DATA_LOSS", opts: Options{Answers: &Answers{HideInternal: true}}, err: status.Error(codes.DataLoss, "disk 3"),
			message: "the service failed", hidden: "DATA_LOSS: disk 3"},
		{name: "a code that gRPC does not have", opts: Options{Answers: &Answers{HideInternal: true}}, err: status.Error(77, "x"),
			message: "the service failed", hidden: "CODE(77): x"},
		{name: "another code", opts: Options{Answers: &Answers{HideInternal: true}}, err: status.Error(codes.Unauthenticated, "who?"), message: "who?"},
		{name: "of the gateway itself", opts: Options{Answers: &Answers{HideInternal: true}}, err: localError{code: codes.Internal},
			message: "no instance of the service can be reached", hidden: "10.0.0.1:1 is away"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			info := &Info{Protocol: "rest"}
			call := Call{method: &Method{}, parent: t.Context(), opts: &tc.opts, info: info}
			e := call.failed(tc.err)
			info.Fail(e)
			if e.Status.GetMessage() != tc.message || e.Code() != status.Code(tc.err) {
				t.Errorf("the client sees %v", e.Status)
			}
			if tc.message == "the service failed" && len(e.Status.GetDetails()) > 0 {
				t.Errorf("the client sees details: %v", e.Status)
			}
			if !strings.HasPrefix(info.Err.Error(), tc.hidden) {
				t.Errorf("the log has %q, want %q", info.Err, tc.hidden)
			}
			if got := e.Header.Get("Retry-After"); got != tc.retry {
				t.Errorf("Retry-After %q, want %q", got, tc.retry)
			}
		})
	}
}
