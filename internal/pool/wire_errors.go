package pool

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/caddy-grpc/gateway/internal/rpcwire"
)

// wireError is the error of a call over rpcwire that has no status of the instance.
type wireError struct {
	kind  failure
	code  codes.Code
	cause error
}

func (e *wireError) Error() string {
	return fmt.Sprintf("rpc error: code = %s desc = %s", e.code, e.cause)
}

// Unwrap returns the reason, which is an *rpcwire.Error if the call was started.
func (e *wireError) Unwrap() error { return e.cause }

// GRPCStatus returns the status for callers that do not ask for the type.
func (e *wireError) GRPCStatus() *grpcstatus.Status {
	return grpcstatus.New(e.code, e.cause.Error())
}

// wireKinds maps what rpcwire says to the kinds of this package.
var wireKinds = [...]failure{
	rpcwire.KindCancelled:       failureCancelled,
	rpcwire.KindDeadline:        failureDeadline,
	rpcwire.KindLost:            failureLost,
	rpcwire.KindDraining:        failureLost,
	rpcwire.KindReset:           failureReset,
	rpcwire.KindNotGRPC:         failureNotGRPC,
	rpcwire.KindRequestTooLarge: failureHeadersTooLarge,
	rpcwire.KindAnswerTooLarge:  failureAnswerTooLarge,
	rpcwire.KindNotOneMessage:   failureNotOneMessage,
	rpcwire.KindCompression:     failureOther,
	rpcwire.KindInvalid:         failureOther,
}

// statusHeadersTooLarge is what proxies answer if the headers of a request are too large.
const statusHeadersTooLarge = 431

// newWireError makes the error of a call that has failed.
func newWireError(e *rpcwire.Error) *wireError {
	w := &wireError{kind: wireKinds[e.Kind], code: e.Code, cause: e}
	switch {
	case e.HTTPStatus == statusHeadersTooLarge:
		w.kind = failureHeadersTooLarge
	case e.Kind == rpcwire.KindCancelled && errors.Is(e.Cause, context.DeadlineExceeded):
		w.kind, w.code = failureDeadline, codes.DeadlineExceeded
	}
	return w
}

// endedBefore is the error of a call whose context had ended before the call began.
func endedBefore(err error) *wireError {
	if errors.Is(err, context.DeadlineExceeded) {
		return &wireError{kind: failureDeadline, code: codes.DeadlineExceeded, cause: err}
	}
	return &wireError{kind: failureCancelled, code: codes.Canceled, cause: err}
}

// badMessage is the error for a message that cannot be encoded or decoded.
func badMessage(format string, args ...any) *wireError {
	return &wireError{kind: failureOther, code: codes.Internal, cause: fmt.Errorf(format, args...)}
}

// detailsField has the status with its details, as a message (google.rpc.Status).
const detailsField = "grpc-status-details-bin"

// statusError makes the error for a status of the instance. Like grpc-go, it takes the details only
// if there is one such field, and if their code is that of the status.
func statusError(st rpcwire.Status, trailer []rpcwire.Field) error {
	if st.Code == codes.OK {
		return nil
	}
	var details []string
	for _, f := range trailer {
		if f.Name == detailsField {
			details = append(details, f.Value)
		}
	}
	full := new(status.Status)
	if len(details) != 1 || proto.Unmarshal([]byte(details[0]), full) != nil {
		return grpcstatus.Error(st.Code, st.Message)
	}
	if full.GetCode() != int32(st.Code) {
		return grpcstatus.Errorf(codes.Internal, "grpc-status-details-bin mismatch: grpc-status=%v, grpc-message=%q, grpc-status-details-bin=%+v",
			st.Code, st.Message, full)
	}
	return grpcstatus.FromProto(full).Err()
}

// gistOfLoss is what a stranger may know about the loss of a connection.
func gistOfLoss(err error, st *grpcstatus.Status) string {
	if e, ok := err.(*wireError); ok { //nolint:errorlint // the link returns it unwrapped
		return gist(e.cause)
	}
	return gistOfText(st.Message())
}

// gistOfConn is gist for the end of a connection of rpcwire. "": the cause says more.
func gistOfConn(e *rpcwire.ConnError) string {
	switch {
	case e.GoAway != nil && e.GoAway.TooManyPings():
		return "too many keepalive pings"
	case e.Reason == rpcwire.ReasonKeepalive:
		return "keepalive timeout"
	case e.Reason == rpcwire.ReasonProtocol:
		return "protocol error"
	case e.Reason == rpcwire.ReasonHandshake && e.Detail == rpcwire.SpeaksHTTP1:
		return "it does not speak HTTP/2"
	case e.Cause == nil && e.Reason != rpcwire.ReasonHandshake:
		return "connection closed"
	}
	return ""
}
