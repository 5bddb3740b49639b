package frontend

import (
	"net/url"
	"strconv"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/caddy-grpc/gateway/internal/transcode"
)

// noProblemType is the type of a problem that is not described by more than its HTTP status (RFC
// 9457, section 4.2.1).
const noProblemType = "about:blank"

// maxProblemStatus is the largest HTTP status in problem details (RFC 9457, appendix A).
const maxProblemStatus = 599

// AppendProblemJSON appends an error as problem details (RFC 9457), on one line. status is the HTTP
// status of the answer. The members:
//
//   - type: https://<domain>/<reason> by an ErrorInfo in the details, else about:blank.
//   - title: the name of the gRPC code.
//   - status: the HTTP status. It is left out above 599, which the schema of RFC 9457 forbids.
//   - detail: the message. It is left out if the message is empty.
//   - errors: the field violations of each BadRequest in the details. It is left out without any.
//   - details: all details, as in AppendStatusJSON. It is left out if there are none.
func AppendProblemJSON(dst []byte, e *Error, status int) []byte {
	details := e.Status.GetDetails()
	dst = append(dst, `{"type":`...)
	dst = AppendJSONString(dst, problemType(details))
	dst = append(dst, `,"title":`...)
	dst = AppendJSONString(dst, CodeName(e.Code()))
	if status <= maxProblemStatus {
		dst = append(dst, `,"status":`...)
		dst = strconv.AppendInt(dst, int64(status), 10)
	}
	if m := e.Status.GetMessage(); m != "" {
		dst = append(dst, `,"detail":`...)
		dst = AppendJSONString(dst, m)
	}
	dst = appendViolations(dst, details, e.Types)
	dst = appendDetailsMember(dst, details, e.Types)
	return append(dst, '}')
}

// problemType makes a URI of the first ErrorInfo whose domain and reason can be one. RFC 9457
// (section 3.1.1) asks for an absolute URI, and prefers one that can be resolved some day: so it is
// an address at the service's own domain. A domain that is not the name of a host makes none,
// because the parsers of clients would refuse it.
func problemType(details []*anypb.Any) string {
	for _, d := range details {
		var info errdetails.ErrorInfo
		if !d.MessageIs(&info) || d.UnmarshalTo(&info) != nil {
			continue
		}
		domain, reason := info.GetDomain(), info.GetReason()
		// "." and ".." are not names in a path, but steps.
		if !isHostName(domain) || reason == "" || reason == "." || reason == ".." {
			continue
		}
		return "https://" + domain + "/" + url.PathEscape(reason)
	}
	return noProblemType
}

// isHostName reports whether the text is the name of a host: labels of letters, digits, '-' and
// '_', separated by dots. A last label of digits would be the end of an IP address.
func isHostName(s string) bool {
	const longest = 253 // RFC 1035, section 2.3.4, without the dot at the end.
	if len(s) > longest {
		return false
	}
	label, letters := 0, false
	for i := range len(s) {
		switch c := s[i]; {
		case c == '.' && label == 0:
			return false
		case c == '.':
			label, letters = 0, false
			continue
		case 'a' <= c|0x20 && c|0x20 <= 'z', c == '-', c == '_':
			letters = true
		case '0' <= c && c <= '9':
		default:
			return false
		}
		label++
	}
	return label > 0 && letters
}

// appendViolations appends the member "errors" with the field violations of each BadRequest in the
// details. Each violation is written as it is in the detail itself.
func appendViolations(dst []byte, details []*anypb.Any, types transcode.Resolver) []byte {
	var codec *transcode.Codec
	some := false
	for _, d := range details {
		var bad errdetails.BadRequest
		if !d.MessageIs(&bad) || d.UnmarshalTo(&bad) != nil {
			continue // It is among the details in any case.
		}
		for _, v := range bad.GetFieldViolations() {
			if codec == nil {
				var err error
				if codec, err = compilerOf(types).Codec(v.ProtoReflect().Descriptor()); err != nil {
					return dst
				}
			}
			wire, err := proto.Marshal(v)
			if err != nil {
				continue
			}
			start := len(dst)
			if some {
				dst = append(dst, ',')
			} else {
				dst = append(dst, `,"errors":[`...)
			}
			out, _, err := codec.AnswerToJSON(dst, wire)
			if err != nil {
				dst = dst[:start]
				continue
			}
			dst, some = out, true
		}
	}
	if some {
		dst = append(dst, ']')
	}
	return dst
}
