// Package prune cuts descriptors down to what clients may see: the methods that can be called, and
// what describes them. It also puts the descriptors of several services into one set in which every
// file has a name of its own.
//
// It neither links files nor knows how methods are exposed. Server reflection and everything else
// that shows descriptors to strangers uses it, so that they all hide the same.
//
// # What stays
//
//   - A visible method, and every type that its messages can hold. Fields are never removed from a
//     message that stays. An extension of such a message stays as well, even if no file imports it.
//   - The options of all that stays, with the files that declare them. So google.api.http is still
//     there to be read.
//   - A type that no method of the schema uses, such as one that a service packs into
//     google.protobuf.Any, unless it is in a file with something hidden and could be a part of
//     that.
//   - The common files of google/protobuf, google/api and google/rpc, whole, if they are imported.
//   - The comments of what stays, if the descriptors have comments.
//
// # What goes
//
//   - Methods that are not visible, services without a visible method, and the types, extensions,
//     options and files that only those use.
//   - The content of a hidden message that a visible type is nested in. Only its name is left.
//   - Imports that nothing needs any more. An import that was never needed stays if its file does.
package prune

import (
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

// Input is what one service contributes.
type Input struct {
	// Methods are the methods that are visible, all of one schema. All its other methods are
	// hidden.
	Methods []protoreflect.MethodDescriptor
	// Schema is all files of the schema. It tells which types belong to hidden methods alone.
	// Without it, every type that no visible method uses is taken for hidden. Default: nil.
	Schema *protoregistry.Files
	// Files are visible as a whole. They are for types that no method uses.
	Files []protoreflect.FileDescriptor
}

// Files returns the descriptors of what is visible. Each file comes after those that it imports,
// and no two have the same name. The result is the same for the same inputs in the same order.
//
// Files with the same content are one file, in which everything is visible that is visible in one
// of the inputs. Of different files with the same name, the first keeps its name. The others are
// named after their package, such as "acme.v1/service.proto", and the files that import them say
// so. Different files may declare types with the same full name. Such files are valid one by one,
// but a client cannot link them into one registry.
//
// The inputs must be linked. Imports that are missing stay missing. The result is the caller's.
func Files(inputs ...Input) []*descriptorpb.FileDescriptorProto {
	g := newGraph(inputs)
	g.mark(inputs)
	g.drop()
	return g.output()
}
