package transcode_test

import (
	"math"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// judgedExtensions are the extensions that the generators write.
var judgedExtensions = []protoreflect.FullName{
	"protobuf_test_messages.proto2.extension_int32",
	"protobuf_test_messages.proto2.groupfield",
	"protobuf_test_messages.editions.extension_int32",
	"protobuf_test_messages.editions.groupliketype",
	"protobuf_test_messages.editions.delimited_ext",
	"judge.proto2.Extended.Scope.scoped",
	"judge.proto2.Extended.Scope.scopes",
	"judge.proto2.x_int64",
	"judge.proto2.x_packed",
	"judge.proto2.x_strings",
	"judge.proto2.x_closed",
	"judge.proto2.x_closeds",
	"judge.proto2.xgroup",
	"judge.proto2.x_time",
	"judge.proto2.x_any",
	"judge.proto2.x_value",
	"judge.proto2.x_needs",
	"judge.proto2.x_wrappers",
	"judge.editions.delimited_ext",
	"judge.editions.ints",
	"judge.editions.expanded",
	"judge.editions.required_ext",
	"google.api.http",
	"google.api.field_behavior",
}

// knownType appends the content of a well-known type whose fields depend on each other, so that it
// is mostly valid. The caller writes other messages.
func (g *wireGen) knownType(dst []byte, md protoreflect.MessageDescriptor, depth int) ([]byte, bool) {
	switch md.FullName() {
	case "google.protobuf.Timestamp":
		seconds, nanos := g.timestamp()
		return secondsAndNanos(dst, seconds, nanos), true
	case "google.protobuf.Duration":
		seconds, nanos := g.duration()
		return secondsAndNanos(dst, seconds, nanos), true
	case "google.protobuf.FieldMask":
		for range g.few() {
			path := "a.b_c"
			if g.oneIn(2) {
				path = g.maskPath()
			}
			dst = protowire.AppendString(protowire.AppendTag(dst, 1, protowire.BytesType), path)
		}
		return dst, true
	case "google.protobuf.Value":
		return g.value(dst, depth), true
	case "google.protobuf.Any":
		return g.any(dst, depth), true
	default:
		return dst, false
	}
}

func secondsAndNanos(dst []byte, seconds, nanos int64) []byte {
	if seconds != 0 {
		dst = protowire.AppendVarint(protowire.AppendTag(dst, 1, protowire.VarintType), uint64(seconds))
	}
	if nanos != 0 {
		dst = protowire.AppendVarint(protowire.AppendTag(dst, 2, protowire.VarintType), uint64(nanos))
	}
	return dst
}

// value appends a google.protobuf.Value.
func (g *wireGen) value(dst []byte, depth int) []byte {
	kind := g.n(6)
	if depth > 6 {
		kind %= 4
	}
	switch kind {
	case 0:
		return protowire.AppendVarint(protowire.AppendTag(dst, 1, protowire.VarintType), 0)
	case 1:
		v := g.float()
		if (math.IsNaN(v) || math.IsInf(v, 0)) && !g.oneIn(4) {
			v = 0.25
		}
		return protowire.AppendFixed64(protowire.AppendTag(dst, 2, protowire.Fixed64Type), math.Float64bits(v))
	case 2:
		return protowire.AppendString(protowire.AppendTag(dst, 3, protowire.BytesType), g.text())
	case 3:
		return protowire.AppendVarint(protowire.AppendTag(dst, 4, protowire.VarintType), uint64(g.n(2)))
	case 4:
		var fields []byte
		for range g.few() {
			entry := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), g.text())
			entry = protowire.AppendBytes(protowire.AppendTag(entry, 2, protowire.BytesType), g.value(nil, depth+2))
			fields = protowire.AppendBytes(protowire.AppendTag(fields, 1, protowire.BytesType), entry)
		}
		return protowire.AppendBytes(protowire.AppendTag(dst, 5, protowire.BytesType), fields)
	default:
		var values []byte
		for range g.few() {
			values = protowire.AppendBytes(protowire.AppendTag(values, 1, protowire.BytesType), g.value(nil, depth+2))
		}
		return protowire.AppendBytes(protowire.AppendTag(dst, 6, protowire.BytesType), values)
	}
}

// any appends a google.protobuf.Any, mostly of a type that is known.
func (g *wireGen) any(dst []byte, depth int) []byte {
	if g.oneIn(12) || depth > 5 {
		return dst
	}
	md := g.schema.roots[g.n(len(g.schema.roots))]
	url := "type.googleapis.com/" + string(md.FullName())
	if g.oneIn(10) {
		url = pick(g.tape, "", "/", "type.googleapis.com/", "type.googleapis.com/no.such.Type", string(md.FullName()), "/"+string(md.FullName()), "http://x/y/"+string(md.FullName()), "type.googleapis.com//"+string(md.FullName()))
	}
	dst = protowire.AppendString(protowire.AppendTag(dst, 1, protowire.BytesType), url)
	content := g.message(nil, md, depth+1)
	return protowire.AppendBytes(protowire.AppendTag(dst, 2, protowire.BytesType), content)
}
