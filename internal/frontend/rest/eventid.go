package rest

import (
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/caddy-grpc/gateway/internal/transcode"
)

// eventIDs makes the ids of an event stream. A browser that connects again sends the last one as
// Last-Event-ID. The zero value makes none.
type eventIDs struct {
	count bool   // They count the messages.
	after uint64 // Counting continues after this number.
	field []protoreflect.FieldDescriptor
}

// newSSE returns the framing of event streams as the options want it.
func (x *exchange) newSSE() *sse {
	f := &sse{end: x.opts.EndEvent}
	switch {
	case x.opts.EventIDField != "":
		f.ids.field = idField(x.method.Response.Descriptor(), x.opts.EventIDField, x.method.Hidden)
	case !x.opts.NoEventIDs:
		f.ids.count = true
		// Anything but a number is not an id that was made here. Half of the numbers are left for
		// what follows.
		if last, err := strconv.ParseUint(x.r.Header.Get("Last-Event-ID"), 10, 63); err == nil {
			f.ids.after = last
		}
	}
	return f
}

// idField finds the field that path leads to. It is nil if the message does not have it, or if it
// is hidden or is not one string or integer.
func idField(md protoreflect.MessageDescriptor, path string, hidden *transcode.Filter) []protoreflect.FieldDescriptor {
	var fields []protoreflect.FieldDescriptor
	for name := range strings.SplitSeq(path, ".") {
		if md == nil {
			return nil
		}
		fd := md.Fields().ByName(protoreflect.Name(name))
		if fd == nil || fd.Cardinality() == protoreflect.Repeated || fd.Kind() == protoreflect.GroupKind || hidden != nil && hidden.Hides(fd) {
			return nil
		}
		fields, md = append(fields, fd), fd.Message()
	}
	switch fields[len(fields)-1].Kind() {
	case protoreflect.StringKind,
		protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind,
		protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind,
		protoreflect.Uint32Kind, protoreflect.Fixed32Kind,
		protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return fields
	default:
		return nil
	}
}

// append appends the id line of the nth message, if it has an id.
func (e *eventIDs) append(dst, wire []byte, n uint64) []byte {
	const line = "id: "
	if e.count {
		dst = append(dst, line...)
		dst = strconv.AppendUint(dst, e.after+n, 10)
		return append(dst, '\n')
	}
	if len(e.field) == 0 {
		return dst
	}
	id, ok := appendField(append(dst, line...), wire, e.field)
	if !ok || !printable(id[len(dst)+len(line):]) {
		return dst
	}
	return append(id, '\n')
}

// printable reports whether an id can come back in a header field, and does not end its own line.
func printable(id []byte) bool {
	for _, c := range id {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return len(id) > 0
}

// appendField appends the text of the field that path leads to from the message. As everywhere in
// protobuf the last value counts. ok is false if there is none, or if the wire is broken.
func appendField(dst, wire []byte, path []protoreflect.FieldDescriptor) (out []byte, ok bool) {
	out = dst
	for len(wire) > 0 {
		num, typ, n := protowire.ConsumeTag(wire)
		if n < 0 {
			return dst, false
		}
		size := protowire.ConsumeFieldValue(num, typ, wire[n:])
		if size < 0 {
			return dst, false
		}
		value := wire[n : n+size]
		wire = wire[n+size:]
		if num != path[0].Number() {
			continue
		}
		if len(path) == 1 {
			if text, fits := appendScalar(dst, value, typ, path[0].Kind()); fits {
				out, ok = text, true
			}
		} else if typ == protowire.BytesType {
			inner, _ := protowire.ConsumeBytes(value)
			if text, found := appendField(dst, inner, path[1:]); found {
				out, ok = text, true
			}
		}
	}
	return out, ok
}

// appendScalar appends the text of a string or an integer. fits is false if its wire type is
// another than its kind's.
func appendScalar(dst, value []byte, typ protowire.Type, kind protoreflect.Kind) (out []byte, fits bool) {
	switch typ {
	case protowire.BytesType:
		if kind == protoreflect.StringKind {
			text, _ := protowire.ConsumeBytes(value)
			return append(dst, text...), true
		}
	case protowire.VarintType:
		v, _ := protowire.ConsumeVarint(value)
		switch kind {
		case protoreflect.Int32Kind:
			return strconv.AppendInt(dst, int64(int32(v)), 10), true
		case protoreflect.Int64Kind:
			return strconv.AppendInt(dst, int64(v), 10), true
		case protoreflect.Sint32Kind:
			return strconv.AppendInt(dst, protowire.DecodeZigZag(v&(1<<32-1)), 10), true
		case protoreflect.Sint64Kind:
			return strconv.AppendInt(dst, protowire.DecodeZigZag(v), 10), true
		case protoreflect.Uint32Kind:
			return strconv.AppendUint(dst, uint64(uint32(v)), 10), true
		case protoreflect.Uint64Kind:
			return strconv.AppendUint(dst, v, 10), true
		}
	case protowire.Fixed32Type:
		v, _ := protowire.ConsumeFixed32(value)
		switch kind {
		case protoreflect.Sfixed32Kind:
			return strconv.AppendInt(dst, int64(int32(v)), 10), true
		case protoreflect.Fixed32Kind:
			return strconv.AppendUint(dst, uint64(v), 10), true
		}
	case protowire.Fixed64Type:
		v, _ := protowire.ConsumeFixed64(value)
		switch kind {
		case protoreflect.Sfixed64Kind:
			return strconv.AppendInt(dst, int64(v), 10), true
		case protoreflect.Fixed64Kind:
			return strconv.AppendUint(dst, v, 10), true
		}
	}
	return dst, false
}
