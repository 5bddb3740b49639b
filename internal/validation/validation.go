// Package validation puts the checks of request messages into a method (frontend.Method.Check): it
// runs them, and makes the error that clients see, within limits. It knows no rules. Those are the
// business of the guest modules (package checks).
package validation

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/caddy-grpc/gateway/checks"
	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/transcode"
)

// Result is how a message was judged.
type Result int

// The results. Failed means that a check could not judge the message.
const (
	Valid Result = iota
	Invalid
	Failed
)

// NumResults is the number of results.
const NumResults = 3

// String is the name of the result in metrics and logs.
func (r Result) String() string { return [NumResults]string{"valid", "invalid", "failed"}[r] }

// Settings say what happens to messages.
type Settings struct {
	// Warn lets messages pass that are not valid. Default: false, they are refused.
	Warn bool
	// ProtoNames writes the names of fields as in the .proto file. Default: false, as in JSON.
	ProtoNames bool
	// Judged is told about each message. err is why it is not valid, and is for the log. Default:
	// nil, nobody is told.
	Judged func(r Result, err error)
}

// Guard returns the Check of a method, or nil if there is nothing to check. The first check that
// does not let a message pass decides.
func Guard(list []checks.Check, types transcode.Resolver, s Settings) func(context.Context, []byte) *frontend.Error {
	if len(list) == 0 {
		return nil
	}
	if s.Judged == nil {
		s.Judged = func(Result, error) {}
	}
	return func(ctx context.Context, wire []byte) *frontend.Error {
		for _, c := range list {
			if err := message(ctx, c, wire); err != nil {
				return s.refuse(ctx, err, types)
			}
		}
		s.Judged(Valid, nil)
		return nil
	}
}

// message asks one check. A panic of a check is an error, and says where.
func message(ctx context.Context, c checks.Check, wire []byte) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return c.Message(ctx, wire)
}

// refuse makes the error of a message that did not pass. It is nil if that is only reported.
func (s *Settings) refuse(ctx context.Context, err error, types transcode.Resolver) *frontend.Error {
	var refusal *checks.Refusal
	if !errors.As(err, &refusal) {
		if ctx.Err() != nil {
			return frontend.Errorf(status.FromContextError(ctx.Err()).Code(), "the call has ended before its message was checked").WithCause(err)
		}
		s.Judged(Failed, err)
		if s.Warn {
			return nil
		}
		return frontend.Errorf(codes.InvalidArgument, "the request message could not be checked").WithCause(err)
	}
	s.Judged(Invalid, err)
	if s.Warn {
		return nil
	}
	return &frontend.Error{Status: s.status(refusal), Types: types}
}

// nameOf is the name of a field as the client writes it.
func (s *Settings) nameOf(fd protoreflect.FieldDescriptor) string {
	if s.ProtoNames {
		return fd.TextName()
	}
	return fd.JSONName()
}
