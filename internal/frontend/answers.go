package frontend

import (
	"errors"
	"strings"

	"google.golang.org/grpc/codes"
)

// Answers is the shape of answers over plain HTTP, which is REST and calls by name with JSON.
// Connect, gRPC-Web and gRPC have their own, and of this only HideInternal is for them. It is nil
// in Options if answers have the default shape.
type Answers struct {
	// EmptyStatus is the status of answers whose message is empty. They then have no body. 0: the
	// status is 200 and the body is {}.
	EmptyStatus int
	// StatusFrom is the key, in lower case, of the header metadata with which a service sets the
	// HTTP status of a unary answer. "": there is none.
	StatusFrom string
	// Envelope is what is written around the message. Nil: nothing.
	Envelope *Envelope
	// HTTPStatus has the statuses of gRPC codes that are not those of HTTPStatus.
	HTTPStatus map[codes.Code]int
	// HideInternal keeps the texts of INTERNAL, UNKNOWN and DATA_LOSS in the gateway, in every
	// protocol.
	HideInternal bool
	// EmptyDetails writes an empty list for the details of an error that has none.
	EmptyDetails bool
	// StatusByCode gives the gateway's own refusals the HTTP status of their gRPC code, and no more
	// precise one.
	StatusByCode bool

	// Complained, if set, is told about each answer whose service has set a status that cannot be
	// used.
	Complained func(m *Method, problem error)
}

// Complain says that the service of a method has set a status that cannot be used.
func (a *Answers) Complain(m *Method, problem error) {
	if a.Complained != nil {
		a.Complained(m, problem)
	}
}

// Envelope is an object around each message: {"<code>":0,"<message>":"ok","<data>":<the message>}.
type Envelope struct {
	// Prefix and Suffix are what is written before and after the JSON of a message.
	Prefix, Suffix []byte
	// Code, Message and Data are the names of the members, for errors.
	Code, Message, Data string
	// Streams wraps each message of a stream, too.
	Streams bool
}

// Open returns what is in the envelope. Without an envelope that is the whole.
func (e *Envelope) Open(body []byte) []byte {
	if e == nil {
		return body
	}
	return body[len(e.Prefix) : len(body)-len(e.Suffix)]
}

// CheckStatusKey says what is wrong with a metadata key for StatusFrom. "" means that there is
// none, and is allowed.
func CheckStatusKey(key string) error {
	switch {
	case !validKey(key):
		return errors.New("expected a metadata key: letters, digits, '-', '_' and '.'")
	case strings.HasSuffix(key, "-bin"):
		return errors.New("expected a key for text, which does not end in -bin")
	case strings.HasPrefix(key, "grpc-") || refusedResponse(key):
		return errors.New("expected a key of the service; this one belongs to the protocol")
	}
	return nil
}
