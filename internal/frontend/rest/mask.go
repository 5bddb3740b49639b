package rest

import (
	"net/http"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/caddy-grpc/gateway/internal/frontend"
)

// appendMask derives the update_mask of a PATCH from the fields that are present in the JSON of its
// body, and appends its wire form. It does so if the body is a message field, the request has an
// update_mask, and the query gives none.
//
// Inside singular messages of the API's own the mask has the innermost fields. A list, a map or a
// well-known type is one field. A field that is null is present: it is to be cleared.
func (x *exchange) appendMask(dst, body []byte) ([]byte, error) {
	b := x.binding
	if x.r.Method != http.MethodPatch || x.masked || !isPlainMessage(b.Body.Descriptor()) {
		return dst, nil
	}
	fd := x.method.Request.Descriptor().Fields().ByName("update_mask")
	if fd == nil || !isFieldMask(fd) || isNull(body) {
		return dst, nil
	}
	paths, err := b.Body.FieldMask(body)
	if err != nil {
		return dst, frontend.Errorf(codes.InvalidArgument, "update_mask of the request body: %s", reason(err))
	}
	var mask []byte
	for _, path := range paths {
		mask = protowire.AppendTag(mask, 1, protowire.BytesType)
		mask = protowire.AppendString(mask, path)
	}
	if len(mask) == 0 {
		return dst, nil
	}
	dst = protowire.AppendTag(dst, fd.Number(), protowire.BytesType)
	return protowire.AppendBytes(dst, mask), nil
}

// isNull reports whether a JSON text that was accepted before is null.
func isNull(text []byte) bool {
	for _, c := range text {
		if !isSpace(c) {
			return c == 'n'
		}
	}
	return false
}

// isPlainMessage reports whether the field is a singular message whose JSON is an object with its
// fields.
func isPlainMessage(fd protoreflect.FieldDescriptor) bool {
	return fd.Message() != nil && !fd.IsList() && !fd.IsMap() && fd.Message().FullName().Parent() != "google.protobuf"
}
