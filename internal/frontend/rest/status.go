package rest

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"google.golang.org/grpc/metadata"

	"github.com/caddy-grpc/gateway/internal/frontend"
)

// plannedStatus is the status of an answer, as the config has it. body is the JSON of the message
// without an envelope. It is nil if the answer is raw: then the body is the caller's own, and says
// what it says.
func (x *exchange) plannedStatus(body []byte) int {
	switch a := x.opts.Answers; {
	case x.binding.Status != 0:
		return x.binding.Status
	case a != nil && a.EmptyStatus != 0 && x.isEmpty(body):
		return a.EmptyStatus
	default:
		return http.StatusOK
	}
}

// isEmpty reports whether the answer is a message that says nothing: its JSON is an empty object,
// or null if it is a field of the response that is not set. A part of an answer (Options.Fields)
// may leave out what it says, so it never counts. A well-known type is a value, and `{}` is one,
// too, if it is a Struct. Only an Empty says nothing.
func (x *exchange) isEmpty(body []byte) bool {
	if x.partial || string(body) != "{}" && string(body) != "null" {
		return false
	}
	md := x.method.Response.Descriptor()
	if f := x.responseBody; f != nil {
		fd := f.Descriptor()
		if fd.IsMap() || fd.IsList() || fd.Message() == nil {
			return false
		}
		md = fd.Message()
	}
	name := md.FullName()
	return name.Parent() != "google.protobuf" || name == "google.protobuf.Empty"
}

// statusOf returns the status that the service has set in the header metadata, under the key of
// Answers.StatusFrom, or else the planned one. h is the header of the answer. It has the metadata
// of the service already.
func (x *exchange) statusOf(header metadata.MD, h http.Header, planned int) int {
	a := x.opts.Answers
	if a == nil || a.StatusFrom == "" {
		return planned
	}
	values := header[a.StatusFrom]
	if len(values) == 0 {
		return planned
	}
	// gRPC appends. The value that was set last replaces the others.
	value := values[len(values)-1]
	status, err := parseStatus(value, h)
	if err != nil {
		a.Complain(x.method, fmt.Errorf("metadata %s: %.40q: %w", a.StatusFrom, value, err))
		return planned
	}
	return status
}

// parseStatus reads a status from 200 to 399. Some need a field that only the service knows.
func parseStatus(value string, h http.Header) (int, error) {
	status, err := strconv.Atoi(value)
	switch {
	case err != nil || len(value) != 3 || status < 200 || status > 399:
		return 0, errors.New("expected a status from 200 to 399")
	case status == http.StatusPartialContent && h.Get("Content-Range") == "":
		return 0, errors.New("expected the metadata content-range, too")
	case status >= 300 && status != http.StatusNotModified && h.Get("Location") == "":
		return 0, errors.New("expected the metadata location, too")
	}
	return status, nil
}

// bodyless reports whether an answer with the status has no body (RFC 9110, section 15).
func bodyless(status int) bool {
	return status == http.StatusNoContent || status == http.StatusResetContent || status == http.StatusNotModified
}

// withoutStatus returns the options of the protocol. Clients do not see the metadata by which the
// service sets the status.
func withoutStatus(opts frontend.Options) frontend.Options {
	if a := opts.Answers; a != nil && a.StatusFrom != "" {
		opts.ResponseMetadata = opts.ResponseMetadata.Without(a.StatusFrom)
	}
	return opts
}
