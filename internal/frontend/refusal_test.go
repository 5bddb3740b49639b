package frontend

import (
	"net/http"
	"reflect"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
)

func TestRefusalCodes(t *testing.T) {
	for _, tc := range []struct {
		status int
		code   codes.Code
		http   int // for REST
		text   string
	}{
		{401, codes.Unauthenticated, 401, "Unauthorized"},
		{403, codes.PermissionDenied, 403, "Forbidden"},
		{404, codes.NotFound, 404, "Not Found"},
		{413, codes.ResourceExhausted, 413, "Request Entity Too Large"},
		{429, codes.ResourceExhausted, 429, "Too Many Requests"},
		{499, codes.Canceled, 499, "HTTP 499"},
		{503, codes.Unavailable, 503, "Service Unavailable"},
		{504, codes.DeadlineExceeded, 504, "Gateway Timeout"},
		// The request itself is wrong.
		{400, codes.InvalidArgument, 400, "Bad Request"},
		{405, codes.InvalidArgument, 405, "Method Not Allowed"},
		{406, codes.InvalidArgument, 406, "Not Acceptable"},
		{415, codes.InvalidArgument, 415, "Unsupported Media Type"},
		{422, codes.InvalidArgument, 422, "Unprocessable Entity"},
		{431, codes.InvalidArgument, 431, "Request Header Fields Too Large"},
		{460, codes.InvalidArgument, 460, "HTTP 460"},
		// It came in the wrong state.
		{402, codes.FailedPrecondition, 402, "Payment Required"},
		{409, codes.FailedPrecondition, 409, "Conflict"},
		{410, codes.FailedPrecondition, 410, "Gone"},
		{412, codes.FailedPrecondition, 412, "Precondition Failed"},
		{423, codes.FailedPrecondition, 423, "Locked"},
		{425, codes.FailedPrecondition, 425, "Too Early"},
		{428, codes.FailedPrecondition, 428, "Precondition Required"},
		{451, codes.FailedPrecondition, 451, "Unavailable For Legal Reasons"},
		{500, codes.Internal, 500, "Internal Server Error"},
		{501, codes.Internal, 501, "Not Implemented"},
		{502, codes.Internal, 502, "Bad Gateway"},
		{599, codes.Internal, 599, "HTTP 599"},
		{999, codes.Internal, 999, "HTTP 999"},
		// No error at all. An error for REST cannot have a status that is none.
		{101, codes.Unknown, 500, "the policy answered with HTTP 101"},
		{200, codes.Unknown, 500, "the policy answered with HTTP 200"},
		{204, codes.Unknown, 500, "the policy answered with HTTP 204"},
		{302, codes.Unknown, 302, "the policy answered with HTTP 302"},
		// No status of HTTP.
		{0, codes.Internal, 500, "Internal Server Error"},
		{-1, codes.Internal, 500, "Internal Server Error"},
		{1000, codes.Internal, 500, "Internal Server Error"},
	} {
		e := Refusal(tc.status, "", nil)
		if e.Code() != tc.code || e.HTTP() != tc.http || e.Status.GetMessage() != tc.text || e.Header != nil || e.Status.Details != nil {
			t.Errorf("%d: %s, %d, %q, %v, want %s, %d, %q", tc.status, CodeName(e.Code()), e.HTTP(), e.Status.GetMessage(), e.Header,
				CodeName(tc.code), tc.http, tc.text)
		}
	}
	if e := Refusal(403, "not you", nil); e.Status.GetMessage() != "not you" {
		t.Errorf("the message: %q", e.Status.GetMessage())
	}
}

func TestRefusalHeaders(t *testing.T) {
	h := http.Header{
		"Www-Authenticate": {`Basic realm="a"`, `Bearer`}, "Set-Cookie": {"a=1", "b=2"}, "Location": {"/login"}, "Retry-After": {"3"},
		"Content-Type": {"text/html"}, "X-Other": {"x"},
	}
	e := Refusal(429, "", h)
	want := http.Header{
		"Www-Authenticate": {`Basic realm="a"`, `Bearer`}, "Set-Cookie": {"a=1", "b=2"}, "Location": {"/login"}, "Retry-After": {"3"},
	}
	if !reflect.DeepEqual(e.Header, want) {
		t.Errorf("got %v, want %v", e.Header, want)
	}
	h["Set-Cookie"][0] = "changed"
	if e.Header["Set-Cookie"][0] != "a=1" {
		t.Error("the error shares its values with the response")
	}
	var info errdetails.RetryInfo
	if len(e.Status.Details) != 1 || e.Status.Details[0].UnmarshalTo(&info) != nil || info.GetRetryDelay().AsDuration() != 3*time.Second {
		t.Errorf("details: %v", e.Status.Details)
	}
}

func TestParseRetryAfter(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 5e8, time.UTC)
	for _, tc := range []struct {
		value   string
		seconds int64 // -1: not valid
	}{
		{"0", 0},
		{"120", 120},
		{" 7 ", 7},
		{"99999999999999999999999", 315_576_000_000},
		{"Sun, 01 Mar 2026 12:00:10 GMT", 10}, // 9.5 s are rounded up
		{"Sunday, 01-Mar-26 12:01:00 GMT", 60},
		{"Sun, 01 Mar 2026 11:00:00 GMT", 0},
		{"", -1},
		{"-1", -1},
		{"+1", -1},
		{"1.5", -1},
		{"soon", -1},
	} {
		d, ok := parseRetryAfter(tc.value, now)
		if ok != (tc.seconds >= 0) || ok && (d.GetSeconds() != tc.seconds || d.GetNanos() != 0 || d.CheckValid() != nil) {
			t.Errorf("%q: %v, %v, want %d", tc.value, d, ok, tc.seconds)
		}
	}
}
