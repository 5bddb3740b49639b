package rest

import (
	"net/http"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/frontend/negotiate"
)

const (
	typeJSON   = "application/json"
	typeNDJSON = "application/x-ndjson"
	typeSSE    = "text/event-stream"

	// typeText is the type of errors that are text.
	typeText = "text/plain; charset=utf-8"
	// typeProblem is the type of problem details (RFC 9457). Only errors have it.
	typeProblem = "application/problem+json"
)

// Newline-delimited JSON has no registered name. These are in use.
const (
	typeNDJSON2 = "application/ndjson"
	typeJSONL   = "application/jsonl"
	typeJSONL2  = "application/x-jsonlines"
)

// checkJSONType refuses a request body that is not JSON in UTF-8. A body without a Content-Type is
// JSON.
func (x *exchange) checkJSONType() error {
	if x.opts.AnyMediaType {
		return nil
	}
	value := x.r.Header.Get("Content-Type")
	media, err := negotiate.ParseContentType(value)
	if err != nil || !isJSON(media.Type) || !media.UTF8() {
		return unsupportedType(value, typeJSON)
	}
	return nil
}

// streamType reports whether the body may be one array of messages (JSON). Otherwise it is a
// sequence of messages (NDJSON).
func (x *exchange) streamType() (array bool, err error) {
	value := x.r.Header.Get("Content-Type")
	media, err := negotiate.ParseContentType(value)
	if x.opts.AnyMediaType {
		return !isNDJSON(media.Type), nil
	}
	if err != nil || !isNDJSON(media.Type) && !isJSON(media.Type) || !media.UTF8() {
		return false, unsupportedType(value, typeNDJSON+", "+typeJSON)
	}
	return !isNDJSON(media.Type), nil
}

// isJSON takes application/json and every type with the suffix +json (RFC 6839). It does not take
// those of the RPC protocols, which are framed.
func isJSON(media string) bool {
	if strings.HasPrefix(media, "application/grpc") || strings.HasPrefix(media, "application/connect") {
		return false
	}
	return media == typeJSON || media == "text/json" || strings.HasPrefix(media, "application/") && strings.HasSuffix(media, "+json")
}

func isNDJSON(media string) bool {
	switch media {
	case typeNDJSON, typeNDJSON2, typeJSONL, typeJSONL2:
		return true
	}
	return false
}

func unsupportedType(value, want string) error {
	return frontend.Errorf(codes.InvalidArgument, "Content-Type %q is not supported; want %s in UTF-8", clip(value), want).
		WithHTTP(http.StatusUnsupportedMediaType).WithHeader("Accept", want)
}

// checkAccept refuses a request whose Accept allows no JSON, before it is made. Raw content may
// have any type. A client that accepts problem details says what errors should be, and need not say
// what else it takes.
func (x *exchange) checkAccept() error {
	accept := x.r.Header["Accept"]
	if len(accept) == 0 || x.opts.AnyMediaType || x.responseIsRaw() {
		return nil
	}
	if _, ok := negotiate.Accept(accept, unaryOffers); !ok && !takesProblems(accept) {
		return notAcceptable(typeJSON)
	}
	return nil
}

// unaryOffers and streamOffers are the content types of answers, the best first. Further names of a
// type come after all types.
var (
	unaryOffers  = []string{typeJSON}
	streamOffers = []string{typeNDJSON, typeSSE, typeJSON, typeNDJSON2, typeJSONL, typeJSONL2}
)

// chooseFraming picks the framing that the client accepts. NDJSON is the default, or lines with
// results.
func (x *exchange) chooseFraming() (framing, error) {
	if x.responseIsRaw() {
		return raw{}, nil
	}
	chosen, ok := negotiate.Accept(x.r.Header["Accept"], streamOffers)
	switch {
	case !ok && takesProblems(x.r.Header["Accept"]):
		return ndjson{}, nil
	case !ok && !x.opts.AnyMediaType:
		return nil, notAcceptable(typeNDJSON, typeSSE, typeJSON)
	case chosen == typeSSE:
		return x.newSSE(), nil
	case x.opts.ResultLines:
		return resultLines{}, nil
	case chosen == typeJSON:
		return jsonArray{}, nil
	default:
		return ndjson{}, nil
	}
}

// takesProblems reports whether the client names problem details among what it accepts.
func takesProblems(accept []string) bool {
	weight, named := negotiate.Weight(accept, typeProblem)
	return named && weight > 0
}

func notAcceptable(offers ...string) error {
	return frontend.Errorf(codes.InvalidArgument, "nothing that Accept allows can be made of this; there is: %s", strings.Join(offers, ", ")).
		WithHTTP(http.StatusNotAcceptable)
}
