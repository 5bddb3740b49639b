package codec

import (
	"fmt"
	"runtime"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/caddy-grpc/gateway/internal/transcode"
)

const schemaSize = 5000

// bigSchema returns a schema of many message types of ten fields each, which name each other.
func bigSchema(tb testing.TB) protoreflect.MessageDescriptors {
	tb.Helper()
	file := &descriptorpb.FileDescriptorProto{
		Name:    proto.String("big.proto"),
		Package: proto.String("big"),
		Syntax:  proto.String("proto3"),
		EnumType: []*descriptorpb.EnumDescriptorProto{{
			Name: proto.String("State"),
			Value: []*descriptorpb.EnumValueDescriptorProto{
				{Name: proto.String("STATE_UNSPECIFIED"), Number: proto.Int32(0)},
				{Name: proto.String("STATE_ACTIVE"), Number: proto.Int32(1)},
				{Name: proto.String("STATE_ARCHIVED"), Number: proto.Int32(2)},
			},
		}},
	}
	const (
		optional = descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL
		repeated = descriptorpb.FieldDescriptorProto_LABEL_REPEATED
	)
	for i := range schemaSize {
		msg := &descriptorpb.DescriptorProto{Name: proto.String(fmt.Sprintf("Message%d", i))}
		add := func(name string, label descriptorpb.FieldDescriptorProto_Label, typ descriptorpb.FieldDescriptorProto_Type, typeName string) {
			field := &descriptorpb.FieldDescriptorProto{
				Name: proto.String(name), Number: proto.Int32(int32(len(msg.Field) + 1)), Label: label.Enum(), Type: typ.Enum(),
			}
			if typeName != "" {
				field.TypeName = proto.String(typeName)
			}
			msg.Field = append(msg.Field, field)
		}
		other := func(step int) string { return fmt.Sprintf(".big.Message%d", (i*7+step)%schemaSize) }
		add("name", optional, descriptorpb.FieldDescriptorProto_TYPE_STRING, "")
		add("display_name", optional, descriptorpb.FieldDescriptorProto_TYPE_STRING, "")
		add("revision_id", optional, descriptorpb.FieldDescriptorProto_TYPE_INT64, "")
		add("state", optional, descriptorpb.FieldDescriptorProto_TYPE_ENUM, ".big.State")
		add("score", optional, descriptorpb.FieldDescriptorProto_TYPE_DOUBLE, "")
		add("tags", repeated, descriptorpb.FieldDescriptorProto_TYPE_STRING, "")
		add("counts", repeated, descriptorpb.FieldDescriptorProto_TYPE_INT32, "")
		add("payload", optional, descriptorpb.FieldDescriptorProto_TYPE_BYTES, "")
		add("parent_message", optional, descriptorpb.FieldDescriptorProto_TYPE_MESSAGE, other(1))
		add("child_messages", repeated, descriptorpb.FieldDescriptorProto_TYPE_MESSAGE, other(2))
		file.MessageType = append(file.MessageType, msg)
	}
	fd, err := protodesc.NewFile(file, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return fd.Messages()
}

// BenchmarkCompile measures what it takes to compile a schema of 5,000 message types, and how many
// bytes are kept: when all types are asked for and used, and when only one is.
func BenchmarkCompile(b *testing.B) {
	messages := bigSchema(b)
	// protodesc works out much of a descriptor when it is first looked at. That is not what is
	// measured.
	useAll(b, messages, transcode.NewCompiler(nil, transcode.Options{}), schemaSize)

	for _, used := range []int{schemaSize, 1} {
		b.Run(fmt.Sprintf("types=%d/used=%d", schemaSize, used), func(b *testing.B) {
			for b.Loop() {
				useAll(b, messages, transcode.NewCompiler(nil, transcode.Options{}), used)
			}
			before := heap()
			compiler := transcode.NewCompiler(nil, transcode.Options{})
			useAll(b, messages, compiler, used)
			b.ReportMetric(float64(int64(heap())-int64(before))/(1<<20), "MiB-kept")
			runtime.KeepAlive(compiler)
		})
	}
}

// useAll converts an empty message of each of the first types, and one level of what they contain.
func useAll(b *testing.B, messages protoreflect.MessageDescriptors, compiler *transcode.Compiler, used int) {
	b.Helper()
	input := []byte(`{"parentMessage":{},"childMessages":[{}]}`)
	var buf []byte
	for i := range used {
		codec, err := compiler.Codec(messages.Get(i))
		if err != nil {
			b.Fatal(err)
		}
		if buf, err = codec.JSONToWire(buf[:0], input); err != nil {
			b.Fatal(err)
		}
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
