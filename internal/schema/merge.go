package schema

import (
	"bytes"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
)

// merge adds the declarations of another part of a file to it. Some servers answer each question
// with a file that has nothing but what was asked for. It reports false, and changes nothing, if
// the two cannot be parts of one file: a declaration in both differs, or the rest of the file does.
func (a *assembly) merge(to, from *descriptorpb.FileDescriptorProto) bool {
	if a.merges -= countTopLevel(to) + countTopLevel(from); a.merges < 0 {
		return false
	}
	if !bytes.Equal(frame(to), frame(from)) {
		return false
	}
	messages, ok1 := union(to.GetMessageType(), from.GetMessageType())
	enums, ok2 := union(to.GetEnumType(), from.GetEnumType())
	services, ok3 := union(to.GetService(), from.GetService())
	extensions, ok4 := union(to.GetExtension(), from.GetExtension())
	if !ok1 || !ok2 || !ok3 || !ok4 {
		return false
	}
	to.MessageType, to.EnumType, to.Service, to.Extension = messages, enums, services, extensions
	addImports(to, from)
	to.SourceCodeInfo = nil // Its paths are those of one part.
	return true
}

// addImports adds the imports of another part of a file.
func addImports(to, from *descriptorpb.FileDescriptorProto) {
	at := map[string]int32{}
	for i, dep := range to.GetDependency() {
		at[dep] = int32(i)
	}
	public := map[int32]bool{}
	for _, i := range to.GetPublicDependency() {
		public[i] = true
	}
	for _, dep := range from.GetDependency() {
		if _, ok := at[dep]; !ok {
			at[dep] = int32(len(to.GetDependency()))
			to.Dependency = append(to.Dependency, dep)
		}
	}
	for _, i := range from.GetPublicDependency() {
		if i < 0 || int(i) >= len(from.GetDependency()) {
			continue // The part is broken, and linking would say so of the whole.
		}
		if i := at[from.GetDependency()[i]]; !public[i] {
			public[i] = true
			to.PublicDependency = append(to.PublicDependency, i)
		}
	}
}

func countTopLevel(fd *descriptorpb.FileDescriptorProto) int {
	return 1 + len(fd.GetMessageType()) + len(fd.GetEnumType()) + len(fd.GetService()) + len(fd.GetExtension()) + len(fd.GetDependency())
}

// frame is all of a file except its declarations and imports.
func frame(fd *descriptorpb.FileDescriptorProto) []byte {
	return canonical(&descriptorpb.FileDescriptorProto{
		Name: fd.Name, Package: fd.Package, Syntax: fd.Syntax, Edition: fd.Edition, Options: fd.Options,
	}, false)
}

// declared is a declaration of a file.
type declared interface {
	comparable
	proto.Message
	GetName() string
}

// union returns the declarations of both lists, sorted by name so that the order in which parts
// come does not matter. It reports false if the lists have different declarations of the same name.
func union[T declared](a, b []T) ([]T, bool) {
	byName := make(map[string]T, len(a))
	for _, d := range a {
		byName[d.GetName()] = d
	}
	all := slices.Clone(a)
	for _, d := range b {
		other, ok := byName[d.GetName()]
		if !ok {
			all = append(all, d)
			byName[d.GetName()] = d
		} else if !proto.Equal(other, d) {
			return nil, false
		}
	}
	slices.SortStableFunc(all, func(x, y T) int { return strings.Compare(x.GetName(), y.GetName()) })
	return all, true
}
