package frontend

import (
	"net/http"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/anypb"
)

func TestErrorStatus(t *testing.T) {
	mapped := Options{Answers: &Answers{HTTPStatus: map[codes.Code]int{codes.FailedPrecondition: 412, codes.Unimplemented: 404}}}
	for _, tc := range []struct {
		name string
		opts Options
		err  *Error
		want int
	}{
		{"without a map", Options{}, Errorf(codes.FailedPrecondition, ""), 400},
		{"with answers that have none", Options{Answers: &Answers{}}, Errorf(codes.FailedPrecondition, ""), 400},
		{"in the map", mapped, Errorf(codes.FailedPrecondition, ""), 412},
		{"not in the map", mapped, Errorf(codes.NotFound, ""), 404},
		{"a more precise status stays", mapped, Errorf(codes.Unimplemented, "").WithHTTP(http.StatusMethodNotAllowed), 405},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := tc.opts.ErrorStatus(tc.err); got != tc.want {
				t.Errorf("got %d, want %d", got, tc.want)
			}
		})
	}
}

func TestErrorsInTheEnvelope(t *testing.T) {
	envelope := &Answers{Envelope: &Envelope{Code: "errno", Message: "msg", Data: "result"}}
	details := []*anypb.Any{anyOf(t, &errdetails.ErrorInfo{Reason: "r"})}
	for _, tc := range []struct {
		name    string
		answers *Answers
		st      *spb.Status
		want    string
	}{
		{"none", nil, &spb.Status{Code: 5, Message: "gone"}, `{"code":5,"message":"gone"}`},
		{"an error", envelope, &spb.Status{Code: 5, Message: "gone"}, `{"errno":5,"msg":"gone","result":null}`},
		{"with details", envelope, &spb.Status{Code: 5, Details: details},
			`{"errno":5,"msg":"","result":null,"details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"r"}]}`},
		{"names and texts that need quotes", &Answers{Envelope: &Envelope{Code: `a"b`, Message: "m\xff", Data: "d\n"}}, &spb.Status{Code: 5, Message: `"`},
			"{\"a\\\"b\":5,\"m\uFFFD\":\"\\\"\",\"d\\n\":null}"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			opts := Options{Answers: tc.answers}
			if got := string(opts.AppendErrorJSON(nil, &Error{Status: tc.st})); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

func TestChallenge(t *testing.T) {
	for _, tc := range []struct {
		name   string
		status int
		given  []string
		want   []string
	}{
		{"none", 401, nil, []string{"Bearer"}},
		{"an empty one is none", 401, []string{" "}, []string{"Bearer"}},
		{"the service's", 401, []string{`Basic realm="x"`, "Bearer"}, []string{`Basic realm="x"`, "Bearer"}},
		{"another status", 403, nil, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := http.Header{}
			if tc.given != nil {
				h["Www-Authenticate"] = tc.given
			}
			Challenge(h, tc.status)
			if got := h.Values("WWW-Authenticate"); len(got) != len(tc.want) || len(got) > 0 && got[0] != tc.want[0] {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}
