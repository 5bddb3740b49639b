package validation

import (
	"fmt"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/caddy-grpc/gateway/checks"
)

// The limits of the error. In gRPC the whole status is one header field, and many servers and
// proxies take no more than 8 or 16 KiB of those.
const (
	// maxViolations is how many violations a client is told about.
	maxViolations = 100
	// maxStatus is the largest google.rpc.Status, in bytes on the wire.
	maxStatus = 8 << 10
	// maxText is the longest path and the longest description, in bytes.
	maxText = 1 << 10
	// maxMessage is the longest message of the status, in bytes.
	maxMessage = 512
)

// status is the status of a refusal. It has as many violations as the limits allow.
func (s *Settings) status(r *checks.Refusal) *spb.Status {
	st := &spb.Status{Code: int32(codes.InvalidArgument), Message: shortened(s.message(r), maxMessage)}
	for n := min(len(r.Violations), maxViolations); n > 0; {
		st.Details = s.details(r, n)
		size := proto.Size(st)
		if size <= maxStatus {
			return st
		}
		if n == 1 {
			break
		}
		n = max(1, min(n-1, n*maxStatus/size))
	}
	// One violation alone is too large. It is one with a long path, and the checker's own detail
	// has that in full.
	if len(r.Violations) > 0 {
		st.Details = s.details(&checks.Refusal{Violations: r.Violations}, 1)
	}
	return st
}

// message is the text of the status: the first violation, and how many more there are.
func (s *Settings) message(r *checks.Refusal) string {
	if r.Message != "" {
		return r.Message
	}
	if len(r.Violations) == 0 {
		return "the request message is not valid"
	}
	first := &r.Violations[0]
	text := "the request message is not valid: "
	if path := first.Path(s.nameOf); path != "" {
		text += shortened(path, maxMessage/4) + ": "
	}
	text += shortened(describe(first), maxMessage/4)
	if more := max(len(r.Violations), r.Total) - 1; more > 0 {
		text += fmt.Sprintf(" (and %d more)", more)
	}
	return text
}

func describe(v *checks.Violation) string {
	if v.Description == "" {
		return v.Rule
	}
	return v.Description
}

// details are a google.rpc.BadRequest with the first n violations, and the detail of the checker.
func (s *Settings) details(r *checks.Refusal, n int) []*anypb.Any {
	bad := new(errdetails.BadRequest)
	for i := range r.Violations[:n] {
		v := &r.Violations[i]
		bad.FieldViolations = append(bad.FieldViolations, &errdetails.BadRequest_FieldViolation{
			Field:       shortened(v.Path(s.nameOf), maxText),
			Description: shortened(describe(v), maxText),
			Reason:      shortened(v.Rule, maxText),
		})
	}
	details := appendDetail(nil, bad)
	if own := ownDetail(r, n); own != nil {
		details = appendDetail(details, own)
	}
	return details
}

// ownDetail is the detail of the checker. A checker that panics must not cost the answer.
func ownDetail(r *checks.Refusal, n int) (own proto.Message) {
	defer func() {
		if recover() != nil {
			own = nil
		}
	}()
	if r.Detail == nil {
		return nil
	}
	return r.Detail(n)
}

// appendDetail adds a detail. One that cannot be encoded is left out, because the others are worth
// having.
func appendDetail(details []*anypb.Any, m proto.Message) []*anypb.Any {
	detail, err := anypb.New(m)
	if err != nil {
		return details
	}
	return append(details, detail)
}

// shortened cuts a text to most bytes.
func shortened(text string, most int) string {
	if len(text) > most {
		text = text[:most-len("…")] + "…"
	}
	return strings.ToValidUTF8(text, "")
}
