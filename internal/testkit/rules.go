package testkit

import (
	"fmt"
	"sync"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/caddy-grpc/gateway/internal/testkit/testpb"
)

// fieldRules are protovalidate's rules of the fields that WithRules describes.
var fieldRules = map[string]string{
	"EchoRequest.text":          `string { max_len: 16 }`,
	"EchoRequest.list":          `repeated { items { string { min_len: 1 } } }`,
	"EchoRequest.renamed_field": `string { max_len: 3 }`,
	"EchoRequest.big":           `cel { id: "big.odd" message: "must be odd" expression: "this == 0 || this % 2 == 1" }`,
	"Nested.value":              `string { max_len: 5 }`,
}

// WithRules makes the service describe its messages with rules of protovalidate, which it does not
// obey itself. See Rules.
func WithRules() Option {
	return func(o *options) { o.rules = true }
}

// ruledFiles are the files of Rules, linked.
var ruledFiles = sync.OnceValues(func() (*protoregistry.Files, error) {
	set, err := Rules(nil)
	if err != nil {
		return nil, err
	}
	return protodesc.NewFiles(set)
})

// ruled finds the files of Rules, and then those that are compiled in.
type ruled struct{}

// FindFileByPath implements protodesc.Resolver.
func (ruled) FindFileByPath(path string) (protoreflect.FileDescriptor, error) {
	files, err := ruledFiles()
	if err != nil {
		return nil, err
	}
	if fd, err := files.FindFileByPath(path); err == nil {
		return fd, nil
	}
	return protoregistry.GlobalFiles.FindFileByPath(path)
}

// FindDescriptorByName implements protodesc.Resolver.
func (ruled) FindDescriptorByName(name protoreflect.FullName) (protoreflect.Descriptor, error) {
	files, err := ruledFiles()
	if err != nil {
		return nil, err
	}
	if d, err := files.FindDescriptorByName(name); err == nil {
		return d, nil
	}
	return protoregistry.GlobalFiles.FindDescriptorByName(name)
}

// Rules returns the descriptors of the services with rules of protovalidate: EchoRequest.text has
// at most 16 characters, the items of list at least one, renamed_field at most 3, and Nested.value
// at most 5. An EchoRequest.big is 0 or odd. The messages of Library have no rules. edit, if it is
// not nil, may change the file.
func Rules(edit func(*descriptorpb.FileDescriptorProto)) (*descriptorpb.FileDescriptorSet, error) {
	set := new(descriptorpb.FileDescriptorSet)
	seen := make(map[string]bool)
	var add func(protoreflect.FileDescriptor)
	add = func(fd protoreflect.FileDescriptor) {
		if seen[fd.Path()] {
			return
		}
		seen[fd.Path()] = true
		for i := range fd.Imports().Len() {
			add(fd.Imports().Get(i).FileDescriptor)
		}
		set.File = append(set.File, protodesc.ToFileDescriptorProto(fd))
	}
	add(validate.File_buf_validate_validate_proto)
	add(testpb.File_internal_testkit_testpb_echo_proto)
	echo := set.GetFile()[len(set.GetFile())-1]
	echo.Dependency = append(echo.Dependency, validate.File_buf_validate_validate_proto.Path())
	for _, m := range echo.GetMessageType() {
		for _, f := range m.GetField() {
			text, ok := fieldRules[m.GetName()+"."+f.GetName()]
			if !ok {
				continue
			}
			if err := SetRules(f, text); err != nil {
				return nil, err
			}
		}
	}
	if edit != nil {
		edit(echo)
	}
	return set, nil
}

// SetRules sets the rules of a field, a buf.validate.FieldRules in text format.
func SetRules(f *descriptorpb.FieldDescriptorProto, text string) error {
	rules := new(validate.FieldRules)
	if err := prototext.Unmarshal([]byte(text), rules); err != nil {
		return fmt.Errorf("rules of %s: %w", f.GetName(), err)
	}
	if f.GetOptions() == nil {
		f.Options = new(descriptorpb.FieldOptions)
	}
	proto.SetExtension(f.GetOptions(), validate.E_Field, rules)
	return nil
}
