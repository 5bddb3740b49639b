package frontend

import (
	"strconv"

	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"

	"github.com/caddy-grpc/gateway/internal/transcode"
)

// ErrorForm is the form of REST errors.
type ErrorForm int

const (
	// StatusErrors are google.rpc.Status in JSON, or the envelope of answers if there is one. A
	// client that asks for problem details gets those.
	StatusErrors ErrorForm = iota
	// ProblemErrors are problem details (RFC 9457). A client that prefers application/json gets
	// what StatusErrors are.
	ProblemErrors
	// TextErrors are a line of text, as httpx.Error of go-zero writes it. A client that names
	// problem details in its Accept header gets those.
	TextErrors
)

// ErrorStatus is the HTTP status of an error in REST. The config may have changed that of a gRPC
// code. A more precise status, such as 405, stays.
func (o *Options) ErrorStatus(e *Error) int {
	if o.Answers == nil || e.HTTPStatus != 0 && !o.Answers.StatusByCode {
		return e.HTTP()
	}
	if status, ok := o.Answers.HTTPStatus[e.Code()]; ok {
		return status
	}
	return HTTPStatus(e.Code())
}

// AppendErrorJSON appends an error in the shape that answers have by the config. It is the
// envelope, or google.rpc.Status without one.
func (o *Options) AppendErrorJSON(dst []byte, e *Error) []byte {
	if o.Answers != nil && o.Answers.Envelope != nil {
		return o.Answers.Envelope.appendError(dst, e.Status, e.Types)
	}
	return o.AppendStatusJSON(dst, e.Status, e.Types)
}

// AppendStatusJSON is the function AppendStatusJSON, with the empty list of details that the config
// may ask for.
func (o *Options) AppendStatusJSON(dst []byte, st *spb.Status, types transcode.Resolver) []byte {
	dst = AppendStatusJSON(dst, st, types)
	if o.Answers == nil || !o.Answers.EmptyDetails || len(st.GetDetails()) > 0 {
		return dst
	}
	return append(dst[:len(dst)-1], `,"details":[]}`...)
}

// AppendErrorText appends an error as the text that grpc-go makes of it:
// "rpc error: code = NotFound desc = <message>". The codes have grpc-go's names.
func AppendErrorText(dst []byte, st *spb.Status) []byte {
	dst = append(dst, "rpc error: code = "...)
	dst = append(dst, codes.Code(st.GetCode()).String()...)
	dst = append(dst, " desc = "...)
	return append(dst, st.GetMessage()...)
}

// WrapsStreams reports whether messages of streams are in the envelope. Then so is the error that
// ends a stream. Otherwise that is google.rpc.Status even if other errors are problem details,
// which are a form of whole answers.
func (o *Options) WrapsStreams() bool {
	return o.Answers != nil && o.Answers.Envelope != nil && o.Answers.Envelope.Streams
}

// appendError appends an error in the envelope: the code and the message of the error, null in
// place of the data, and the details if there are any.
func (e *Envelope) appendError(dst []byte, st *spb.Status, types transcode.Resolver) []byte {
	dst = AppendJSONString(append(dst, '{'), e.Code)
	dst = strconv.AppendInt(append(dst, ':'), int64(st.GetCode()), 10)
	dst = AppendJSONString(append(dst, ','), e.Message)
	dst = AppendJSONString(append(dst, ':'), st.GetMessage())
	dst = AppendJSONString(append(dst, ','), e.Data)
	dst = append(dst, ":null"...)
	dst = appendDetailsMember(dst, st.GetDetails(), types)
	return append(dst, '}')
}
