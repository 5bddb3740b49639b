package frontend

import (
	"net/http"
	"strconv"

	"google.golang.org/grpc/codes"
)

// StatusClientClosedRequest is the status that code.proto maps CANCELLED to: the client left before
// the answer.
const StatusClientClosedRequest = 499

// HTTPStatus maps a gRPC code as google/rpc/code.proto says. Codes it does not know are 500.
func HTTPStatus(code codes.Code) int {
	switch code {
	case codes.OK:
		return http.StatusOK
	case codes.Canceled:
		return StatusClientClosedRequest
	case codes.InvalidArgument, codes.FailedPrecondition, codes.OutOfRange:
		return http.StatusBadRequest
	case codes.DeadlineExceeded:
		return http.StatusGatewayTimeout
	case codes.NotFound:
		return http.StatusNotFound
	case codes.AlreadyExists, codes.Aborted:
		return http.StatusConflict
	case codes.PermissionDenied:
		return http.StatusForbidden
	case codes.Unauthenticated:
		return http.StatusUnauthorized
	case codes.ResourceExhausted:
		return http.StatusTooManyRequests
	case codes.Unimplemented:
		return http.StatusNotImplemented
	case codes.Unavailable:
		return http.StatusServiceUnavailable
	case codes.Unknown, codes.Internal, codes.DataLoss:
		return http.StatusInternalServerError
	default:
		return http.StatusInternalServerError
	}
}

// CodeName returns the name of a code in google/rpc/code.proto, or "CODE(n)" if the code has no
// name there.
func CodeName(code codes.Code) string {
	if code < codes.Code(len(codeNames)) {
		return codeNames[code]
	}
	return "CODE(" + strconv.FormatUint(uint64(code), 10) + ")"
}

// ParseCode returns the code that has this name in google/rpc/code.proto.
func ParseCode(name string) (code codes.Code, ok bool) {
	for code, known := range codeNames {
		if known == name {
			return codes.Code(code), true
		}
	}
	return 0, false
}

// codeNames is never changed.
var codeNames = [...]string{
	"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
	"RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS",
	"UNAUTHENTICATED",
}
