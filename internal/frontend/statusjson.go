package frontend

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	// The usual details are known even if the upstream's schema lacks them.
	_ "google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/caddy-grpc/gateway/internal/transcode"
)

// AppendStatusJSON appends a google.rpc.Status as ProtoJSON, on one line. Details are resolved in
// types, which may be nil, and then among the types of google/rpc/error_details.proto. A detail
// that is malformed or has an unknown type is written as {"@type":…,"value":"<base64>"}.
func AppendStatusJSON(dst []byte, st *spb.Status, types transcode.Resolver) []byte {
	dst = append(dst, `{"code":`...)
	dst = strconv.AppendInt(dst, int64(st.GetCode()), 10)
	dst = append(dst, `,"message":`...)
	dst = AppendJSONString(dst, st.GetMessage())
	dst = appendDetailsMember(dst, st.GetDetails(), types)
	return append(dst, '}')
}

// appendDetailsMember appends the member "details" of an error that has some.
func appendDetailsMember(dst []byte, details []*anypb.Any, types transcode.Resolver) []byte {
	if len(details) == 0 {
		return dst
	}
	return AppendDetailsJSON(append(dst, `,"details":`...), details, types)
}

// AppendDetailsJSON appends the list of details as AppendStatusJSON does. Without details it is
// empty.
func AppendDetailsJSON(dst []byte, details []*anypb.Any, types transcode.Resolver) []byte {
	dst = append(dst, '[')
	for i, d := range details {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendAnyJSON(dst, d, types)
	}
	return append(dst, ']')
}

// AppendAnyJSON appends a google.protobuf.Any as AppendStatusJSON appends details. As in an answer,
// a value without a JSON form is written as something close to it.
func AppendAnyJSON(dst []byte, detail *anypb.Any, types transcode.Resolver) []byte {
	codec, err := compilerOf(types).Codec(detail.ProtoReflect().Descriptor())
	if err == nil {
		// proto.Marshal would refuse a type URL that is not UTF-8.
		wire := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), detail.GetTypeUrl())
		wire = protowire.AppendBytes(protowire.AppendTag(wire, 2, protowire.BytesType), detail.GetValue())
		if out, _, err := codec.AnswerToJSON(dst, wire); err == nil {
			return out
		}
	}
	dst = append(dst, `{"@type":`...)
	dst = AppendJSONString(dst, detail.GetTypeUrl())
	dst = append(dst, `,"value":"`...)
	dst = base64.StdEncoding.AppendEncode(dst, detail.GetValue())
	return append(dst, `"}`...)
}

// compilerOf returns the compiler that resolves Any in types. The types of a table's methods are
// compilers.
func compilerOf(types transcode.Resolver) *transcode.Compiler {
	if c, ok := types.(*transcode.Compiler); ok {
		return c
	}
	return transcode.NewCompiler(resolver{types}, transcode.Options{})
}

// AppendJSONString appends s as a JSON string. Bytes that are not UTF-8 become U+FFFD.
func AppendJSONString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			dst = utf8.AppendRune(dst, r)
			i += n
			continue
		}
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c == '\r':
			dst = append(dst, '\\', 'r')
		case c == '\t':
			dst = append(dst, '\\', 't')
		case c < ' ' || c == 0x7f:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xf])
		default:
			dst = append(dst, c)
		}
		i++
	}
	return append(dst, '"')
}

// common reports whether every client can be expected to know a type. Clients must not see other
// types that happen to be compiled into the server.
func common(name protoreflect.FullName) bool {
	return name.Parent() == "google.rpc" || name.Parent() == "google.protobuf"
}

// resolver looks in the upstream's types first, then among those that are compiled in.
type resolver struct{ types transcode.Resolver }

func (r resolver) FindMessageByName(name protoreflect.FullName) (protoreflect.MessageType, error) {
	if r.types != nil {
		if mt, err := r.types.FindMessageByName(name); err == nil {
			return mt, nil
		}
	}
	if !common(name) {
		return nil, protoregistry.NotFound
	}
	return protoregistry.GlobalTypes.FindMessageByName(name)
}

func (r resolver) FindMessageByURL(url string) (protoreflect.MessageType, error) {
	if r.types != nil {
		if mt, err := r.types.FindMessageByURL(url); err == nil {
			return mt, nil
		}
	}
	if !common(protoreflect.FullName(url[strings.LastIndexByte(url, '/')+1:])) {
		return nil, protoregistry.NotFound
	}
	return protoregistry.GlobalTypes.FindMessageByURL(url)
}

func (r resolver) FindExtensionByName(name protoreflect.FullName) (protoreflect.ExtensionType, error) {
	if r.types == nil {
		return nil, protoregistry.NotFound
	}
	return r.types.FindExtensionByName(name)
}

func (r resolver) FindExtensionByNumber(name protoreflect.FullName, n protoreflect.FieldNumber) (protoreflect.ExtensionType, error) {
	if r.types == nil {
		return nil, protoregistry.NotFound
	}
	return r.types.FindExtensionByNumber(name, n)
}

// UnmarshalDetail finds the type of a detail and decodes it. It is for protocols that write details
// in their own form.
func UnmarshalDetail(detail *anypb.Any, types transcode.Resolver) (proto.Message, error) {
	m, err := anypb.UnmarshalNew(detail, proto.UnmarshalOptions{Resolver: resolver{types}})
	if err != nil {
		return nil, fmt.Errorf("detail %s: %w", detail.GetTypeUrl(), err)
	}
	return m, nil
}
