package schema

import (
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/descriptorpb"
)

// freshImports lists the imports of the files added since it was asked last that are neither given nor standard.
func (a *assembly) freshImports() []string {
	var paths []string
	for _, f := range a.fresh {
		for _, dep := range f.desc.GetDependency() {
			if a.given[dep] == nil && standardFile(dep) == nil {
				paths = append(paths, dep)
			}
		}
	}
	a.fresh = nil
	return paths
}

// lacksImport reports whether a direct import of the file is absent.
func (a *assembly) lacksImport(f *file) bool {
	return slices.ContainsFunc(f.desc.GetDependency(), func(dep string) bool { return a.given[dep] == nil && standardFile(dep) == nil })
}

// unresolved lists the types that files with an absent import use and that no given file declares, sorted.
func (a *assembly) unresolved() []string {
	homes := a.typeFiles()
	names := map[string]bool{}
	for _, f := range a.given {
		if !a.lacksImport(f) {
			continue
		}
		for _, name := range references(f.desc) {
			// The types of standard files are under google; those are linked, not fetched.
			if homes[name] == "" && !strings.HasPrefix(name, "google.protobuf.") {
				names[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// importByName makes files with an absent import also import the given files that declare the types they use.
func (a *assembly) importByName() {
	homes := a.typeFiles()
	for path, f := range a.given {
		if !a.lacksImport(f) {
			continue
		}
		for _, name := range references(f.desc) {
			if home := homes[name]; home != "" && home != path && !slices.Contains(f.desc.GetDependency(), home) {
				f.desc.Dependency = append(f.desc.Dependency, home)
			}
		}
	}
}

// typeFiles maps the full names of all messages and enums to the given files that declare them.
func (a *assembly) typeFiles() map[string]string {
	homes := map[string]string{}
	var messages func(path, scope string, list []*descriptorpb.DescriptorProto)
	enums := func(path, scope string, list []*descriptorpb.EnumDescriptorProto) {
		for _, e := range list {
			homes[qualify(scope, e.GetName())] = path
		}
	}
	messages = func(path, scope string, list []*descriptorpb.DescriptorProto) {
		for _, m := range list {
			name := qualify(scope, m.GetName())
			homes[name] = path
			messages(path, name, m.GetNestedType())
			enums(path, name, m.GetEnumType())
		}
	}
	for path, f := range a.given {
		messages(path, f.desc.GetPackage(), f.desc.GetMessageType())
		enums(path, f.desc.GetPackage(), f.desc.GetEnumType())
	}
	return homes
}

// references lists the types that a file uses, without the leading dot, sorted. Names that are not fully
// qualified, which no compiler writes, are left out.
func references(fd *descriptorpb.FileDescriptorProto) []string {
	var names []string
	add := func(name string) {
		if full, ok := strings.CutPrefix(name, "."); ok {
			names = append(names, full)
		}
	}
	fields := func(list []*descriptorpb.FieldDescriptorProto) {
		for _, f := range list {
			add(f.GetTypeName())
			add(f.GetExtendee())
		}
	}
	var messages func(list []*descriptorpb.DescriptorProto)
	messages = func(list []*descriptorpb.DescriptorProto) {
		for _, m := range list {
			fields(m.GetField())
			fields(m.GetExtension())
			messages(m.GetNestedType())
		}
	}
	messages(fd.GetMessageType())
	fields(fd.GetExtension())
	for _, s := range fd.GetService() {
		for _, m := range s.GetMethod() {
			add(m.GetInputType())
			add(m.GetOutputType())
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
