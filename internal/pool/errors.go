package pool

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Reason says why a call could not be given to an instance.
type Reason int

// The reasons.
const (
	// NotKnownYet: the registry has not answered once since the channel was opened.
	NotKnownYet Reason = iota + 1
	// NoInstances: the registry has answered, and its list is empty.
	NoInstances
	// Unreachable: there are instances, and no connection to any of them could be made.
	Unreachable
	// Unhealthy: there are instances that are connected, and each of them says that it does not serve.
	Unhealthy
	// Closed: the channel was retired and has closed.
	Closed
)

// UnavailableError is returned by calls that no instance could take, so nothing was sent. Its gRPC status is UNAVAILABLE with
// a message that is fit for strangers; Error has the details, addresses among them, and is for operators.
type UnavailableError struct {
	Service string
	Reason  Reason
	Cause   error // the last connection error, or the last answer of a health check; nil unless Unreachable or Unhealthy
}

func (e *UnavailableError) Error() string {
	if e.Cause != nil {
		return fmt.Sprintf("service %s: %s: %v", e.Service, e.message(), e.Cause)
	}
	return fmt.Sprintf("service %s: %s", e.Service, e.message())
}

// Unwrap gives the Cause.
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

// LostError ends a call whose connection was lost under it, or was closed because its time to drain was over. The instance may
// have executed the call. Its gRPC status is UNAVAILABLE with a message that names no address.
type LostError struct {
	Address string // of the instance
	Drained bool   // the instance was removed, or the channel retired, and the time to drain is over
	Cause   error  // what grpc reported
	message string
}

func (e *LostError) Error() string {
	return fmt.Sprintf("instance %s: %s: %v", e.Address, e.message, e.Cause)
}

// Unwrap gives what grpc reported.
func (e *LostError) Unwrap() error { return e.Cause }

// GRPCStatus makes this an UNAVAILABLE for grpc and its callers.
func (e *LostError) GRPCStatus() *status.Status { return status.New(codes.Unavailable, e.message) }

const (
	instanceDrained = "the instance was removed and its time to drain is over"
	channelDrained  = "the service's configuration was replaced and the time to drain is over"
)

// gist is what a stranger may know of a connection error: its kind, without addresses or names.
func gist(err error) string {
	var (
		dns     *net.DNSError
		netErr  net.Error
		record  tls.RecordHeaderError
		verify  *tls.CertificateVerificationError
		unknown x509.UnknownAuthorityError
	)
	switch {
	case err == nil:
		return "not connected"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ECONNRESET):
		return "connection reset"
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
	}
	return gistOfText(err.Error())
}

// tooManyPings is the debug data of the GOAWAY with which servers answer keepalive pings they did not ask for (gRPC's proposal A8).
const tooManyPings = "too_many_pings"

// gistOfText does the same for errors of which grpc-go passes on nothing but the text.
func gistOfText(text string) string {
	for _, known := range [...]struct{ part, gist string }{
		{"tls: ", "TLS handshake failed"},
		{"looked like an HTTP/1.1 header", "it does not speak HTTP/2"},
		{tooManyPings, "too many keepalive pings"},
		{"keepalive ping failed", "keepalive timeout"},
		{"connection reset", "connection reset"},
		{"connection refused", "connection refused"},
		{"timed out", "timed out"},
		{"i/o timeout", "timed out"},
		{"deadline exceeded", "timed out"},
		{"draining", "connection closed"},
		{"transport is closing", "connection closed"},
		{"broken pipe", "connection closed"},
		{"EOF", "connection closed"},
	} {
		if strings.Contains(text, known.part) {
			return known.gist
		}
	}
	return "connection failed"
}

// lost tells whether a call's status was made by grpc-go because the connection went, and not sent by the instance. The texts
// are grpc-go's own (internal/transport); a status of the server's that begins in the same way loses nothing but its text.
func lost(st *status.Status) bool {
	if st.Code() != codes.Unavailable {
		return false
	}
	for _, prefix := range [...]string{
		"connection error: desc = ",
		"closing transport due to: ",
		"error reading from server: ",
		"transport is closing",
		"transport: ",
		"keepalive ping failed",
		"the connection is draining",
		"the stream is rejected because ",
	} {
		if strings.HasPrefix(st.Message(), prefix) {
			return true
		}
	}
	return false
}
