// Command protoset writes the schema that the differential tests of package transcode run over, as
// a FileDescriptorSet: the conformance suite's test messages, the well-known types, google's API
// protos that this module depends on anyway, and the .proto files of testdata. Use it through
// generate.sh.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	_ "google.golang.org/genproto/googleapis/api/annotations"
	_ "google.golang.org/genproto/googleapis/api/distribution"
	_ "google.golang.org/genproto/googleapis/api/httpbody"
	_ "google.golang.org/genproto/googleapis/api/serviceconfig"
	_ "google.golang.org/genproto/googleapis/rpc/code"
	_ "google.golang.org/genproto/googleapis/rpc/context/attribute_context"
	_ "google.golang.org/genproto/googleapis/rpc/errdetails"
	_ "google.golang.org/genproto/googleapis/rpc/status"
)

func main() {
	suite := flag.String("suite", "", "directory of the conformance suite's .proto files")
	testdata := flag.String("testdata", "", "directory of our own .proto files")
	out := flag.String("o", "", "file to write")
	flag.Parse()
	if err := run(*suite, *testdata, *out); err != nil {
		fmt.Fprintln(os.Stderr, "protoset:", err)
		os.Exit(1)
	}
}

func run(suite, testdata, out string) error {
	names := []string{
		"google/protobuf/test_messages_edition2023.proto",
		"google/protobuf/test_messages_proto2.proto",
		"google/protobuf/test_messages_proto3.proto",
	}
	own, err := filepath.Glob(filepath.Join(testdata, "*.proto"))
	if err != nil {
		return err
	}
	for _, path := range own {
		names = append(names, filepath.Base(path))
	}
	compiler := protocompile.Compiler{
		Resolver: protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{suite, testdata}}),
	}
	compiled, err := compiler.Compile(context.Background(), names...)
	if err != nil {
		return fmt.Errorf("compile: %w", err)
	}
	set := &descriptorpb.FileDescriptorSet{}
	seen := map[string]bool{}
	for _, file := range registered() {
		add(set, seen, file)
	}
	for _, file := range compiled {
		add(set, seen, file)
	}
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(set)
	if err != nil {
		return fmt.Errorf("marshal: %w", err)
	}
	return os.WriteFile(out, data, 0o644) //nolint:gosec // all may read a file of the source tree
}

// registered returns the files of package google that this program is linked with, sorted by path.
func registered() []protoreflect.FileDescriptor {
	var files []protoreflect.FileDescriptor
	protoregistry.GlobalFiles.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		path := file.Path()
		if strings.HasPrefix(path, "google/") && !strings.HasPrefix(path, "google/protobuf/compiler/") {
			files = append(files, file)
		}
		return true
	})
	slices.SortFunc(files, func(a, b protoreflect.FileDescriptor) int { return strings.Compare(a.Path(), b.Path()) })
	return files
}

// add appends a file after what it imports.
func add(set *descriptorpb.FileDescriptorSet, seen map[string]bool, file protoreflect.FileDescriptor) {
	if seen[file.Path()] {
		return
	}
	seen[file.Path()] = true
	for i := range file.Imports().Len() {
		add(set, seen, file.Imports().Get(i).FileDescriptor)
	}
	fdp := protodesc.ToFileDescriptorProto(file)
	for _, msg := range fdp.MessageType {
		dropMessageSets(msg)
	}
	set.File = append(set.File, fdp)
}

// dropMessageSets takes out of a message what has to do with the MessageSets declared in it. Those
// are a wire format of proto1 that Go's protodesc does not accept any more.
func dropMessageSets(msg *descriptorpb.DescriptorProto) {
	sets := map[string]bool{}
	msg.NestedType = slices.DeleteFunc(msg.NestedType, func(nested *descriptorpb.DescriptorProto) bool {
		if nested.GetOptions().GetMessageSetWireFormat() {
			sets[nested.GetName()] = true
			return true
		}
		return false
	})
	ofSet := func(name string) bool { return sets[name[strings.LastIndexByte(name, '.')+1:]] }
	msg.Field = slices.DeleteFunc(msg.Field, func(field *descriptorpb.FieldDescriptorProto) bool {
		return ofSet(field.GetTypeName())
	})
	for _, nested := range msg.NestedType {
		nested.Extension = slices.DeleteFunc(nested.Extension, func(ext *descriptorpb.FieldDescriptorProto) bool {
			return ofSet(ext.GetExtendee())
		})
	}
}
