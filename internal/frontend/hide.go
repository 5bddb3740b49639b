package frontend

import (
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"

	"github.com/caddy-grpc/gateway/internal/transcode"
)

// hides reports whether the config keeps the texts of errors with this code from clients. These are
// the codes by which a service says that something is broken inside of it. A code that gRPC does
// not have counts as UNKNOWN, which is what clients make of it.
func (o *Options) hides(code codes.Code) bool {
	if o.Answers == nil || !o.Answers.HideInternal {
		return false
	}
	switch code {
	case codes.Internal, codes.Unknown, codes.DataLoss:
		return true
	default:
		return code > codes.Unauthenticated
	}
}

// hide replaces the texts of a status that a service sent. The cause has them, for the log. Errors
// of the gateway itself have no texts that a client may not see.
func (e *Error) hide() {
	e.cause = &hiddenError{e.Status, e.Types}
	e.Status = &spb.Status{Code: e.Status.GetCode(), Message: "the service failed"}
}

// hiddenError is a status of which the client sees only the code.
type hiddenError struct {
	status *spb.Status
	types  transcode.Resolver
}

// Error has the details as well, because no other place does.
func (e *hiddenError) Error() string {
	s := CodeName(codes.Code(e.status.GetCode())) + ": " + e.status.GetMessage()
	if details := e.status.GetDetails(); len(details) > 0 {
		s += " " + string(AppendDetailsJSON(nil, details, e.types))
	}
	return s
}
