package prune

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

// graph is everything that the inputs describe, visible or not.
type graph struct {
	// files are in the order in which they were found, each after those that it imports.
	files []*file
	// byDesc finds the file that a descriptor is in. Equal descriptors share a file.
	byDesc map[protoreflect.FileDescriptor]*file
	// byKey finds the file with the same content.
	byKey map[fileKey]*file
	// extensions are the extensions by what they extend, and by number.
	extensions map[protoreflect.FullName]map[protoreflect.FieldNumber][]*node
	// names are the messages of all files by name.
	names map[protoreflect.FullName][]*node
}

// fileKey identifies the content of a file, with that of its imports.
type fileKey [sha256.Size]byte

// file is one file of the graph, which may come from several inputs.
type file struct {
	key   fileKey
	desc  protoreflect.FileDescriptor
	proto *descriptorpb.FileDescriptorProto
	// inputs are the indexes of the inputs that have the file.
	inputs map[int]bool
	// common files are shown whole or not at all.
	common bool
	// known reports whether all methods that could use the file's types are in the graph.
	known bool

	// deps are the imported files by their position in proto.Dependency. Missing ones are nil.
	deps []*file
	// optionDeps are those of proto.OptionDependency.
	optionDeps []*file

	// root is the node of the file itself. It needs what the file's options need.
	root *node
	// nodes are all declarations in the file, but not root.
	nodes  []*node
	byName map[protoreflect.FullName]*node

	// The rest is filled by output.

	// content reports whether something is left to be shown.
	content bool

	state visit
	// as is the file that is sent instead, because it turned out to be equal. Mostly the file
	// itself.
	as *file
}

// visit is how far output has come with a file.
type visit int

const (
	unvisited visit = iota
	visiting
	visited
)

// node is a declaration: a message, an enum, an extension or a method.
type node struct {
	file *file
	// parent is the message that it is nested in, or nil.
	parent *node
	desc   protoreflect.Descriptor
	// refs are the declarations that it is not valid without.
	refs []*node
	// softRefs are declarations that it needs to be understood: options and types named in options.
	softRefs []*node
	// pulls are declarations that are visible if it is, and that it does not import.
	pulls []*node

	// visible nodes are reached from a visible method, hidden ones from another method. Both may be
	// true, and neither.
	visible, hidden bool
	// dropped nodes are not shown.
	dropped bool
}

func newGraph(inputs []Input) *graph {
	g := &graph{
		byDesc:     map[protoreflect.FileDescriptor]*file{},
		byKey:      map[fileKey]*file{},
		extensions: map[protoreflect.FullName]map[protoreflect.FieldNumber][]*node{},
		names:      map[protoreflect.FullName][]*node{},
	}
	for i, in := range inputs {
		seen := map[*file]bool{}
		for _, m := range in.Methods {
			g.use(g.addFile(m.ParentFile()), i, seen)
		}
		for _, fd := range in.Files {
			g.use(g.addFile(fd), i, seen)
		}
		for f := range seen {
			f.known = f.known || in.Schema != nil
		}
		for _, fd := range sorted(in.Schema) {
			g.use(g.addFile(fd), i, seen)
		}
	}
	for _, f := range g.files {
		g.addNodes(f)
	}
	for _, f := range g.files {
		g.addRefs(f)
	}
	return g
}

// addFile returns the file of a descriptor, or nil for a missing one.
func (g *graph) addFile(fd protoreflect.FileDescriptor) *file {
	if fd == nil || fd.IsPlaceholder() {
		return nil
	}
	if imported, ok := fd.(protoreflect.FileImport); ok {
		fd = imported.FileDescriptor
	}
	if f := g.byDesc[fd]; f != nil {
		return f
	}
	f := &file{desc: fd, proto: protodesc.ToFileDescriptorProto(fd), inputs: map[int]bool{}, common: isCommon(fd)}
	h := sha256.New()
	fmt.Fprintf(h, "%q", fd.Path())
	for _, imported := range importsOf(fd) {
		f.deps = append(f.deps, g.addFile(imported))
	}
	for _, imported := range optionImportsOf(fd) {
		f.optionDeps = append(f.optionDeps, g.addFile(imported))
	}
	if !f.common {
		for _, dep := range append(append([]*file(nil), f.deps...), f.optionDeps...) {
			if dep != nil {
				h.Write(dep.key[:])
			}
			fmt.Fprint(h, dep == nil)
		}
		h.Write(withoutComments(f.proto))
	}
	f.key = fileKey(h.Sum(nil))
	f.as = f
	if same := g.byKey[f.key]; same != nil {
		g.byDesc[fd] = same
		// With comments, or the newer release of a common file.
		if proto.Size(f.proto) > proto.Size(same.proto) {
			same.desc, same.proto, same.deps, same.optionDeps = f.desc, f.proto, f.deps, f.optionDeps
		}
		return same
	}
	g.byDesc[fd], g.byKey[f.key] = f, f
	g.files = append(g.files, f)
	return f
}

// use notes that an input has a file, with all that it imports.
func (g *graph) use(f *file, input int, seen map[*file]bool) {
	if f == nil || seen[f] {
		return
	}
	seen[f] = true
	f.inputs[input] = true
	for _, dep := range f.deps {
		g.use(dep, input, seen)
	}
	for _, dep := range f.optionDeps {
		g.use(dep, input, seen)
	}
}

// sorted returns the files by name.
func sorted(files *protoregistry.Files) []protoreflect.FileDescriptor {
	var list []protoreflect.FileDescriptor
	files.RangeFiles(func(fd protoreflect.FileDescriptor) bool {
		list = append(list, fd)
		return true
	})
	slices.SortFunc(list, func(a, b protoreflect.FileDescriptor) int { return strings.Compare(a.Path(), b.Path()) })
	return list
}

func importsOf(fd protoreflect.FileDescriptor) []protoreflect.FileDescriptor {
	return listOf(fd.Imports())
}

// optionImportsOf returns the files that are imported for options alone, since edition 2024.
func optionImportsOf(fd protoreflect.FileDescriptor) []protoreflect.FileDescriptor {
	if fd, ok := fd.(interface {
		OptionImports() protoreflect.FileImports
	}); ok {
		return listOf(fd.OptionImports())
	}
	return nil
}

func listOf(imports protoreflect.FileImports) []protoreflect.FileDescriptor {
	list := make([]protoreflect.FileDescriptor, imports.Len())
	for i := range list {
		list[i] = imports.Get(i).FileDescriptor
	}
	return list
}

// isCommon reports whether a file is a release of one that everybody has. Nothing in these is
// secret, and clients often have their own, with which a part of one would be in conflict.
func isCommon(fd protoreflect.FileDescriptor) bool {
	path := fd.Path()
	if !strings.HasPrefix(path, "google/protobuf/") && !strings.HasPrefix(path, "google/api/") && !strings.HasPrefix(path, "google/rpc/") {
		return false
	}
	linked, err := protoregistry.GlobalFiles.FindFileByPath(path)
	return err == nil && linked.Package() == fd.Package() && fd.Services().Len() == 0
}

func withoutComments(fd *descriptorpb.FileDescriptorProto) []byte {
	comments := fd.SourceCodeInfo
	fd.SourceCodeInfo = nil
	defer func() { fd.SourceCodeInfo = comments }()
	return marshal(fd)
}

func marshal(m proto.Message) []byte {
	// It fails for what no linked file has (invalid UTF-8), and for required fields without this.
	raw, err := proto.MarshalOptions{Deterministic: true, AllowPartial: true}.Marshal(m)
	if err != nil {
		return []byte(err.Error())
	}
	return raw
}

// declares is what files and messages have in common.
type declares interface {
	Messages() protoreflect.MessageDescriptors
	Enums() protoreflect.EnumDescriptors
	Extensions() protoreflect.ExtensionDescriptors
}

func (g *graph) addNodes(f *file) {
	f.byName = map[protoreflect.FullName]*node{}
	f.root = &node{file: f, desc: f.desc}
	g.addDeclarations(f, nil, f.desc)
	for i := range f.desc.Services().Len() {
		methods := f.desc.Services().Get(i).Methods()
		for j := range methods.Len() {
			f.add(nil, methods.Get(j))
		}
	}
}

func (g *graph) addDeclarations(f *file, parent *node, in declares) {
	for i := range in.Messages().Len() {
		md := in.Messages().Get(i)
		n := f.add(parent, md)
		g.names[md.FullName()] = append(g.names[md.FullName()], n)
		g.addDeclarations(f, n, md)
	}
	for i := range in.Enums().Len() {
		f.add(parent, in.Enums().Get(i))
	}
	for i := range in.Extensions().Len() {
		xd := in.Extensions().Get(i)
		n := f.add(parent, xd)
		extended := xd.ContainingMessage().FullName()
		numbers := g.extensions[extended]
		if numbers == nil {
			numbers = map[protoreflect.FieldNumber][]*node{}
			g.extensions[extended] = numbers
		}
		numbers[xd.Number()] = append(numbers[xd.Number()], n)
	}
}

func (f *file) add(parent *node, d protoreflect.Descriptor) *node {
	n := &node{file: f, parent: parent, desc: d}
	f.nodes = append(f.nodes, n)
	f.byName[d.FullName()] = n
	return n
}

// node returns the node of a declaration, or nil if its file is missing.
func (g *graph) node(d protoreflect.Descriptor) *node {
	if d == nil || d.IsPlaceholder() {
		return nil
	}
	f := g.addedFile(d.ParentFile())
	if f == nil {
		return nil
	}
	return f.byName[d.FullName()]
}

func (g *graph) addedFile(fd protoreflect.FileDescriptor) *file {
	if imported, ok := fd.(protoreflect.FileImport); ok {
		fd = imported.FileDescriptor
	}
	return g.byDesc[fd]
}

// related reports whether an input has both files.
func (f *file) related(other *file) bool {
	for i := range f.inputs {
		if other.inputs[i] {
			return true
		}
	}
	return false
}
