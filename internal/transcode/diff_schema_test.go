package transcode_test

// The diff_*_test.go files compare the codec with package oracle, which is protojson over
// dynamicpb. They compare both directions: what is accepted, what is refused, and what comes out.
// Intended differences are in diff_compare_test.go, each as an exact rule with its reason.

import (
	_ "embed"
	"fmt"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/caddy-grpc/gateway/internal/transcode"
	"github.com/caddy-grpc/gateway/internal/transcode/conformance/oracle"
)

// schemaSet is written by conformance/generate.sh.
//
//go:embed testdata/schema.binpb
var schemaSet []byte

// judgedMessages are the types that the tests start from. Nested types and extensions are reached
// from them. Add new names at the end, because the fuzz corpora depend on the order.
var judgedMessages = []protoreflect.FullName{
	"protobuf_test_messages.proto3.TestAllTypesProto3",
	"protobuf_test_messages.proto2.TestAllTypesProto2",
	"protobuf_test_messages.editions.TestAllTypesEdition2023",
	"protobuf_test_messages.proto2.TestAllRequiredTypesProto2",
	"judge.proto3.Known",
	"judge.proto3.Known.Choice",
	"judge.proto3.Names",
	"judge.proto3.Maps",
	"judge.proto3.Book",
	"judge.proto2.Closures",
	"judge.proto2.Needs",
	"judge.proto2.Extended",
	"judge.editions.Features",
	"judge.editions.Required",
	"google.protobuf.Any",
	"google.protobuf.Timestamp",
	"google.protobuf.Duration",
	"google.protobuf.FieldMask",
	"google.protobuf.Struct",
	"google.protobuf.Value",
	"google.protobuf.ListValue",
	"google.protobuf.Empty",
	"google.protobuf.BoolValue",
	"google.protobuf.Int32Value",
	"google.protobuf.Int64Value",
	"google.protobuf.UInt32Value",
	"google.protobuf.UInt64Value",
	"google.protobuf.FloatValue",
	"google.protobuf.DoubleValue",
	"google.protobuf.StringValue",
	"google.protobuf.BytesValue",
	"google.protobuf.Type",
	"google.protobuf.Api",
	"google.protobuf.FileDescriptorProto",
	"google.protobuf.FieldOptions",
	"google.api.Http",
	"google.api.HttpBody",
	"google.api.Service",
	"google.api.MetricDescriptor",
	"google.api.Distribution",
	"google.rpc.Status",
	"google.rpc.BadRequest",
	"google.rpc.RetryInfo",
	"google.rpc.context.AttributeContext",
	"judge.wide.Wide",
	"judge.wide.Narrow",
}

// schema is the parsed schemaSet.
type schema struct {
	types *dynamicpb.Types
	roots []protoreflect.MessageDescriptor
}

var loadSchema = sync.OnceValues(func() (*schema, error) {
	set := &descriptorpb.FileDescriptorSet{}
	if err := proto.Unmarshal(schemaSet, set); err != nil {
		return nil, err
	}
	files, err := protodesc.NewFiles(set)
	if err != nil {
		return nil, err
	}
	s := &schema{types: dynamicpb.NewTypes(files)}
	for _, name := range judgedMessages {
		md, err := findMessage(files, name)
		if err != nil {
			return nil, err
		}
		s.roots = append(s.roots, md)
	}
	return s, nil
})

func findMessage(files *protoregistry.Files, name protoreflect.FullName) (protoreflect.MessageDescriptor, error) {
	desc, err := files.FindDescriptorByName(name)
	if err != nil {
		return nil, fmt.Errorf("find %q: %w", name, err)
	}
	md, ok := desc.(protoreflect.MessageDescriptor)
	if !ok {
		return nil, fmt.Errorf("%q is not a message", name)
	}
	return md, nil
}

// optionsOf makes options of the bits of a number. They are the options that change results.
func optionsOf(bits uint8) transcode.Options {
	return transcode.Options{
		UseProtoNames:  bits&1 != 0,
		EmitDefaults:   bits&2 != 0,
		EnumsAsNumbers: bits&4 != 0,
		DiscardUnknown: bits&8 != 0,

		EmitUnpopulated: bits&unpopulated != 0,
	}
}

// With the bit withoutType, types cannot be resolved. Then there are no extensions, and an Any is
// only bytes.
const (
	optionBits  = 64
	withoutType = 16
	unpopulated = 32
)

// A pair is the codec and the oracle for one message type and one set of options.
type pair struct {
	schema *schema
	types  transcode.Resolver
	md     protoreflect.MessageDescriptor
	opts   transcode.Options
	ours   *transcode.Codec
	oracle *oracle.Codec
}

var compilers struct {
	sync.Mutex
	byOptions [optionBits]*transcode.Compiler
}

// pairOf returns the pair of a root and options. Both numbers are reduced to the range that exists.
func pairOf(tb testing.TB, root, optBits uint8) *pair {
	tb.Helper()
	s, err := loadSchema()
	if err != nil {
		tb.Fatal(err)
	}
	return pairFor(tb, s.roots[int(root)%len(s.roots)], optBits)
}

// pairNamed returns the pair of a message type by its name.
func pairNamed(tb testing.TB, name protoreflect.FullName, optBits uint8) *pair {
	tb.Helper()
	s, err := loadSchema()
	if err != nil {
		tb.Fatal(err)
	}
	mt, err := s.types.FindMessageByName(name)
	if err != nil {
		tb.Fatalf("find %q: %v", name, err)
	}
	return pairFor(tb, mt.Descriptor(), optBits)
}

func pairFor(tb testing.TB, md protoreflect.MessageDescriptor, optBits uint8) *pair {
	tb.Helper()
	s, err := loadSchema()
	if err != nil {
		tb.Fatal(err)
	}
	optBits %= optionBits
	opts := optionsOf(optBits)

	var types transcode.Resolver = s.types
	if optBits&withoutType != 0 {
		types = new(protoregistry.Types)
	}
	compilers.Lock()
	compiler := compilers.byOptions[optBits]
	if compiler == nil {
		compiler = transcode.NewCompiler(types, opts)
		compilers.byOptions[optBits] = compiler
	}
	compilers.Unlock()

	ours, err := compiler.Codec(md)
	if err != nil {
		tb.Fatalf("compile %s: %v", md.FullName(), err)
	}
	return &pair{schema: s, types: types, md: md, opts: opts, ours: ours, oracle: oracle.New(md, types, opts)}
}
