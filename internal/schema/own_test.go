package schema

import (
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
)

func TestServicesOfPackagesThatBeginWithGRPC(t *testing.T) {
	for service, own := range map[string]bool{
		"grpc.reflection.v1.ServerReflection":      true,
		"grpc.reflection.v1alpha.ServerReflection": true,
		"grpc.health.v1.Health":                    true,
		"grpc.channelz.v1.Channelz":                true,
		"grpc.binarylog.v1.BinaryLog":              true,
		"grpc.go.profiling.v1alpha.Profiling":      true,
		"grpc.gateway.v1.Users":                    false,
		"grpc.Users":                               false,
		"grpc.health.Users":                        false,
		"grpc.health.vendor.Users":                 false,
		"grpc.health.v1.users.Users":               false,
		"grpc.healthcare.v1.Users":                 false,
		"my.grpc.health.v1.Health":                 false,
	} {
		if IsGRPCOwn(service) != own {
			t.Errorf("IsGRPCOwn(%q) is %v", service, !own)
		}
	}

	file := func(pkg, service string) *descriptorpb.FileDescriptorProto {
		return &descriptorpb.FileDescriptorProto{
			Name: proto.String(pkg + ".proto"), Package: proto.String(pkg),
			Service: []*descriptorpb.ServiceDescriptorProto{{Name: proto.String(service)}},
		}
	}
	s, err := New(&descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{
		file("grpc.health.v1", "Health"), file("grpc.gateway.v1", "Users"),
	}})
	if err != nil || !slices.Equal(s.Services(), []string{"grpc.gateway.v1.Users"}) {
		t.Errorf("services %v, error %v", s.Services(), err)
	}
}
