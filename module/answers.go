package module

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"go.uber.org/zap"
	"google.golang.org/grpc/codes"

	"github.com/caddy-grpc/gateway/internal/frontend"
)

// Answers is the shape of answers over plain HTTP, which is REST and calls by name with JSON.
// Connect, gRPC-Web and gRPC have their own forms. Of these options, only `internal` is for them.
type Answers struct {
	// The status of an answer whose message is empty: a google.protobuf.Empty, or any message of
	// which the service has set no field. 204 (No Content) leaves the body out. Default: 200, and
	// the body is `{}`, or what `json` makes of an empty message.
	EmptyStatus int `json:"empty_status,omitempty"`

	// A key of header metadata with which the service sets the HTTP status of a unary answer, from
	// 200 to 399, such as `x-http-code`. The client does not see the key. 204, 205 and 304 leave
	// the body out. A status from 300 to 399, other than 304, needs the metadata `location` as
	// well, which becomes the header. Any other value is logged, and the status is what it would be
	// without. Default: none.
	StatusFrom string `json:"status_from,omitempty"`

	// What is written around the message of an answer, and of errors. Default: nothing.
	Envelope *AnswerEnvelope `json:"envelope,omitempty"`

	// The HTTP statuses of gRPC codes by name, such as `FAILED_PRECONDITION`, from 400 to 599. With
	// an `envelope`, which has the code, 200 is allowed, too. Default: the statuses of
	// google/rpc/code.proto.
	Map map[string]int `json:"map,omitempty"`

	// Whether clients see the texts and the details of the codes INTERNAL, UNKNOWN and DATA_LOSS.
	// They may tell a stranger how the service is built. `hide` keeps them in the gateway's log, in
	// every protocol. Default: `show`.
	Internal string `json:"internal,omitempty"`

	// Whether an error without details has an empty list of them, `"details":[]`. Default: false,
	// it has no member `details`.
	EmptyDetails *bool `json:"empty_details,omitempty"`

	// The HTTP status of requests that the gateway refuses itself. `precise` (default) is the one
	// that HTTP has for the reason, such as 405 or 413. `by_code` is that of the error's gRPC code:
	// 501 for a method that the path does not have, and 429 for a body that is too large.
	Refusals string `json:"refusals,omitempty"`
}

// AnswerEnvelope is an object that has the message of an answer as a member:
// `{"code":0,"message":"ok","data":{"id":"7"}}`. An error has its own code and message, and `null`
// in place of the data. google.api.HttpBody is never wrapped, and neither are answers without a
// body.
type AnswerEnvelope struct {
	// The name of the member that has the number of the gRPC code. Default: `code`.
	Code string `json:"code,omitempty"`

	// The code of answers that succeed. Default: 0.
	OK int `json:"ok,omitempty"`

	// The name of the member that has the text. Default: `message`.
	Message string `json:"message,omitempty"`

	// The text of answers that succeed. Default: empty.
	OKMessage string `json:"ok_message,omitempty"`

	// The name of the member that has the message. Default: `data`.
	Data string `json:"data,omitempty"`

	// Whether each message of a stream is wrapped, too. Default: false.
	Streams bool `json:"streams,omitempty"`
}

// Values of Answers.Internal.
const (
	internalShow = "show"
	internalHide = "hide"
)

// Values of Answers.Refusals.
const (
	refusalsPrecise = "precise"
	refusalsByCode  = "by_code"
)

// Validate says what is wrong with the options.
func (a *Answers) Validate() error {
	_, err := a.compile()
	return err
}

// complaints returns a function that logs a status which cannot be used. It logs one line for each
// method, because a service that sets one will do so again.
func complaints(log *zap.Logger) func(m *frontend.Method, problem error) {
	var methods sync.Map
	return func(m *frontend.Method, problem error) {
		if _, logged := methods.LoadOrStore(m.Name, true); !logged {
			log.Warn("a service has set an HTTP status that cannot be used; the answer has the status that it would have without",
				zap.String("upstream", m.Upstream), zap.String("method", m.Name), zap.Error(problem))
		}
	}
}

// compile makes what the protocols use. Without options it is nil.
func (a *Answers) compile() (*frontend.Answers, error) {
	if a == nil {
		return nil, nil //nolint:nilnil // Nil is the default shape.
	}
	if a.EmptyStatus != 0 && a.EmptyStatus != http.StatusOK && a.EmptyStatus != http.StatusNoContent {
		return nil, fmt.Errorf("empty_status %d: expected 200 or 204", a.EmptyStatus)
	}
	if a.Internal != "" && a.Internal != internalShow && a.Internal != internalHide {
		return nil, fmt.Errorf("internal %q: expected show or hide", a.Internal)
	}
	if !oneOf(a.Refusals, refusalsPrecise, refusalsByCode) {
		return nil, fmt.Errorf("refusals %q: expected precise or by_code", a.Refusals)
	}
	out := &frontend.Answers{
		StatusFrom:   strings.ToLower(a.StatusFrom),
		HideInternal: a.Internal == internalHide,
		EmptyDetails: isOn(a.EmptyDetails),
		StatusByCode: a.Refusals == refusalsByCode,
	}
	if a.EmptyStatus != http.StatusOK {
		out.EmptyStatus = a.EmptyStatus
	}
	if err := frontend.CheckStatusKey(out.StatusFrom); err != nil {
		return nil, fmt.Errorf("status_from %q: %w", a.StatusFrom, err)
	}
	var err error
	if out.HTTPStatus, err = a.statuses(); err != nil {
		return nil, fmt.Errorf("map: %w", err)
	}
	if out.Envelope, err = a.Envelope.compile(); err != nil {
		return nil, fmt.Errorf("envelope: %w", err)
	}
	return out, nil
}

// statuses compiles the map.
func (a *Answers) statuses() (map[codes.Code]int, error) {
	out := make(map[codes.Code]int, len(a.Map))
	for name, status := range a.Map {
		code, ok := frontend.ParseCode(name)
		switch {
		case !ok || code == codes.OK:
			return nil, fmt.Errorf("%q: expected the name of an error code, such as FAILED_PRECONDITION", name)
		case status == http.StatusOK && a.Envelope == nil:
			return nil, fmt.Errorf("%s %d: expected a status from 400 to 599; an error can be 200 only in an envelope, which has its code", name, status)
		case status != http.StatusOK && (status < 400 || status > 599):
			return nil, fmt.Errorf("%s %d: expected a status from 400 to 599", name, status)
		}
		out[code] = status
	}
	return out, nil
}

// compile makes what is written around messages. Without an envelope it is nil.
func (e *AnswerEnvelope) compile() (*frontend.Envelope, error) {
	if e == nil {
		return nil, nil //nolint:nilnil // Nil is no envelope.
	}
	names := [...]string{e.Code, e.Message, e.Data}
	for i, name := range [...]string{"code", "message", "data"} {
		if names[i] == "" {
			names[i] = name
		}
	}
	code, message, data := names[0], names[1], names[2]
	switch {
	case code == message || code == data || message == data:
		return nil, fmt.Errorf("members %q, %q and %q: expected three names", code, message, data)
	case code == envelopeDetails || message == envelopeDetails || data == envelopeDetails:
		return nil, errors.New(`a member "details": expected another name, because it has the details of errors`)
	}
	prefix := fmt.Appendf(nil, "{%s:%d,%s:%s,%s:", quote(code), e.OK, quote(message), quote(e.OKMessage), quote(data))
	return &frontend.Envelope{Prefix: prefix, Suffix: []byte{'}'}, Code: code, Message: message, Data: data, Streams: e.Streams}, nil
}

// envelopeDetails is the member that errors have besides those of an envelope.
const envelopeDetails = "details"

// quote returns the text as a JSON string. Text that is not UTF-8 is mended.
func quote(text string) []byte {
	quoted, _ := json.Marshal(text) //nolint:errchkjson // A string has no error.
	return quoted
}
