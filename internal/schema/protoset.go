package schema

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
)

// Protoset returns a loader of files with a serialised google.protobuf.FileDescriptorSet, as
// `protoc --include_imports --descriptor_set_out` and `buf build -o` write them. Several sets are
// taken together. A .proto file that is in more than one of them must be the same in all. The
// schema exposes all services except gRPC's own.
//
// Watch follows the files, even through the symbolic links that Kubernetes swaps.
//
// Errors name the file. They are those of the file system, *MissingImportError, *ConflictError, or
// say what is invalid.
func Protoset(files ...string) Loader { return &protoset{paths: files, tracker: newTracker()} }

type protoset struct {
	paths   []string
	tracker *tracker
}

// Watch implements Loader.
func (p *protoset) Watch(ctx context.Context, changed func()) { p.tracker.watch(ctx, changed) }

// Load implements Loader.
func (p *protoset) Load(ctx context.Context) (*Schema, error) {
	if len(p.paths) == 0 {
		return nil, errors.New("read descriptor sets: no file is given")
	}
	read := p.tracker.begin()
	defer read.end()
	a := newAssembly()
	for _, path := range p.paths {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		raw, err := read.file(path)
		if err != nil {
			return nil, fmt.Errorf("read descriptor set: %w", err)
		}
		if err := a.addSet(raw, path); err != nil {
			return nil, err
		}
	}
	s, err := a.buildStrict()
	if err != nil {
		return nil, fmt.Errorf("descriptor sets %s: %w", quoted(p.paths), hintIncludeImports(err))
	}
	if len(s.services) == 0 {
		return nil, fmt.Errorf("descriptor sets %s: they describe no service except gRPC's own", quoted(p.paths))
	}
	return s, nil
}

func (a *assembly) addSet(raw []byte, path string) error {
	set := &descriptorpb.FileDescriptorSet{}
	err := proto.UnmarshalOptions{Resolver: optionTypes(), AllowPartial: true}.Unmarshal(raw, set)
	if err == nil && len(set.GetFile()) == 0 {
		err = errors.New("it has no .proto file in it")
	}
	if err != nil {
		hint := ""
		if strings.HasSuffix(path, ".proto") {
			hint = " (.proto sources are read by `descriptors proto`)"
		}
		return fmt.Errorf("%s is not a serialised google.protobuf.FileDescriptorSet%s: %w", path, hint, err)
	}
	for _, fd := range set.GetFile() {
		if err := a.add(&file{desc: fd, origin: path}); err != nil {
			return err
		}
	}
	return nil
}

// hintIncludeImports adds the usual reason why a file is missing in a descriptor set.
func hintIncludeImports(err error) error {
	var missing *MissingImportError
	if !errors.As(err, &missing) {
		return err
	}
	return fmt.Errorf("%w (protoc puts imported files into the set with --include_imports)", err)
}
