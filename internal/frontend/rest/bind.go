package rest

import (
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/transcode"
)

// bindURL encodes the path variables and the query parameters as wire bytes, which follow those of
// the body. The path comes last, and so it wins: in protobuf the later value of a field is the one
// that counts. What the URL and the header say about the answer is bound, too.
func (x *exchange) bindURL() error {
	if err := x.bindRequest(); err != nil || x.opts.Fields == nil {
		return err
	}
	return x.bindFields()
}

func (x *exchange) bindRequest() error {
	b := x.binding
	if len(b.Vars) == 0 && x.r.URL.RawQuery == "" {
		return nil
	}
	// What has no text has no wire form.
	buf := frontend.GetBuffer(len(x.r.URL.Path) + len(x.r.URL.RawQuery))
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

// boundFields remembers which fields and which members of oneofs have a value already.
//
// The fields are a tree, so that a parameter costs memory in proportion to its name, however deep
// its path is.
type boundFields struct {
	nodes []boundNode
	// steps has the node of a field in the message of a node, by the field's number.
	steps map[boundStep]int32
	// oneofs has the member of a oneof that is set, by the oneof's index.
	oneofs  map[boundStep]protoreflect.FieldNumber
	entries map[boundEntry]struct{}
}

// boundNode is a field that was met, or a message on the way to one. The first is the request
// message.
type boundNode struct {
	whole  bool // The field itself has a value.
	within bool // A field within it has a value.
}

type boundStep struct{ node, number int32 }

// boundEntry is an entry of a map.
type boundEntry struct {
	node int32
	key  string
}

// claim notes a value for the field. It is an error, worded for the client, that the field has one
// already and is not repeated, that a message has one as a whole and in parts, or that another
// member of a oneof has one.
func (s *boundFields) claim(f *transcode.Field) (problem string) {
	if s.steps == nil {
		s.nodes = make([]boundNode, 1, 8)
		s.steps = make(map[boundStep]int32, 8)
	}
	at := int32(0)
	path := f.Path()
	for _, fd := range path {
		if s.nodes[at].whole {
			return "the message that it is in is given as a whole"
		}
		s.nodes[at].within = true
		if oneof := fd.ContainingOneof(); oneof != nil && !oneof.IsSynthetic() {
			if s.oneofs == nil {
				s.oneofs = make(map[boundStep]protoreflect.FieldNumber)
			}
			step := boundStep{at, int32(oneof.Index())}
			if other, ok := s.oneofs[step]; ok && other != fd.Number() {
				return "another member of the oneof " + string(oneof.Name()) + " is set already"
			}
			s.oneofs[step] = fd.Number()
		}
		step := boundStep{at, int32(fd.Number())}
		next, ok := s.steps[step]
		if !ok {
			next = int32(len(s.nodes))
			s.nodes = append(s.nodes, boundNode{})
			s.steps[step] = next
		}
		at = next
	}
	node := &s.nodes[at]
	if key, ok := f.Key(); ok {
		entry := boundEntry{at, string(key)}
		if _, ok := s.entries[entry]; ok || node.whole {
			return "given more than once, and it is not a list"
		}
		if s.entries == nil {
			s.entries = make(map[boundEntry]struct{})
		}
		s.entries[entry] = struct{}{}
		node.within = true
		return ""
	}
	switch {
	case path[len(path)-1].IsList():
	case node.whole:
		return "given more than once, and it is not a list"
	case node.within:
		return "given as a whole, and in parts before"
	default:
		node.whole = true
	}
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
