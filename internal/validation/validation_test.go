package validation

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/caddy-grpc/gateway/checks"
)

// checkFunc is a check.
type checkFunc func() error

func (f checkFunc) Message(context.Context, []byte) error { return f() }

func pass() error { return nil }

// field is a field with two names.
func field() protoreflect.FieldDescriptor {
	return new(errdetails.BadRequest).ProtoReflect().Descriptor().Fields().ByName("field_violations")
}

func TestGuard(t *testing.T) {
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	violation := checks.Violation{Field: []checks.Step{{Field: field(), Subscript: "0"}, {Name: "part"}}, Rule: "r", Description: "must not be"}
	for name, tt := range map[string]struct {
		ctx      context.Context
		settings Settings
		check    checkFunc
		want     string // "CODE: message"
		result   Result // Of the last message. -1: nobody is told.
	}{
		"valid":        {check: pass, result: Valid},
		"message":      {check: func() error { return &checks.Refusal{Message: "no"} }, want: "INVALID_ARGUMENT: no", result: Invalid},
		"nothing said": {check: func() error { return new(checks.Refusal) }, want: "INVALID_ARGUMENT: the request message is not valid", result: Invalid},
		"wrapped":      {check: func() error { return fmt.Errorf("x: %w", &checks.Refusal{Message: "no"}) }, want: "INVALID_ARGUMENT: no", result: Invalid},
		"violation":    {check: func() error { return &checks.Refusal{Violations: []checks.Violation{violation}} }, want: "INVALID_ARGUMENT: the request message is not valid: fieldViolations[0].part: must not be", result: Invalid},
		"other names":  {settings: Settings{ProtoNames: true}, check: func() error { return &checks.Refusal{Violations: []checks.Violation{violation}} }, want: "INVALID_ARGUMENT: the request message is not valid: field_violations[0].part: must not be", result: Invalid},
		"several": {check: func() error {
			return &checks.Refusal{Violations: []checks.Violation{{Rule: "a"}, violation, violation}}
		}, want: "INVALID_ARGUMENT: the request message is not valid: a (and 2 more)", result: Invalid},
		"another error":  {check: func() error { return errors.New("S3CRET") }, want: "INVALID_ARGUMENT: the request message could not be checked", result: Failed},
		"panic":          {check: func() error { panic("S3CRET") }, want: "INVALID_ARGUMENT: the request message could not be checked", result: Failed},
		"client left":    {ctx: gone, check: func() error { return context.Canceled }, want: "CANCELLED: the call has ended before its message was checked", result: -1},
		"warn":           {settings: Settings{Warn: true}, check: func() error { return &checks.Refusal{Message: "no"} }, result: Invalid},
		"warn, panic":    {settings: Settings{Warn: true}, check: func() error { panic("S3CRET") }, result: Failed},
		"warn, no error": {settings: Settings{Warn: true}, check: pass, result: Valid},
	} {
		t.Run(name, func(t *testing.T) {
			told := Result(-1)
			tt.settings.Judged = func(r Result, err error) {
				told = r
				if (err == nil) != (r == Valid) {
					t.Errorf("%s comes with the error %v", r, err)
				}
			}
			if tt.ctx == nil {
				tt.ctx = t.Context()
			}
			got := ""
			if err := Guard([]checks.Check{checkFunc(pass), tt.check}, nil, tt.settings)(tt.ctx, nil); err != nil {
				got = strings.ToUpper(strings.ReplaceAll(fmt.Sprint(codeName(err.Code())), " ", "_")) + ": " + err.Status.GetMessage()
			}
			if got != tt.want || told != tt.result {
				t.Errorf("got %q and result %d, want %q and %d", got, told, tt.want, tt.result)
			}
		})
	}
	if Guard(nil, nil, Settings{}) != nil {
		t.Error("a method without checks has a guard")
	}
}

func codeName(c codes.Code) string {
	if c == codes.Canceled {
		return "CANCELLED"
	}
	return map[codes.Code]string{codes.InvalidArgument: "INVALID_ARGUMENT"}[c]
}

func panicking(r *checks.Refusal) *checks.Refusal {
	r.Detail = func(int) proto.Message { panic("a checker with a bug") }
	return r
}

// TestLimits keeps the error within what header fields may have, whatever a client has sent.
func TestLimits(t *testing.T) {
	list := func(n int, path string) *checks.Refusal {
		r := new(checks.Refusal)
		for i := range n {
			r.Violations = append(r.Violations, checks.Violation{
				Field: []checks.Step{{Field: field(), Subscript: fmt.Sprint(i)}, {Name: path}}, Rule: "r", Description: "d",
			})
		}
		r.Detail = func(n int) proto.Message { return wrapperspb.String(strings.Repeat(path, n)) }
		return r
	}
	for name, tt := range map[string]struct {
		refusal  *checks.Refusal
		low      int // At least as many violations are told.
		high     int
		details  int
		longPath bool
	}{
		"few":             {refusal: list(3, "x"), low: 3, high: 3, details: 2},
		"many":            {refusal: list(10_000, "x"), low: 100, high: 100, details: 2},
		"long":            {refusal: list(100, strings.Repeat("x", 200)), low: 15, high: 25, details: 2},
		"one is too long": {refusal: list(2, strings.Repeat("x", 1<<20)), low: 1, high: 1, details: 1, longPath: true},
		"panic":           {refusal: panicking(list(1, "x")), low: 1, high: 1, details: 1},
		"not UTF-8":       {refusal: list(1, "\xff"), low: 1, high: 1, details: 1},
	} {
		t.Run(name, func(t *testing.T) {
			st := new(Settings).status(tt.refusal)
			if size := proto.Size(st); size > maxStatus || len(st.GetMessage()) > maxMessage {
				t.Errorf("the status has %d bytes, its message %d", size, len(st.GetMessage()))
			}
			bad := new(errdetails.BadRequest)
			if len(st.GetDetails()) != tt.details || st.GetDetails()[0].UnmarshalTo(bad) != nil {
				t.Fatalf("%d details", len(st.GetDetails()))
			}
			if n := len(bad.GetFieldViolations()); n < tt.low || n > tt.high {
				t.Errorf("%d violations are told", n)
			}
			if got := bad.GetFieldViolations()[0].GetField(); tt.longPath != strings.HasSuffix(got, "…") || !strings.HasPrefix(got, "fieldViolations[0].") {
				t.Errorf("the path is %.100q", got)
			}
		})
	}
}
