package schema

import (
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Limits of what one server may send in one load. The largest schemas known have some ten thousand
// types.
const (
	// maxQuestions is the maximum number of files and symbols that are asked for.
	maxQuestions = 100_000
	// maxDeclarations is the maximum number of messages, fields, enums, values, methods and the
	// like.
	maxDeclarations = 1_000_000
	// maxMergeSteps is how many declarations are compared at most to merge parts of files.
	maxMergeSteps = 1_000_000
	// maxImportSteps is how many imports are followed at most to find what files lack.
	maxImportSteps = 1_000_000
	// maxText is the maximum length in bytes of a name or message from a server that is shown.
	maxText = 500
)

// shortened cuts a text to most bytes, for logs and status pages.
func shortened(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

// nestedDeclarations says which fields of the descriptor messages hold further ones.
var nestedDeclarations = map[protoreflect.Name]map[protowire.Number]protoreflect.Name{
	"FileDescriptorProto":    {4: "DescriptorProto", 5: "EnumDescriptorProto", 6: "ServiceDescriptorProto", 9: "SourceCodeInfo"},
	"DescriptorProto":        {3: "DescriptorProto", 4: "EnumDescriptorProto"},
	"EnumDescriptorProto":    {},
	"ServiceDescriptorProto": {},
	"SourceCodeInfo":         {},
}

// countDeclarations counts the submessages and strings of a serialised FileDescriptorProto that
// become objects in memory. It is called before the bytes are parsed: an empty message takes two
// bytes on the wire and several hundred when it is linked. It stops at most. Malformed bytes are
// left to the parser.
func countDeclarations(raw []byte, kind protoreflect.Name, most int) int {
	n := 0
	for len(raw) > 0 && n <= most {
		num, typ, size := protowire.ConsumeTag(raw)
		if size < 0 {
			return n
		}
		raw = raw[size:]
		if typ != protowire.BytesType {
			if size = protowire.ConsumeFieldValue(num, typ, raw); size < 0 {
				return n
			}
			raw = raw[size:]
			continue
		}
		value, size := protowire.ConsumeBytes(raw)
		if size < 0 {
			return n
		}
		raw = raw[size:]
		n++
		if inner, ok := nestedDeclarations[kind][num]; ok {
			n += countDeclarations(value, inner, most-n)
		}
	}
	return n
}

// fileName is the name in a serialised FileDescriptorProto.
func fileName(raw []byte) string {
	const nameField = 1
	name := ""
	for len(raw) > 0 {
		num, typ, size := protowire.ConsumeTag(raw)
		if size < 0 {
			return name
		}
		raw = raw[size:]
		if size = protowire.ConsumeFieldValue(num, typ, raw); size < 0 {
			return name
		}
		if num == nameField && typ == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(raw[:size])
			name = string(value)
		}
		raw = raw[size:]
	}
	return name
}
