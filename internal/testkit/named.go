package testkit

import (
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/grpc"
	"google.golang.org/grpc/reflection"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// StartNamed starts a backend with one gRPC service of any name, such as user.v1.Users. Its method
// Get takes a google.protobuf.StringValue and answers with one, which is the given answer. A rule
// is an HTTP method and a path template, whose variable is {value}.
func StartNamed(t testing.TB, grpcService, answer string, rules ...string) *Backend {
	t.Helper()
	return StartNamedAt(t, "", grpcService, answer, rules...)
}

// StartNamedAt is StartNamed at an address of the caller's choice. "": any of 127.0.0.1.
func StartNamedAt(t testing.TB, addr, grpcService, answer string, rules ...string) *Backend {
	t.Helper()
	files, err := describe(grpcService, rules)
	if err != nil {
		t.Fatal(err)
	}
	return startNamed(t, answer, WithAddress(addr), WithRegister(func(s grpc.ServiceRegistrar) {
		reflectionv1.RegisterServerReflectionServer(s, reflection.NewServerV1(reflection.ServerOptions{
			Services: serviceName(grpcService), DescriptorResolver: files,
		}))
	}))
}

// StartSilent is StartNamed without server reflection. DescriptorSet describes such a service.
func StartSilent(t testing.TB, answer string) *Backend {
	t.Helper()
	return startNamed(t, answer)
}

// startNamed starts a backend that answers every method with the given answer.
func startNamed(t testing.TB, answer string, opts ...Option) *Backend {
	t.Helper()
	return StartBackend(t, append(opts, WithoutServices(), WithReflection(false, false),
		WithServerOptions(grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
			if err := stream.RecvMsg(new(wrapperspb.StringValue)); err != nil {
				return err
			}
			return stream.SendMsg(wrapperspb.String(answer))
		})))...)
}

// DescriptorSet is what protoc would write of the service that StartNamed starts, with all that it
// imports.
func DescriptorSet(t testing.TB, grpcService string, rules ...string) []byte {
	t.Helper()
	files, err := describe(grpcService, rules)
	if err != nil {
		t.Fatal(err)
	}
	set, seen := new(descriptorpb.FileDescriptorSet), make(map[string]bool)
	var add func(protoreflect.FileDescriptor)
	add = func(file protoreflect.FileDescriptor) {
		if seen[file.Path()] {
			return
		}
		seen[file.Path()] = true
		for i := range file.Imports().Len() {
			add(file.Imports().Get(i).FileDescriptor)
		}
		set.File = append(set.File, protodesc.ToFileDescriptorProto(file))
	}
	files.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		add(file)
		return true
	})
	raw, err := proto.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// describe makes the descriptor of the service.
func describe(grpcService string, rules []string) (*protoregistry.Files, error) {
	pkg, short := "", grpcService
	if dot := strings.LastIndexByte(grpcService, '.'); dot >= 0 {
		pkg, short = grpcService[:dot], grpcService[dot+1:]
	}
	const value = ".google.protobuf.StringValue"
	method := &descriptorpb.MethodDescriptorProto{Name: proto.String("Get"), InputType: proto.String(value), OutputType: proto.String(value)}
	for i, r := range rules {
		verb, path, _ := strings.Cut(r, " ")
		rule := &annotations.HttpRule{Pattern: &annotations.HttpRule_Custom{Custom: &annotations.CustomHttpPattern{Kind: verb, Path: path}}}
		if i == 0 {
			method.Options = &descriptorpb.MethodOptions{}
			proto.SetExtension(method.Options, annotations.E_Http, rule)
			continue
		}
		first := proto.GetExtension(method.Options, annotations.E_Http).(*annotations.HttpRule)
		first.AdditionalBindings = append(first.AdditionalBindings, rule)
	}
	file := &descriptorpb.FileDescriptorProto{
		Syntax: proto.String("proto3"), Name: proto.String(grpcService + ".proto"), Package: proto.String(pkg),
		Dependency: []string{"google/protobuf/wrappers.proto", "google/api/annotations.proto"},
		Service:    []*descriptorpb.ServiceDescriptorProto{{Name: proto.String(short), Method: []*descriptorpb.MethodDescriptorProto{method}}},
	}
	built, err := protodesc.NewFile(file, protoregistry.GlobalFiles)
	if err != nil {
		return nil, err
	}
	files := new(protoregistry.Files)
	return files, files.RegisterFile(built)
}

// serviceName is what server reflection lists.
type serviceName string

// GetServiceInfo implements reflection.ServiceInfoProvider.
func (n serviceName) GetServiceInfo() map[string]grpc.ServiceInfo {
	return map[string]grpc.ServiceInfo{string(n): {}}
}
