package schema

import (
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

// has reports whether a file is there: given, linked already, or one of the common files.
func (a *assembly) has(path string) bool {
	return a.given[path] != nil || a.base.has(path) || standardFile(path) != nil
}

// freshImports lists the imports that are not there, of the files that were added since the last
// call.
func (a *assembly) freshImports() []string {
	var paths []string
	for _, f := range a.fresh {
		for _, dep := range f.desc.GetDependency() {
			if !a.has(dep) {
				paths = append(paths, dep)
			}
		}
	}
	a.fresh = nil
	return paths
}

// importAliases makes files import what a server gave in place of the missing files.
func (a *assembly) importAliases() {
	if len(a.aliases) == 0 {
		return
	}
	for path, f := range a.given {
		imports := importSet(f)
		for i, dep := range f.desc.GetDependency() {
			// The alias may be imported as well. Then the types are found there.
			if to := a.aliases[dep]; to != "" && to != path && !imports[to] && !a.has(dep) && a.has(to) {
				f.desc.Dependency[i] = to
				imports[to] = true
			}
		}
	}
}

// importSet has the paths that a file imports directly.
func importSet(f *file) map[string]bool {
	set := make(map[string]bool, len(f.desc.GetDependency()))
	for _, dep := range f.desc.GetDependency() {
		set[dep] = true
	}
	return set
}

// unresolved lists the types that the given files use and that are declared nowhere, sorted.
func (a *assembly) unresolved() []string {
	homes := a.typeFiles()
	names := map[string]bool{}
	for _, f := range a.given {
		for _, name := range references(f.desc) {
			// The types of common files are linked and not fetched.
			if !strings.HasPrefix(name, "google.protobuf.") && a.home(name, homes) == "" {
				names[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// home is the path of the file that declares a type, or "" if there is none.
func (a *assembly) home(name string, given map[string]string) string {
	if path := given[name]; path != "" {
		return path
	}
	if d, err := a.base.FindDescriptorByName(protoreflect.FullName(name)); err == nil {
		return d.ParentFile().Path()
	}
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(name))
	if err != nil || standardFile(d.ParentFile().Path()) == nil {
		return ""
	}
	return d.ParentFile().Path()
}

// importByName makes files import the files that declare the types they use, where they do not.
func (a *assembly) importByName() {
	homes := a.typeFiles()
	steps := maxImportSteps
	for _, path := range slices.Sorted(maps.Keys(a.given)) {
		f := a.given[path]
		direct := importSet(f)
		var seen map[string]bool // only for files that do not import directly what they use
		for _, name := range references(f.desc) {
			home := a.home(name, homes)
			if home == "" || home == path || direct[home] {
				continue
			}
			if seen == nil {
				seen = a.imported(f, &steps)
			}
			if !seen[home] {
				seen[home] = true
				f.desc.Dependency = append(f.desc.Dependency, home)
			}
		}
	}
}

// imported lists the files that a file imports, also by the public imports of these.
func (a *assembly) imported(f *file, steps *int) map[string]bool {
	seen := map[string]bool{}
	open := slices.Clone(f.desc.GetDependency())
	for len(open) > 0 && *steps > 0 {
		*steps--
		path := open[len(open)-1]
		open = open[:len(open)-1]
		if seen[path] {
			continue
		}
		seen[path] = true
		if g := a.given[path]; g != nil {
			for _, i := range g.desc.GetPublicDependency() {
				if int(i) < len(g.desc.GetDependency()) && i >= 0 {
					open = append(open, g.desc.GetDependency()[i])
				}
			}
		} else if fd, err := a.linked(path); err == nil {
			for i := range fd.Imports().Len() {
				if imp := fd.Imports().Get(i); imp.IsPublic {
					open = append(open, imp.Path())
				}
			}
		}
	}
	return seen
}

func (a *assembly) linked(path string) (protoreflect.FileDescriptor, error) {
	if fd, err := a.base.FindFileByPath(path); err == nil {
		return fd, nil
	}
	if fd := standardFile(path); fd != nil {
		return fd, nil
	}
	return nil, protoregistry.NotFound
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

// references lists the types that a file uses, without the leading dot, sorted. It leaves out names
// that are not fully qualified, which no compiler writes.
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
