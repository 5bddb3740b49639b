// Package judge holds the calls of a test against the OpenAPI document of the gateway that answers
// them. Two libraries judge, neither of which is ours: kin-openapi and libopenapi-validator. Each
// request that the gateway accepts, and each answer, must be as the document says.
//
// It is not for the document's style, which linters judge, and it makes no calls of its own but the
// one for the document.
package judge

import (
	"net/http"
)

// Judge is an implementation of OpenAPI.
type Judge interface {
	// Name is the name of the library.
	Name() string
	// Document says what is wrong with the document.
	Document() error
	// Request says in what a request differs from what the document says. If it is a stream, its
	// body is left to Items.
	Request(c *Call) error
	// Answer says in what an answer differs. If it is a stream, its body is left to Items.
	Answer(c *Call) error
	// Items says in which messages a stream differs, by the schema of one message. mediaType is
	// the type under which the document describes them.
	Items(c *Call, side Side, mediaType string, items []any) error
}

// Side is one of the two halves of a call.
type Side string

// The sides.
const (
	SideRequest Side = "request"
	SideAnswer  Side = "answer"
)

// Call is a call of an operation that the document describes.
type Call struct {
	Operation *Operation
	// Params are the values of the path's parameters.
	Params map[string]string
	// Request is the request in the spelling that the document describes (see spell). Its body is
	// RequestBody.
	Request     *http.Request
	RequestBody []byte
	// RequestItems are the messages of the request if it is a stream that the document describes by
	// its messages. Otherwise nil.
	RequestItems []any

	Status int
	Header http.Header
	Body   []byte
	// Streams says that the answer is a sequence of messages, AnswerItems.
	Streams     bool
	AnswerItems []any
	// Cut says that the body was not read to its end, or had none.
	Cut bool
}
