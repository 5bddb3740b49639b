package schema

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

// maxPublicPaths bounds the ways in which a file reaches others through public imports. The
// descriptor library walks each way. There are 2^n of them through n diamonds, which a hostile
// server could send.
const maxPublicPaths = 100_000

var errCircle = errors.New("it imports itself, in a circle")

// progress is the state of one file while the files are linked in the order of their imports.
type progress struct {
	done bool
	err  error
	// inherited reports that err is that of an import.
	inherited   bool
	publicPaths int
}

// isStandard reports whether the linked version of a given file is used in its place.
func (a *assembly) isStandard(path string) bool {
	fd := standardFile(path)
	return fd != nil && covers(fd, a.given[path].desc)
}

// link builds all files in the order of their imports. Afterwards each given file has a state.
func (a *assembly) link() {
	a.files = &protoregistry.Files{}
	a.state = map[string]*progress{}
	a.missing = map[string][]string{}
	for _, path := range slices.Sorted(maps.Keys(a.given)) {
		a.linkFile(path)
	}
}

func (a *assembly) linkFile(path string) *progress {
	if p := a.state[path]; p != nil {
		if !p.done {
			return &progress{done: true, err: badFile(path, errCircle)}
		}
		return p
	}
	p := &progress{}
	a.state[path] = p
	p.err = a.register(path, p)
	p.done = true
	return p
}

func (a *assembly) register(path string, p *progress) error {
	if a.base.has(path) {
		return nil
	}
	if a.given[path] == nil || a.isStandard(path) {
		if fd := standardFile(path); fd != nil {
			return a.registerStandard(fd)
		}
		// An empty file takes the place of the missing one. That is enough if only options needed
		// it.
		return a.registerProto(&descriptorpb.FileDescriptorProto{Name: proto.String(path)})
	}
	desc := a.given[path].desc
	public := map[int32]bool{}
	for _, i := range desc.GetPublicDependency() {
		public[i] = true
	}
	var absent []string
	for i, dep := range desc.GetDependency() {
		q := a.linkFile(dep)
		if q.err != nil {
			// In a circle each file passes the error on, and the one that meets it first is to
			// blame.
			p.inherited = a.state[dep].done
			return fmt.Errorf("file %q imports %w", path, q.err)
		}
		if public[int32(i)] {
			p.publicPaths += 1 + q.publicPaths
		}
		if !a.has(dep) {
			absent = append(absent, dep)
			a.missing[dep] = append(a.missing[dep], path)
		}
	}
	if p.publicPaths > maxPublicPaths {
		return badFile(path, fmt.Errorf("it has more than %d ways to its public imports", maxPublicPaths))
	}
	err := a.registerProto(desc)
	if err == nil {
		return nil
	}
	if len(absent) > 0 {
		return &MissingImportError{File: absent[0], ImportedBy: []string{path}, Err: err}
	}
	return badFile(path, err)
}

func (a *assembly) registerProto(desc *descriptorpb.FileDescriptorProto) error {
	fd, err := protodesc.NewFile(desc, append(layers{a.files}, a.base...))
	if err != nil {
		return err
	}
	return a.registerFile(fd)
}

// registerFile says which two files declare the same, which the registry's own error does not.
func (a *assembly) registerFile(fd protoreflect.FileDescriptor) error {
	if len(a.base) > 0 {
		for _, d := range declarations(fd) {
			if other, err := a.base.FindDescriptorByName(d.FullName()); err == nil {
				return fmt.Errorf("%s is in conflict with file %q", d.FullName(), other.ParentFile().Path())
			}
		}
	}
	err := a.files.RegisterFile(fd)
	if err == nil {
		return nil
	}
	for _, d := range declarations(fd) {
		if other, lookup := a.files.FindDescriptorByName(d.FullName()); lookup == nil && other.ParentFile() != nil {
			return fmt.Errorf("%s is in conflict with file %q: %w", d.FullName(), other.ParentFile().Path(), err)
		}
	}
	return err
}

// declarations lists what a file declares at its top level.
func declarations(fd protoreflect.FileDescriptor) []protoreflect.Descriptor {
	var list []protoreflect.Descriptor
	for i := range fd.Messages().Len() {
		list = append(list, fd.Messages().Get(i))
	}
	for i := range fd.Enums().Len() {
		list = append(list, fd.Enums().Get(i))
	}
	for i := range fd.Extensions().Len() {
		list = append(list, fd.Extensions().Get(i))
	}
	for i := range fd.Services().Len() {
		list = append(list, fd.Services().Get(i))
	}
	return list
}

// registerStandard registers a linked file with all it imports.
func (a *assembly) registerStandard(fd protoreflect.FileDescriptor) error {
	if fd == nil {
		return nil
	}
	if _, err := a.files.FindFileByPath(fd.Path()); err == nil || a.base.has(fd.Path()) {
		return nil
	}
	for i := range fd.Imports().Len() {
		imported := fd.Imports().Get(i).FileDescriptor
		// A given file that declares more than the linked one is linked by itself.
		if a.given[imported.Path()] != nil && !a.isStandard(imported.Path()) {
			continue
		}
		if err := a.registerStandard(imported); err != nil {
			return err
		}
	}
	if err := a.registerFile(fd); err != nil {
		return badFile(fd.Path(), err)
	}
	return nil
}

// missingProblems lists the imports that were missing and not needed.
func (a *assembly) missingProblems() []Problem {
	var problems []Problem
	for path, by := range a.missing {
		by = slices.DeleteFunc(slices.Clone(by), func(importer string) bool { return a.state[importer].err != nil })
		if len(by) == 0 {
			continue // The files that import it are broken and have problems of their own.
		}
		problems = append(problems, Problem{Subject: path, Reason: "the file is missing; " + quoted(by) + " imports it, for options at most"})
	}
	return problems
}

// linkErrors joins the errors of the files that are to blame, ten at most. Each missing file is
// named once.
func (a *assembly) linkErrors() error {
	const most = 10
	var errs []error
	told := map[string]bool{}
	for _, path := range slices.Sorted(maps.Keys(a.state)) {
		p := a.state[path]
		if p.err == nil || p.inherited {
			continue
		}
		var missing *MissingImportError
		if errors.As(p.err, &missing) {
			if told[missing.File] {
				continue
			}
			told[missing.File] = true
			missing.ImportedBy = a.missing[missing.File]
		}
		errs = append(errs, p.err)
	}
	if n := len(errs) - most; n > 0 {
		errs = append(errs[:most], fmt.Errorf("and %d more", n))
	}
	return errors.Join(errs...)
}
