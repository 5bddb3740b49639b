package openapi_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"runtime"
	"testing"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/openapi"
	"github.com/caddy-grpc/gateway/internal/routes"
	"github.com/caddy-grpc/gateway/internal/schema"
	"github.com/caddy-grpc/gateway/internal/transcode"
)

// largeAPI is an API of services with 100 methods each. Each method has one route, and two messages
// of its own with six fields.
func largeAPI(tb testing.TB, services int) []*frontend.Binding {
	tb.Helper()
	set := new(descriptorpb.FileDescriptorSet)
	for i := range services {
		set.File = append(set.File, largeFile(tb, i))
	}
	s, err := schema.New(set)
	if err != nil {
		tb.Fatal(err)
	}
	table, err := routes.Compile(&routes.Config{Annotations: true}, []routes.Member{
		{Label: "large", Schema: s, Codecs: transcode.NewCompiler(s.Types(), transcode.Options{}), FromFiles: true},
	})
	if err != nil {
		tb.Fatal(err)
	}
	return table.Bindings
}

func largeFile(tb testing.TB, i int) *descriptorpb.FileDescriptorProto {
	tb.Helper()
	pkg := fmt.Sprintf("large.part%d.v1", i)
	file := &descriptorpb.FileDescriptorProto{
		Name: proto.String(fmt.Sprintf("large/part%d/v1/service.proto", i)), Package: &pkg, Syntax: proto.String("proto3"),
		Dependency: []string{"google/api/annotations.proto", "google/protobuf/timestamp.proto"},
		EnumType: []*descriptorpb.EnumDescriptorProto{{Name: proto.String("State"), Value: []*descriptorpb.EnumValueDescriptorProto{
			{Name: proto.String("STATE_UNSPECIFIED"), Number: proto.Int32(0)}, {Name: proto.String("ACTIVE"), Number: proto.Int32(1)},
		}}},
	}
	service := &descriptorpb.ServiceDescriptorProto{Name: proto.String("Things")}
	for j := range 100 {
		name := fmt.Sprintf("GetThing%d", j)
		for _, suffix := range []string{"Request", "Response"} {
			file.MessageType = append(file.MessageType, largeMessage(pkg, name+suffix))
		}
		options := new(descriptorpb.MethodOptions)
		rule := &annotations.HttpRule{Pattern: &annotations.HttpRule_Get{Get: fmt.Sprintf("/v1/part%d/things%d/{name}", i, j)}}
		if j%2 == 1 {
			rule = &annotations.HttpRule{Pattern: &annotations.HttpRule_Post{Post: fmt.Sprintf("/v1/part%d/things%d", i, j)}, Body: "*"}
		}
		proto.SetExtension(options, annotations.E_Http, rule)
		service.Method = append(service.Method, &descriptorpb.MethodDescriptorProto{
			Name: &name, InputType: proto.String("." + pkg + "." + name + "Request"), OutputType: proto.String("." + pkg + "." + name + "Response"),
			Options: options,
		})
	}
	file.Service = []*descriptorpb.ServiceDescriptorProto{service}
	return file
}

func largeMessage(pkg, name string) *descriptorpb.DescriptorProto {
	field := func(number int32, name string, kind descriptorpb.FieldDescriptorProto_Type, typ string) *descriptorpb.FieldDescriptorProto {
		f := &descriptorpb.FieldDescriptorProto{
			Name: &name, Number: &number, Type: &kind, Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
		}
		if typ != "" {
			f.TypeName = &typ
		}
		return f
	}
	return &descriptorpb.DescriptorProto{Name: &name, Field: []*descriptorpb.FieldDescriptorProto{
		field(1, "name", descriptorpb.FieldDescriptorProto_TYPE_STRING, ""),
		field(2, "display_name", descriptorpb.FieldDescriptorProto_TYPE_STRING, ""),
		field(3, "size_bytes", descriptorpb.FieldDescriptorProto_TYPE_INT64, ""),
		field(4, "enabled", descriptorpb.FieldDescriptorProto_TYPE_BOOL, ""),
		field(5, "state", descriptorpb.FieldDescriptorProto_TYPE_ENUM, "."+pkg+".State"),
		field(6, "create_time", descriptorpb.FieldDescriptorProto_TYPE_MESSAGE, ".google.protobuf.Timestamp"),
	}}
}

// BenchmarkBuild10000 makes the documents of 10,000 methods. docs/openapi.md quotes what it says,
// and how to run it.
func BenchmarkBuild10000(b *testing.B) {
	operations := largeAPI(b, 100)
	var document []byte
	b.Run("json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var err error
			if document, err = openapi.Build(openapi.Config{}, operations); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(len(document)), "document-bytes")
		b.ReportMetric(float64(packed(b, document)), "gzip-bytes")
	})
	b.Run("yaml", func(b *testing.B) {
		b.ReportAllocs()
		var text []byte
		for b.Loop() {
			var err error
			if text, err = openapi.YAML(document); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(len(text)), "document-bytes")
		b.ReportMetric(float64(packed(b, text)), "gzip-bytes")
		runtime.KeepAlive(text)
	})
}

func packed(tb testing.TB, text []byte) int {
	tb.Helper()
	var out bytes.Buffer
	zw := gzip.NewWriter(&out)
	if _, err := zw.Write(text); err != nil {
		tb.Fatal(err)
	}
	if err := zw.Close(); err != nil {
		tb.Fatal(err)
	}
	return out.Len()
}
