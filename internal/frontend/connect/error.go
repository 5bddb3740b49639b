package connect

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/transcode"
)

// appendError appends an error in the JSON form of Connect: the name of the code, the message, and
// the details with their bytes. Details of a known type are also written as JSON, for people
// ("debug").
func appendError(dst []byte, err *frontend.Error) []byte {
	dst = append(dst, `{"code":"`...)
	dst = append(dst, codeName(err.Code())...)
	dst = append(dst, '"')
	if m := err.Status.GetMessage(); m != "" {
		dst = append(dst, `,"message":`...)
		dst = frontend.AppendJSONString(dst, m)
	}
	if details := err.Status.GetDetails(); len(details) > 0 {
		dst = append(dst, `,"details":[`...)
		for i, d := range details {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendDetail(dst, d, err.Types)
		}
		dst = append(dst, ']')
	}
	return append(dst, '}')
}

func appendDetail(dst []byte, detail *anypb.Any, types transcode.Resolver) []byte {
	url := detail.GetTypeUrl()
	dst = append(dst, `{"type":`...)
	dst = frontend.AppendJSONString(dst, url[strings.LastIndexByte(url, '/')+1:])
	dst = append(dst, `,"value":"`...)
	dst = base64.RawStdEncoding.AppendEncode(dst, detail.GetValue())
	dst = append(dst, '"')
	dst = appendDebug(dst, detail, types)
	return append(dst, '}')
}

// appendDebug appends the detail as JSON for people. It appends nothing if the detail cannot be
// decoded, since the client has the bytes.
func appendDebug(dst []byte, detail *anypb.Any, types transcode.Resolver) []byte {
	m, err := frontend.UnmarshalDetail(detail, types)
	if err != nil {
		return dst
	}
	opts := protojson.MarshalOptions{}
	if types != nil {
		opts.Resolver = types
	}
	text, err := opts.Marshal(m)
	if err != nil {
		return dst
	}
	// protojson varies its spacing on purpose. The body of an error should not vary.
	compact := bytes.NewBuffer(append(dst, `,"debug":`...))
	if json.Compact(compact, text) != nil {
		return dst
	}
	return compact.Bytes()
}

// codeName is the name of a code in Connect. A code that Connect does not have is unknown.
func codeName(code codes.Code) string {
	if code > 0 && code < codes.Code(len(codeNames)) {
		return codeNames[code]
	}
	return "unknown"
}

// codeNames is never changed.
var codeNames = [...]string{
	"", "canceled", "unknown", "invalid_argument", "deadline_exceeded", "not_found", "already_exists", "permission_denied",
	"resource_exhausted", "failed_precondition", "aborted", "out_of_range", "unimplemented", "internal", "unavailable", "data_loss",
	"unauthenticated",
}
