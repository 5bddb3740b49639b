package schema

import (
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// layers look for files and declarations in several registries, in order.
type layers []*protoregistry.Files

func (l layers) has(path string) bool {
	_, err := l.FindFileByPath(path)
	return err == nil
}

// FindFileByPath implements protodesc.Resolver.
func (l layers) FindFileByPath(path string) (protoreflect.FileDescriptor, error) {
	for _, files := range l {
		if fd, err := files.FindFileByPath(path); err == nil {
			return fd, nil
		}
	}
	return nil, protoregistry.NotFound
}

// FindDescriptorByName implements protodesc.Resolver.
func (l layers) FindDescriptorByName(name protoreflect.FullName) (protoreflect.Descriptor, error) {
	for _, files := range l {
		if d, err := files.FindDescriptorByName(name); err == nil {
			return d, nil
		}
	}
	return nil, protoregistry.NotFound
}
