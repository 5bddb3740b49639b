package transcode

import (
	"fmt"
	"runtime"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// chainOf returns a schema of n messages with ten fields each. Each message has a field of the next
// one's type.
func chainOf(t *testing.T, n int) protoreflect.MessageDescriptors {
	t.Helper()
	file := &descriptorpb.FileDescriptorProto{Name: proto.String("chain.proto"), Package: proto.String("chain"), Syntax: proto.String("proto3")}
	for i := range n {
		m := &descriptorpb.DescriptorProto{Name: proto.String(fmt.Sprintf("M%d", i))}
		for j := range 10 {
			f := &descriptorpb.FieldDescriptorProto{
				Name: proto.String(fmt.Sprintf("some_field_%d", j)), Number: proto.Int32(int32(j + 1)),
				Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(), Type: descriptorpb.FieldDescriptorProto_TYPE_STRING.Enum(),
			}
			if j == 0 {
				f.Type, f.TypeName = descriptorpb.FieldDescriptorProto_TYPE_MESSAGE.Enum(), proto.String(fmt.Sprintf(".chain.M%d", (i+1)%n))
			}
			m.Field = append(m.Field, f)
		}
		file.MessageType = append(file.MessageType, m)
	}
	fd, err := protodesc.NewFile(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	return fd.Messages()
}

// TestTypesAreCompiledWhenUsed counts the compiled types twice: after one of many types was asked
// for, and after two levels of it were used.
func TestTypesAreCompiledWhenUsed(t *testing.T) {
	c := NewCompiler(nil, Options{})
	compiled := func() (n int) {
		for _, p := range c.programs {
			if p.ready.Load() {
				n++
			}
		}
		return n
	}
	codec, err := c.Codec(chainOf(t, 50).Get(0))
	if err != nil {
		t.Fatal(err)
	}
	if got := compiled(); got != 1 {
		t.Errorf("%d types compiled for one", got)
	}
	if _, err := codec.JSONToWire(nil, []byte(`{"someField0":{"someField0":{}}}`)); err != nil {
		t.Fatal(err)
	}
	if got := compiled(); got != 3 {
		t.Errorf("%d types compiled for three", got)
	}
}

// TestMemoryOfALargeSchema checks that 5,000 compiled types take less than 64 MiB.
func TestMemoryOfALargeSchema(t *testing.T) {
	const types, limit = 5000, 64 << 20
	messages := chainOf(t, types)
	use := func(c *Compiler) {
		for i := range types {
			if _, err := c.Codec(messages.Get(i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	use(NewCompiler(nil, Options{})) // descriptors compute much when they are first used
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return stats.HeapAlloc
	}
	before := heap()
	c := NewCompiler(nil, Options{})
	use(c)
	if kept := int64(heap()) - int64(before); kept > limit {
		t.Errorf("%d bytes kept for %d types", kept, types)
	}
	runtime.KeepAlive(c)
}

func TestTypesThatCannotBeConverted(t *testing.T) {
	placeholder := protodesc.ToFileDescriptorProto(chainOf(t, 2).Get(0).ParentFile())
	placeholder.MessageType = placeholder.MessageType[:1]
	fd, err := protodesc.FileOptions{AllowUnresolvable: true}.New(placeholder, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := NewCompiler(nil, Options{})
	codec, err := c.Codec(fd.Messages().Get(0))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := codec.JSONToWire(nil, []byte(`{"someField1":"a"}`)); err != nil {
		t.Errorf("without the type that is missing: %v", err)
	}
	if _, err := codec.JSONToWire(nil, []byte(`{"someField0":{}}`)); err == nil {
		t.Error("a type that is missing is converted from JSON")
	}
	if _, err := codec.WireToJSON(nil, []byte("\x0a\x00")); err == nil {
		t.Error("a type that is missing is converted to JSON")
	}
	if _, err := c.Codec(fd.Messages().Get(0).Fields().Get(0).Message()); err == nil {
		t.Error("a type that is missing has a codec")
	}

	fake := &descriptorpb.FileDescriptorProto{
		Name: proto.String("fake.proto"), Package: proto.String("google.protobuf"), Syntax: proto.String("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{{Name: proto.String("Timestamp")}},
	}
	if fd, err = protodesc.NewFile(fake, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Codec(fd.Messages().Get(0)); err == nil {
		t.Error("a Timestamp without fields has a codec")
	}
}
