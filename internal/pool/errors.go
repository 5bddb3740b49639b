package pool

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/caddy-grpc/gateway/internal/rpcwire"
)

// Reason says why no instance could take a call.
type Reason int

// The reasons.
const (
	// NotKnownYet means that the registry has not answered since the channel was opened.
	NotKnownYet Reason = iota + 1
	// NoInstances means that the registry has answered with an empty list.
	NoInstances
	// Unreachable means that there are instances, but no connection to any of them could be made.
	Unreachable
	// Unhealthy means that instances are connected, but none of them says that it serves.
	Unhealthy
	// Closed means that the channel was retired and has closed.
	Closed
)

// UnavailableError is returned by calls that no instance could take. Nothing was sent. Its gRPC
// status is UNAVAILABLE with a message that is fit for strangers. Error returns details for
// operators, including addresses.
type UnavailableError struct {
	Service string
	Reason  Reason
	// Cause is the last connection error if Reason is Unreachable. It is the last answer of a
	// health check if Reason is Unhealthy. Otherwise it is nil.
	Cause error
}

func (e *UnavailableError) Error() string {
	return "service " + e.Service + ": " + e.operatorText()
}

// operatorText is Error without the name of the service.
func (e *UnavailableError) operatorText() string {
	if e.Cause != nil {
		return e.message() + ": " + e.Cause.Error()
	}
	return e.message()
}

// Unwrap returns the Cause.
func (e *UnavailableError) Unwrap() error { return e.Cause }

// GRPCStatus makes this an UNAVAILABLE for grpc and its callers.
func (e *UnavailableError) GRPCStatus() *status.Status {
	return status.New(codes.Unavailable, e.message())
}

func (e *UnavailableError) message() string {
	switch e.Reason {
	case NotKnownYet:
		return "no instance of the service is known yet"
	case NoInstances:
		return "the service has no instances"
	case Unreachable:
		return "no instance of the service can be reached: " + gist(e.Cause)
	case Unhealthy:
		return "no instance of the service is healthy"
	case Closed:
		return "the channel to the service is closed"
	}
	return "the service is unavailable"
}

// LostError ends a call whose connection was lost during the call, or was closed at the drain
// timeout. The instance may have executed the call. Its gRPC status is UNAVAILABLE with a message
// that names no address.
type LostError struct {
	// Address is the address of the instance.
	Address string
	// Drained is true if the instance was removed or the channel retired, and the drain timeout has
	// passed.
	Drained bool
	// Cause is what grpc reported.
	Cause   error
	message string
}

func (e *LostError) Error() string {
	return fmt.Sprintf("instance %s: %s: %v", e.Address, e.message, e.Cause)
}

// Unwrap returns the Cause.
func (e *LostError) Unwrap() error { return e.Cause }

// GRPCStatus makes this an UNAVAILABLE for grpc and its callers.
func (e *LostError) GRPCStatus() *status.Status { return status.New(codes.Unavailable, e.message) }

const (
	instanceDrained = "the instance was removed and its time to drain is over"
	channelDrained  = "the service's configuration was replaced and the time to drain is over"
)

// CallError ends a call that failed in this process for another reason than a lost connection. Its
// status did not come from the instance. The status is fit for strangers.
type CallError struct {
	// Address is the address of the instance that had the call. "": no instance had it yet.
	Address string
	// Cause is what grpc reported.
	Cause error

	service string
	kind    failure
	code    codes.Code
	// detail is for operators: the limit that was exceeded. "": there is nothing to add.
	detail string
}

func (e *CallError) Error() string {
	text := "service " + e.service
	if e.Address != "" {
		text += ", instance " + e.Address
	}
	text += ": " + e.kind.message()
	if e.detail != "" {
		text += " (" + e.detail + ")"
	}
	return text + ": " + e.Cause.Error()
}

// Unwrap returns the Cause.
func (e *CallError) Unwrap() error { return e.Cause }

// GRPCStatus returns the status without addresses and without texts of grpc-go.
func (e *CallError) GRPCStatus() *status.Status { return status.New(e.code, e.kind.message()) }

// HTTPStatus returns the HTTP status in cases where that of the code would mislead clients.
// Otherwise it returns 0, and the code decides.
func (e *CallError) HTTPStatus() int {
	switch e.kind {
	case failureHeadersTooLarge:
		return http.StatusRequestHeaderFieldsTooLarge
	case failureAnswerTooLarge:
		// RESOURCE_EXHAUSTED maps to 429, which makes clients try again.
		return http.StatusInternalServerError
	default:
		return 0
	}
}

// HTTPStatus returns 0: the code decides.
func (e *UnavailableError) HTTPStatus() int { return 0 }

// HTTPStatus returns 0: the code decides.
func (e *LostError) HTTPStatus() int { return 0 }

// gist returns what a stranger may know about a connection error. That is its kind, without
// addresses or names.
func gist(err error) string {
	var (
		dns     *net.DNSError
		netErr  net.Error
		record  tls.RecordHeaderError
		verify  *tls.CertificateVerificationError
		unknown x509.UnknownAuthorityError
		conn    *rpcwire.ConnError
		call    *rpcwire.Error
	)
	if errors.As(err, &conn) {
		if text := gistOfConn(conn); text != "" {
			return text
		}
	}
	switch {
	case err == nil:
		return "not connected"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ECONNRESET):
		return "connection reset"
	case errors.Is(err, syscall.ENOENT):
		return "its socket does not exist"
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return "permission denied"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "no route to host"
	case errors.As(err, &verify), errors.As(err, &unknown):
		return "its certificate is not trusted"
	case errors.As(err, &record):
		return "TLS handshake failed"
	case errors.As(err, &dns):
		return "its name cannot be resolved"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &netErr) && netErr.Timeout():
		return "timed out"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.EPIPE):
		return "connection closed"
	case errors.As(err, &call) && call.Kind == rpcwire.KindDraining:
		return "connection closed"
	}
	return gistOfText(err.Error())
}
