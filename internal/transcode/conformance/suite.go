package main

import (
	"context"
	"fmt"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"
)

// suiteFiles are the .proto files that the suite's package ships.
var suiteFiles = []string{
	"conformance/conformance.proto",
	"google/protobuf/test_messages_edition2023.proto",
	"google/protobuf/test_messages_proto2.proto",
	"google/protobuf/test_messages_proto2_editions.proto",
	"google/protobuf/test_messages_proto3.proto",
	"google/protobuf/test_messages_proto3_editions.proto",
}

// suite is the schema of the conformance suite: its protocol and its test messages.
type suite struct {
	files    *protoregistry.Files
	types    *dynamicpb.Types
	request  protoreflect.MessageDescriptor
	response protoreflect.MessageDescriptor
}

// loadSuite compiles the suite's .proto files from a directory.
func loadSuite(dir string) (*suite, error) {
	compiler := protocompile.Compiler{
		Resolver: protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{dir}}),
	}
	compiled, err := compiler.Compile(context.Background(), suiteFiles...)
	if err != nil {
		return nil, fmt.Errorf("compile the suite's protos in %q: %w", dir, err)
	}
	s := &suite{files: new(protoregistry.Files)}
	for _, file := range compiled {
		if err := register(s.files, file); err != nil {
			return nil, err
		}
	}
	s.types = dynamicpb.NewTypes(s.files)
	if s.request, err = s.message("conformance.ConformanceRequest"); err != nil {
		return nil, err
	}
	if s.response, err = s.message("conformance.ConformanceResponse"); err != nil {
		return nil, err
	}
	return s, nil
}

// register adds a file and what it imports.
func register(files *protoregistry.Files, file protoreflect.FileDescriptor) error {
	if _, err := files.FindFileByPath(file.Path()); err == nil {
		return nil
	}
	for i := range file.Imports().Len() {
		if err := register(files, file.Imports().Get(i).FileDescriptor); err != nil {
			return err
		}
	}
	if err := files.RegisterFile(file); err != nil {
		return fmt.Errorf("register %q: %w", file.Path(), err)
	}
	return nil
}

func (s *suite) message(name protoreflect.FullName) (protoreflect.MessageDescriptor, error) {
	desc, err := s.files.FindDescriptorByName(name)
	if err != nil {
		return nil, fmt.Errorf("find %q in the suite's protos: %w", name, err)
	}
	md, ok := desc.(protoreflect.MessageDescriptor)
	if !ok {
		return nil, fmt.Errorf("%q in the suite's protos is no message", name)
	}
	return md, nil
}
