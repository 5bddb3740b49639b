package schema

import (
	"fmt"
	"runtime"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
)

// largeSet has the given number of message types with ten fields each. Each file has 50 of them,
// and a service with 25 methods.
func largeSet(types int) *descriptorpb.FileDescriptorSet {
	const perFile = 50
	set := &descriptorpb.FileDescriptorSet{}
	for f := range types / perFile {
		fd := &descriptorpb.FileDescriptorProto{
			Name: proto.String(fmt.Sprintf("large/f%d.proto", f)), Package: proto.String(fmt.Sprintf("large.p%d", f)), Syntax: proto.String("proto3"),
		}
		service := &descriptorpb.ServiceDescriptorProto{Name: proto.String("Service")}
		name := func(m int) string { return fmt.Sprintf(".large.p%d.Message%d", f, m) }
		for m := range perFile {
			msg := &descriptorpb.DescriptorProto{Name: proto.String(fmt.Sprintf("Message%d", m))}
			for n := range 10 {
				field := &descriptorpb.FieldDescriptorProto{
					Name: proto.String(fmt.Sprintf("some_field_%d", n)), JsonName: proto.String(fmt.Sprintf("someField%d", n)), Number: proto.Int32(int32(n + 1)),
					Type: descriptorpb.FieldDescriptorProto_TYPE_STRING.Enum(), Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
				}
				if n == 9 {
					field.Type, field.TypeName = descriptorpb.FieldDescriptorProto_TYPE_MESSAGE.Enum(), proto.String(name((m+1)%perFile))
				}
				msg.Field = append(msg.Field, field)
			}
			fd.MessageType = append(fd.MessageType, msg)
			if m%2 == 0 {
				service.Method = append(service.Method, &descriptorpb.MethodDescriptorProto{
					Name: proto.String(fmt.Sprintf("Method%d", m)), InputType: proto.String(name(m)), OutputType: proto.String(name(m + 1)),
				})
			}
		}
		fd.Service = append(fd.Service, service)
		set.File = append(set.File, fd)
	}
	return set
}

func TestLargeSchema(t *testing.T) {
	// The benchmark has 5,000, which take long under the race detector.
	s, err := New(largeSet(1000))
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Services()) != 20 || len(s.Methods()) != 500 {
		t.Errorf("%d services, %d methods", len(s.Services()), len(s.Methods()))
	}
}

// BenchmarkBuild builds schemas from serialised descriptor sets. kept-MiB is the heap that a schema
// takes.
func BenchmarkBuild(b *testing.B) {
	for _, types := range []int{100, 5000} {
		raw := marshal(b, largeSet(types))
		b.Run(fmt.Sprintf("types=%d", types), func(b *testing.B) {
			build := func() *Schema {
				a := newAssembly()
				if err := a.addSet(raw, "bench"); err != nil {
					b.Fatal(err)
				}
				s, err := a.buildStrict()
				if err != nil {
					b.Fatal(err)
				}
				return s
			}
			b.ReportAllocs()
			b.SetBytes(int64(len(raw)))
			for b.Loop() {
				build()
			}
			b.StopTimer()
			before := heap()
			s := build()
			b.ReportMetric(float64(heap()-before)/(1<<20), "kept-MiB")
			runtime.KeepAlive(s)
		})
	}
}

func BenchmarkMethod(b *testing.B) {
	s, err := New(largeSet(5000))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if s.Method("/large.p50.Service/Method48") == nil {
			b.Fatal("not found")
		}
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
