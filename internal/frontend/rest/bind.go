package rest

import (
	"strconv"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/transcode"
)

// bindURL encodes the path variables and the query parameters as wire bytes, which follow those of the body. The path comes last, and
// so it wins: in protobuf the later value of a field is the one that counts.
func (x *exchange) bindURL() error {
	b := x.binding
	if len(b.Vars) == 0 && x.r.URL.RawQuery == "" {
		return nil
	}
	buf := frontend.GetBuffer(len(x.r.URL.Path) + len(x.r.URL.RawQuery)) // what has no text has no wire form
	x.suffix = buf
	if x.r.URL.RawQuery != "" {
		out, err := x.bindQuery(*buf)
		if err != nil {
			return err
		}
		*buf = out
	}
	for i, f := range b.Vars {
		out, err := f.AppendText(*buf, x.vars[i])
		if err != nil {
			return frontend.Errorf(codes.InvalidArgument, "path variable %s: %s", fieldName(f), reason(err))
		}
		*buf = out
	}
	return nil
}

// appendSuffix appends what bindURL made.
func (x *exchange) appendSuffix(wire []byte) []byte {
	if x.suffix == nil {
		return wire
	}
	return append(wire, *x.suffix...)
}

// boundFields remembers which fields and which members of oneofs have a value from the URL already.
type boundFields struct {
	seen    map[string]protoreflect.FieldNumber
	scratch []byte
}

// claim notes a value for the field; key tells the entries of a map apart. It is an error, worded for the client, that the field
// has one already and is not repeated, or that another member of its oneof has.
func (s *boundFields) claim(f *transcode.Field, key string) (problem string) {
	if s.seen == nil {
		s.seen = make(map[string]protoreflect.FieldNumber, 8)
	}
	id := s.scratch[:0]
	path := f.Path()
	for _, fd := range path {
		if oneof := fd.ContainingOneof(); oneof != nil && !oneof.IsSynthetic() {
			// The separator is followed by a name, which no field's number is.
			at := len(id)
			id = append(append(id, '/'), oneof.Name()...)
			if other, ok := s.seen[string(id)]; ok && other != fd.Number() {
				return "another member of the oneof " + string(oneof.Name()) + " is set already"
			}
			s.seen[string(id)] = fd.Number()
			id = id[:at]
		}
		id = strconv.AppendInt(append(id, '.'), int64(fd.Number()), 10)
	}
	last := path[len(path)-1]
	if last.IsMap() {
		id = append(append(id, '['), key...)
	} else if last.IsList() {
		return ""
	}
	s.scratch = id
	if _, ok := s.seen[string(id)]; ok {
		return "given more than once, and it is not a list"
	}
	s.seen[string(id)] = last.Number()
	return ""
}

// sameField reports whether both paths end at the same field.
func sameField(a, b []protoreflect.FieldDescriptor) bool {
	return len(a) == len(b) && hasPrefix(a, b)
}

// hasPrefix reports whether the path is the field or something inside it.
func hasPrefix(path, field []protoreflect.FieldDescriptor) bool {
	if len(path) < len(field) {
		return false
	}
	for i := range field {
		if path[i].Number() != field[i].Number() {
			return false
		}
	}
	return true
}

// fieldName is the field's path as a rule writes it.
func fieldName(f *transcode.Field) string {
	var name []byte
	for i, fd := range f.Path() {
		if i > 0 {
			name = append(name, '.')
		}
		name = append(name, fd.Name()...)
	}
	return string(name)
}
