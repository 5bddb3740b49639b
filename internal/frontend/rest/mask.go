package rest

import (
	"bytes"
	"encoding/json"
	"net/http"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// appendMask derives the update_mask of a PATCH from the fields that are present in the JSON of its body, and appends its wire form, where
// the body is a message field, the request has an update_mask, and the query gives none.
//
// Inside singular messages of the API's own the mask has the innermost fields; a list, a map or a well-known type is one field. A field
// that is null is present: it is to be cleared.
func (x *exchange) appendMask(dst, body []byte) []byte {
	b := x.binding
	if x.r.Method != http.MethodPatch || x.masked || !isPlainMessage(b.Body.Descriptor()) {
		return dst
	}
	fd := x.method.Request.Descriptor().Fields().ByName("update_mask")
	if fd == nil || !isFieldMask(fd) {
		return dst
	}
	var mask []byte
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	if !walkFields(dec, b.Body.Descriptor().Message(), "", func(path string) {
		mask = protowire.AppendTag(mask, 1, protowire.BytesType)
		mask = protowire.AppendString(mask, path)
	}) || len(mask) == 0 {
		return dst
	}
	dst = protowire.AppendTag(dst, fd.Number(), protowire.BytesType)
	return protowire.AppendBytes(dst, mask)
}

// walkFields reports the paths of the fields in the object that comes next. The text was accepted by the transcoder before, so whatever is not
// understood here (ok is false) is left without a mask.
func walkFields(dec *json.Decoder, md protoreflect.MessageDescriptor, prefix string, found func(string)) (ok bool) {
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return false
	}
	for dec.More() {
		key, err := dec.Token()
		name, isString := key.(string)
		if err != nil || !isString {
			return false
		}
		var value json.RawMessage
		if dec.Decode(&value) != nil {
			return false
		}
		fd := md.Fields().ByJSONName(name)
		if fd == nil {
			fd = md.Fields().ByTextName(name)
		}
		if fd == nil {
			continue // An extension or an unknown field that is ignored: no mask can name it.
		}
		path := prefix + string(fd.Name())
		if !opensUp(fd, value) {
			found(path)
			continue
		}
		inner := json.NewDecoder(bytes.NewReader(value))
		inner.UseNumber()
		if !walkFields(inner, fd.Message(), path+".", found) {
			return false
		}
	}
	return true
}

// opensUp reports whether the mask goes into the field: a singular message with a field in it.
func opensUp(fd protoreflect.FieldDescriptor, value json.RawMessage) bool {
	if !isPlainMessage(fd) {
		return false
	}
	inside := bytes.TrimSpace(value)
	return len(inside) > 0 && inside[0] == '{' && !isBlank(inside[1:len(inside)-1])
}

// isPlainMessage reports whether the field is a singular message whose JSON is an object with its fields.
func isPlainMessage(fd protoreflect.FieldDescriptor) bool {
	return fd.Message() != nil && !fd.IsList() && !fd.IsMap() && fd.Message().FullName().Parent() != "google.protobuf"
}
