package transcode

import (
	"fmt"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// wellKnown says which type of google.protobuf a message type is, if the type has a JSON form of
// its own.
type wellKnown uint8

const (
	notWellKnown wellKnown = iota
	wktAny
	wktTimestamp
	wktDuration
	wktWrapper
	wktStruct
	wktListValue
	wktValue
	wktFieldMask
	wktEmpty // written as any message, but within an Any it has a member `value`
)

// A wktLayout lists the kinds of a well-known type's fields 1, 2, ... as this package relies on
// them.
type wktLayout struct {
	wkt   wellKnown
	kinds []protoreflect.Kind
}

func wktLayoutOf(name protoreflect.FullName) (wktLayout, bool) {
	const (
		message = protoreflect.MessageKind
		str     = protoreflect.StringKind
		i64     = protoreflect.Int64Kind
		i32     = protoreflect.Int32Kind
	)
	wrapper := func(k protoreflect.Kind) (wktLayout, bool) {
		return wktLayout{wktWrapper, []protoreflect.Kind{k}}, true
	}
	switch name {
	case "google.protobuf.Any":
		return wktLayout{wktAny, []protoreflect.Kind{str, protoreflect.BytesKind}}, true
	case "google.protobuf.Timestamp":
		return wktLayout{wktTimestamp, []protoreflect.Kind{i64, i32}}, true
	case "google.protobuf.Duration":
		return wktLayout{wktDuration, []protoreflect.Kind{i64, i32}}, true
	case "google.protobuf.Struct":
		return wktLayout{wktStruct, []protoreflect.Kind{message}}, true
	case "google.protobuf.ListValue":
		return wktLayout{wktListValue, []protoreflect.Kind{message}}, true
	case "google.protobuf.Value":
		return wktLayout{wktValue, []protoreflect.Kind{
			protoreflect.EnumKind, protoreflect.DoubleKind, str, protoreflect.BoolKind, message, message,
		}}, true
	case "google.protobuf.FieldMask":
		return wktLayout{wktFieldMask, []protoreflect.Kind{str}}, true
	case "google.protobuf.Empty":
		return wktLayout{wktEmpty, nil}, true
	case "google.protobuf.BoolValue":
		return wrapper(protoreflect.BoolKind)
	case "google.protobuf.Int32Value":
		return wrapper(i32)
	case "google.protobuf.Int64Value":
		return wrapper(i64)
	case "google.protobuf.UInt32Value":
		return wrapper(protoreflect.Uint32Kind)
	case "google.protobuf.UInt64Value":
		return wrapper(protoreflect.Uint64Kind)
	case "google.protobuf.FloatValue":
		return wrapper(protoreflect.FloatKind)
	case "google.protobuf.DoubleValue":
		return wrapper(protoreflect.DoubleKind)
	case "google.protobuf.StringValue":
		return wrapper(str)
	case "google.protobuf.BytesValue":
		return wrapper(protoreflect.BytesKind)
	}
	return wktLayout{}, false
}

// wellKnownOf says which well-known type a compiled program is of. It fails if the schema declares
// a type of that name with other fields.
func wellKnownOf(p *program) (wellKnown, error) {
	layout, ok := wktLayoutOf(p.md.FullName())
	if !ok {
		return notWellKnown, nil
	}
	if len(p.fields) != len(layout.kinds) {
		return notWellKnown, fmt.Errorf("message type %q does not have the fields of the well-known type", p.md.FullName())
	}
	for i, k := range layout.kinds {
		if f := &p.fields[i]; f.num != int32(i+1) || f.fd.Kind() != k {
			return notWellKnown, fmt.Errorf("field %q differs from that of the well-known type", f.fd.FullName())
		}
	}
	return layout.wkt, nil
}
