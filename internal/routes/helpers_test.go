package routes

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/descriptorpb"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"

	"github.com/caddy-grpc/gateway/internal/schema"
	"github.com/caddy-grpc/gateway/internal/transcode"
)

// conn is where calls would go; tests compare it.
type conn struct{ to string }

func (conn) Invoke(context.Context, string, any, any, ...grpc.CallOption) error { return nil }

func (conn) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, nil
}

// pendingMember is an upstream whose schema is not known.
func pendingMember(label string) Member {
	return Member{Label: label, Pending: "the methods of the service are not known yet", Conn: conn{label}}
}

// newMember is an upstream with methods "package.Service/Method", each of which may be followed by
// "GET /path".
func newMember(t *testing.T, label string, methods ...string) Member {
	t.Helper()
	set := &descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{{
		Name: proto.String("m.proto"), Package: proto.String("m"), Syntax: proto.String("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{{Name: proto.String("M")}},
	}}}
	files := make(map[string]*descriptorpb.FileDescriptorProto)
	services := make(map[string]*descriptorpb.ServiceDescriptorProto)
	for _, line := range methods {
		words := strings.Fields(line)
		full, method, _ := strings.Cut(words[0], "/")
		pkg, service := "", full
		if dot := strings.LastIndexByte(full, '.'); dot >= 0 {
			pkg, service = full[:dot], full[dot+1:]
		}
		if files[pkg] == nil {
			files[pkg] = &descriptorpb.FileDescriptorProto{
				Name: proto.String(pkg + "_.proto"), Package: proto.String(pkg), Syntax: proto.String("proto3"), Dependency: []string{"m.proto"},
			}
			set.File = append(set.File, files[pkg])
		}
		if services[full] == nil {
			services[full] = &descriptorpb.ServiceDescriptorProto{Name: proto.String(service)}
			files[pkg].Service = append(files[pkg].Service, services[full])
		}
		md := &descriptorpb.MethodDescriptorProto{Name: proto.String(method), InputType: proto.String(".m.M"), OutputType: proto.String(".m.M")}
		if len(words) == 3 {
			md.Options = new(descriptorpb.MethodOptions)
			proto.SetExtension(md.Options, annotations.E_Http, &annotations.HttpRule{Pattern: &annotations.HttpRule_Get{Get: words[2]}})
		}
		services[full].Method = append(services[full].Method, md)
	}
	s, err := schema.New(set)
	if err != nil {
		t.Fatal(err)
	}
	return Member{Label: label, Schema: s, Codecs: transcode.NewCompiler(s.Types(), transcode.Options{}), Conn: conn{label}, FromFiles: true}
}

func newExposure(t *testing.T, expose, hide string) *Exposure {
	t.Helper()
	e, err := NewExposure(strings.Fields(expose), strings.Fields(hide))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func mustCompile(t *testing.T, cfg *Config, members ...Member) *Table {
	t.Helper()
	table, err := Compile(cfg, members)
	if err != nil {
		t.Fatal(err)
	}
	return table
}
