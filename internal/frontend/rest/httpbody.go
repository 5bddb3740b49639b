package rest

import (
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/caddy-grpc/gateway/internal/transcode"
)

// Fields of google.api.HttpBody.
const (
	httpBodyContentType protowire.Number = 1
	httpBodyData        protowire.Number = 2
)

func isHTTPBody(md protoreflect.MessageDescriptor) bool {
	return md != nil && md.FullName() == "google.api.HttpBody"
}

// isRawField reports whether the field is one HttpBody.
func isRawField(f *transcode.Field) bool {
	fd := f.Descriptor()
	return isHTTPBody(fd.Message()) && !fd.IsList()
}

// bodyIsRaw reports whether the request's body goes into a google.api.HttpBody.
func (x *exchange) bodyIsRaw() bool {
	if x.binding.Body != nil {
		return isRawField(x.binding.Body)
	}
	return x.binding.BodyAll && isHTTPBody(x.method.Request.Descriptor())
}

// responseIsRaw reports whether the response is the data of a google.api.HttpBody.
func (x *exchange) responseIsRaw() bool {
	if x.binding.ResponseBody != nil {
		return isRawField(x.binding.ResponseBody)
	}
	return isHTTPBody(x.method.Response.Descriptor())
}

// appendRaw appends the wire form of the request whose HttpBody this is.
func (x *exchange) appendRaw(dst []byte, contentType string, data []byte) []byte {
	if x.binding.Body == nil {
		return appendContent(dst, nil, contentType, data)
	}
	return appendContent(dst, x.binding.Body.Path(), contentType, data)
}

// appendContent appends the wire form of the HttpBody at path in the message. It appends nothing
// for an empty HttpBody.
func appendContent(dst []byte, path []protoreflect.FieldDescriptor, contentType string, data []byte) []byte {
	if contentType == "" && len(data) == 0 {
		return dst
	}
	// A protobuf string must be valid UTF-8. A content type that is not is broken anyway.
	contentType = strings.ToValidUTF8(contentType, "\uFFFD")
	size := 0
	if contentType != "" {
		size += protowire.SizeTag(httpBodyContentType) + protowire.SizeBytes(len(contentType))
	}
	if len(data) > 0 {
		size += protowire.SizeTag(httpBodyData) + protowire.SizeBytes(len(data))
	}
	dst = appendOpen(dst, path, size)
	if contentType != "" {
		dst = protowire.AppendTag(dst, httpBodyContentType, protowire.BytesType)
		dst = protowire.AppendString(dst, contentType)
	}
	if len(data) > 0 {
		dst = protowire.AppendTag(dst, httpBodyData, protowire.BytesType)
		dst = protowire.AppendBytes(dst, data)
	}
	return dst
}

// appendOpen appends the tags and lengths of nested messages around contents of the given size. The
// caller appends the contents.
func appendOpen(dst []byte, path []protoreflect.FieldDescriptor, size int) []byte {
	if len(path) == 0 {
		return dst
	}
	inner := size
	for i := len(path) - 1; i > 0; i-- {
		inner = protowire.SizeTag(path[i].Number()) + protowire.SizeBytes(inner)
	}
	dst = protowire.AppendTag(dst, path[0].Number(), protowire.BytesType)
	dst = protowire.AppendVarint(dst, uint64(inner))
	return appendOpen(dst, path[1:], size)
}

// parseHTTPBody reads the HttpBody at path in the message. An empty path means that the message is
// one. As everywhere in protobuf, the last value of a field counts. ok is false if the wire form is
// malformed.
func parseHTTPBody(wire []byte, path []protoreflect.FieldDescriptor) (contentType, data []byte, ok bool) {
	for len(wire) > 0 {
		num, typ, n := protowire.ConsumeTag(wire)
		if n < 0 {
			return nil, nil, false
		}
		wire = wire[n:]
		size := protowire.ConsumeFieldValue(num, typ, wire)
		if size < 0 {
			return nil, nil, false
		}
		if typ == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(wire)
			switch {
			case len(path) > 0 && num == path[0].Number():
				ct, d, ok := parseHTTPBody(value, path[1:])
				if !ok {
					return nil, nil, false
				}
				contentType, data = later(contentType, ct), later(data, d)
			case len(path) > 0:
			case num == httpBodyContentType:
				contentType = value
			case num == httpBodyData:
				data = value
			}
		}
		wire = wire[size:]
	}
	return contentType, data, true
}

// later merges a field of two messages of the same kind.
func later(before, after []byte) []byte {
	if after != nil {
		return after
	}
	return before
}
