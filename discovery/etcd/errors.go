package etcd

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// unreachableError says that no client could be made, because no member could be asked for a token.
type unreachableError struct{ err error }

func (e *unreachableError) Error() string { return fmt.Sprintf("logging in: %v", e.err) }
func (e *unreachableError) Unwrap() error { return e.err }

// code returns the gRPC code of an error of the etcd client, which has its own error type.
func code(err error) codes.Code {
	var etcdErr rpctypes.EtcdError
	if errors.As(err, &etcdErr) {
		return etcdErr.Code()
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return codes.DeadlineExceeded
	}
	var st interface{ GRPCStatus() *status.Status }
	if errors.As(err, &st) {
		return st.GRPCStatus().Code()
	}
	return codes.Unknown
}

// isAuthError reports whether etcd did not accept the token. The reason for the end of a watch is a
// text that has etcd's text in it.
func isAuthError(err error) bool {
	if code(err) == codes.Unauthenticated {
		return true
	}
	for _, known := range []error{rpctypes.ErrInvalidAuthToken, rpctypes.ErrAuthOldRevision, rpctypes.ErrUserEmpty} {
		if errors.Is(err, known) || strings.Contains(err.Error(), known.Error()) {
			return true
		}
	}
	return false
}

// isQuorumError reports whether a serializable read may succeed where a linearizable one has
// failed: the member answers, perhaps slowly, but has no leader to ask.
func isQuorumError(err error) bool {
	var unreachable *unreachableError
	if errors.As(err, &unreachable) {
		return false
	}
	switch code(err) {
	case codes.Unavailable, codes.DeadlineExceeded:
		return true
	case codes.Unknown:
		// The member noticed the deadline first. etcd sends the error of its context as text.
		return strings.Contains(err.Error(), context.DeadlineExceeded.Error())
	default:
		return false
	}
}
