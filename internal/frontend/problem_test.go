package frontend

import (
	"bytes"
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/caddy-grpc/gateway/internal/transcode"
)

func TestAppendProblemJSON(t *testing.T) {
	violations := func(fields ...string) *errdetails.BadRequest {
		bad := new(errdetails.BadRequest)
		for _, f := range fields {
			bad.FieldViolations = append(bad.FieldViolations, &errdetails.BadRequest_FieldViolation{Field: f, Description: "bad"})
		}
		return bad
	}
	for _, tc := range []struct {
		name    string
		code    codes.Code
		message string
		details []*anypb.Any
		status  int
		types   transcode.Resolver
		want    string
	}{
		{name: "no more than a code", code: codes.NotFound, status: 404, want: `{"type":"about:blank","title":"NOT_FOUND","status":404}`},
		{name: "a message", code: codes.NotFound, message: "no \"x\"\n", status: 404,
			want: `{"type":"about:blank","title":"NOT_FOUND","status":404,"detail":"no \"x\"\n"}`},
		{name: "a code that gRPC does not have", code: 77, status: 500, want: `{"type":"about:blank","title":"CODE(77)","status":500}`},
		{name: "a status of the config", code: codes.FailedPrecondition, status: 412,
			want: `{"type":"about:blank","title":"FAILED_PRECONDITION","status":412}`},
		{name: "a status that no problem can have", code: codes.Unknown, status: 777, want: `{"type":"about:blank","title":"UNKNOWN"}`},
		{name: "a message that is not UTF-8", code: codes.NotFound, message: "a\xffb\x00", status: 404,
			want: "{\"type\":\"about:blank\",\"title\":\"NOT_FOUND\",\"status\":404,\"detail\":\"a\uFFFDb\\u0000\"}"},
		{name: "an ErrorInfo", code: codes.NotFound, status: 404,
			details: []*anypb.Any{anyOf(t, &errdetails.ErrorInfo{Domain: "books.example.com", Reason: "BOOK_GONE"})},
			want: `{"type":"https://books.example.com/BOOK_GONE","title":"NOT_FOUND","status":404,` +
				`"details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"BOOK_GONE","domain":"books.example.com"}]}`},
		{name: "the field violations of two BadRequests", code: codes.InvalidArgument, status: 400,
			details: []*anypb.Any{anyOf(t, violations("a", "b.c")), anyOf(t, violations()), anyOf(t, violations("d"))},
			want: `{"type":"about:blank","title":"INVALID_ARGUMENT","status":400,` +
				`"errors":[{"field":"a","description":"bad"},{"field":"b.c","description":"bad"},{"field":"d","description":"bad"}],` +
				`"details":[{"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":[{"field":"a","description":"bad"},{"field":"b.c","description":"bad"}]},` +
				`{"@type":"type.googleapis.com/google.rpc.BadRequest"},` +
				`{"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":[{"field":"d","description":"bad"}]}]}`},
		{name: "a violation in full, by the json options of the handler", code: codes.InvalidArgument, status: 400,
			types: transcode.NewCompiler(protoregistry.GlobalTypes, transcode.Options{UseProtoNames: true}),
			details: []*anypb.Any{anyOf(t, &errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{
				Field: "a", Description: "b", Reason: "C", LocalizedMessage: &errdetails.LocalizedMessage{Locale: "de", Message: "d"},
			}}})},
			want: `{"type":"about:blank","title":"INVALID_ARGUMENT","status":400,` +
				`"errors":[{"field":"a","description":"b","reason":"C","localized_message":{"locale":"de","message":"d"}}],` +
				`"details":[{"@type":"type.googleapis.com/google.rpc.BadRequest","field_violations":[{"field":"a","description":"b","reason":"C",` +
				`"localized_message":{"locale":"de","message":"d"}}]}]}`},
		{name: "details that are broken, or of an unknown type", code: codes.InvalidArgument, status: 400,
			details: []*anypb.Any{
				{TypeUrl: "type.googleapis.com/google.rpc.BadRequest", Value: []byte{0xff}},
				{TypeUrl: "type.googleapis.com/google.rpc.ErrorInfo", Value: []byte{0xff}},
				{TypeUrl: "type.googleapis.com/secret.Thing", Value: []byte{1}},
			},
			want: `{"type":"about:blank","title":"INVALID_ARGUMENT","status":400,` +
				`"details":[{"@type":"type.googleapis.com/google.rpc.BadRequest","value":"/w=="},` +
				`{"@type":"type.googleapis.com/google.rpc.ErrorInfo","value":"/w=="},{"@type":"type.googleapis.com/secret.Thing","value":"AQ=="}]}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := &Error{Status: &spb.Status{Code: int32(tc.code), Message: tc.message, Details: tc.details}, Types: tc.types}
			if got := string(AppendProblemJSON([]byte("x"), e, tc.status)); got != "x"+tc.want {
				t.Errorf("got  %s\nwant x%s", got, tc.want)
			}
		})
	}
}

func TestProblemType(t *testing.T) {
	for _, tc := range []struct{ name, domain, reason, want string }{
		{"as ErrorInfo asks for", "pubsub.googleapis.com", "API_DISABLED", "https://pubsub.googleapis.com/API_DISABLED"},
		{"a name without dots", "shop_1", "GONE", "https://shop_1/GONE"},
		{"no domain", "", "GONE", "about:blank"},
		{"no reason", "a.example", "", "about:blank"},
		{"a domain with spaces", "My Shop", "GONE", "about:blank"},
		{"a domain with a port", "a.example:8080", "GONE", "about:blank"},
		{"a domain with a user", "me@a.example", "GONE", "about:blank"},
		{"a domain that is a URL", "https://a.example/x", "GONE", "about:blank"},
		{"a domain with a control character", "a\n.example", "GONE", "about:blank"},
		{"a domain of other letters", "bücher.example", "GONE", "about:blank"},
		{"an empty label", "a..example", "GONE", "about:blank"},
		{"a dot at the end", "a.example.", "GONE", "about:blank"},
		{"an IP address", "127.0.0.1", "GONE", "about:blank"},
		{"a domain that is too long", strings.Repeat("a", 254), "GONE", "about:blank"},
		{"a reason with a slash", "a.example", "a/b", "https://a.example/a%2Fb"},
		{"a reason with a control character", "a.example", "a\x00\nb", "https://a.example/a%00%0Ab"},
		{"a reason with a question", "a.example", "a?b#c d", "https://a.example/a%3Fb%23c%20d"},
		{"a reason of other letters", "a.example", "ü", "https://a.example/%C3%BC"},
		{"a reason that is a step", "a.example", "..", "about:blank"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			details := []*anypb.Any{anyOf(t, &errdetails.ErrorInfo{Domain: tc.domain, Reason: tc.reason})}
			if got := problemType(details); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
	t.Run("the first that can be a URI", func(t *testing.T) {
		details := []*anypb.Any{
			anyOf(t, &errdetails.RetryInfo{}), anyOf(t, &errdetails.ErrorInfo{Reason: "A"}),
			anyOf(t, &errdetails.ErrorInfo{Domain: "b", Reason: "B"}), anyOf(t, &errdetails.ErrorInfo{Domain: "c", Reason: "C"}),
		}
		if got := problemType(details); got != "https://b/B" {
			t.Errorf("got %q", got)
		}
	})
}

// wantProblem checks a document by the rules of RFC 9457. e2e/http does so with its schema.
func wantProblem(t *testing.T, text []byte) {
	t.Helper()
	var p struct {
		Type, Title, Detail *string
		Status              *int
		Errors, Details     []map[string]any
	}
	if err := json.Unmarshal(text, &p); err != nil || !utf8.Valid(text) || bytes.ContainsAny(text, "\r\n") {
		t.Fatalf("%q: %v", text, err)
	}
	if p.Type == nil || p.Title == nil || *p.Title == "" || p.Status == nil {
		t.Fatalf("%q: a member is missing", text)
	}
	if u, err := url.Parse(*p.Type); err != nil || !u.IsAbs() || strings.IndexFunc(*p.Type, func(r rune) bool { return r <= ' ' || r >= 0x7f }) >= 0 {
		t.Fatalf("type %q: %v", *p.Type, err)
	}
}

// FuzzProblem makes a document of any bytes that a service may send as its status.
func FuzzProblem(f *testing.F) {
	for _, d := range []proto.Message{
		&errdetails.ErrorInfo{Domain: "a.example", Reason: "B", Metadata: map[string]string{"k": "v"}},
		&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "f", Description: "d"}}},
		&errdetails.DebugInfo{StackEntries: []string{"main.go:1"}},
	} {
		wire, err := proto.Marshal(&spb.Status{Code: 3, Message: "no", Details: []*anypb.Any{anyOf(f, d)}})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire)
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		var st spb.Status
		if proto.Unmarshal(wire, &st) != nil {
			return // It is no status.
		}
		e := &Error{Status: &st}
		wantProblem(t, AppendProblemJSON(nil, e, 500))
		for _, text := range [][]byte{AppendStatusJSON(nil, &st, nil), AppendDetailsJSON(nil, st.GetDetails(), nil)} {
			if !json.Valid(text) || !utf8.Valid(text) {
				t.Fatalf("%q", text)
			}
		}
	})
}

// Fields of a status that gRPC carries in headers of their own are not checked by protobuf.
func TestProblemsOfTextsThatAreNotUTF8(t *testing.T) {
	for _, text := range []string{"\xff\xfe", "\xed\xa0\x80", "a\x00\x1b[31m\u2028", strings.Repeat("\xff", 100_000)} {
		e := &Error{Status: &spb.Status{Code: 2, Message: text, Details: []*anypb.Any{
			{TypeUrl: text, Value: []byte(text)}, {TypeUrl: "type.googleapis.com/google.rpc.ErrorInfo", Value: append([]byte{10, 2}, text[:2]...)},
		}}}
		wantProblem(t, AppendProblemJSON(nil, e, 500))
	}
}
