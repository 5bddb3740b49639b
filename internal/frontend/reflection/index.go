package reflection

import (
	"maps"
	"slices"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/schema/prune"
)

// index is what can be asked about one table. Immutable.
type index struct {
	table *frontend.Table
	// services are the full names of those with a visible method, sorted.
	services []string
	byPath   map[string]*file
	// bySymbol finds the file that declares a name. Of several, it is that of the first upstream.
	bySymbol map[string]*file
	// extensions finds a file by the message that is extended and the number.
	extensions map[string]map[int32]*file
}

// file is a pruned file descriptor.
type file struct {
	raw     []byte // google.protobuf.FileDescriptorProto
	imports []*file
}

func newIndex(t *frontend.Table) *index {
	i := &index{
		table: t, byPath: map[string]*file{}, bySymbol: map[string]*file{}, extensions: map[string]map[int32]*file{},
	}
	if t == nil {
		return i
	}
	services := map[string]bool{}
	upstreams := map[string]prune.Input{}
	for _, path := range slices.Sorted(maps.Keys(t.Methods)) {
		if m := t.Methods[path]; m.Desc != nil {
			services[string(m.Desc.Parent().FullName())] = true
			in := upstreams[m.Upstream]
			in.Methods = append(in.Methods, m.Desc)
			in.Schema = m.Files
			upstreams[m.Upstream] = in
		}
	}
	i.services = slices.Sorted(maps.Keys(services))
	var inputs []prune.Input
	for _, name := range slices.Sorted(maps.Keys(upstreams)) {
		inputs = append(inputs, upstreams[name])
	}
	// The usual details of errors are in no schema, because no method returns them. They come last,
	// for upstreams that have their own.
	inputs = append(inputs, prune.Input{Files: []protoreflect.FileDescriptor{errdetails.File_google_rpc_error_details_proto}})
	for _, fd := range prune.Files(inputs...) {
		i.add(fd)
	}
	return i
}

// add adds a file whose imports were added.
func (i *index) add(fd *descriptorpb.FileDescriptorProto) {
	// It was made from a linked descriptor, so it can be written.
	raw, err := proto.MarshalOptions{AllowPartial: true}.Marshal(fd)
	if err != nil {
		return
	}
	f := &file{raw: raw}
	for _, path := range append(slices.Clone(fd.GetDependency()), fd.GetOptionDependency()...) {
		if dep := i.byPath[path]; dep != nil {
			f.imports = append(f.imports, dep)
		}
	}
	i.byPath[fd.GetName()] = f
	s := scope{index: i, file: f}
	pkg := fd.GetPackage()
	s.messages(pkg, fd.GetMessageType())
	s.enums(pkg, fd.GetEnumType())
	s.extensions(pkg, fd.GetExtension())
	for _, service := range fd.GetService() {
		name := s.declare(pkg, service.GetName())
		for _, m := range service.GetMethod() {
			s.declare(name, m.GetName())
		}
	}
}

// scope notes the names that a file declares.
type scope struct {
	index *index
	file  *file
}

// declare returns the full name.
func (s scope) declare(in, name string) string {
	if in != "" {
		name = in + "." + name
	}
	if s.index.bySymbol[name] == nil {
		s.index.bySymbol[name] = s.file
	}
	return name
}

func (s scope) messages(in string, list []*descriptorpb.DescriptorProto) {
	for _, m := range list {
		name := s.declare(in, m.GetName())
		for _, f := range m.GetField() {
			s.declare(name, f.GetName())
		}
		for _, o := range m.GetOneofDecl() {
			s.declare(name, o.GetName())
		}
		s.messages(name, m.GetNestedType())
		s.enums(name, m.GetEnumType())
		s.extensions(name, m.GetExtension())
	}
}

// enums declares the values of enums in the scope of their enum, as protobuf does.
func (s scope) enums(in string, list []*descriptorpb.EnumDescriptorProto) {
	for _, e := range list {
		s.declare(in, e.GetName())
		for _, v := range e.GetValue() {
			s.declare(in, v.GetName())
		}
	}
}

func (s scope) extensions(in string, list []*descriptorpb.FieldDescriptorProto) {
	for _, x := range list {
		s.declare(in, x.GetName())
		extended := x.GetExtendee()
		if len(extended) > 0 && extended[0] == '.' {
			extended = extended[1:]
		}
		numbers := s.index.extensions[extended]
		if numbers == nil {
			numbers = map[int32]*file{}
			s.index.extensions[extended] = numbers
		}
		if numbers[x.GetNumber()] == nil {
			numbers[x.GetNumber()] = s.file
		}
	}
}

// extensionNumbers returns the numbers of the extensions of a message, sorted.
func (i *index) extensionNumbers(message string) []int32 {
	return slices.Sorted(maps.Keys(i.extensions[message]))
}
