package prune

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

// wantSameMessages compares the types of methods, and all that these hold, with the original.
func wantSameMessages(t testing.TB, all, pruned *protoregistry.Files, visible []protoreflect.MethodDescriptor) {
	t.Helper()
	for name := range typesOf(visible) {
		want, err := all.FindDescriptorByName(name)
		if err != nil {
			t.Fatal(err)
		}
		got, err := pruned.FindDescriptorByName(name)
		if err != nil {
			t.Errorf("%s is lost", name)
			continue
		}
		if !proto.Equal(contentOf(got), contentOf(want)) {
			t.Errorf("%s is %v, want %v", name, contentOf(got), contentOf(want))
		}
	}
}

// contentOf is what a type is encoded by, without what is nested in it.
func contentOf(d protoreflect.Descriptor) proto.Message {
	switch d := d.(type) {
	case protoreflect.MessageDescriptor:
		p := protodesc.ToDescriptorProto(d)
		p.NestedType, p.EnumType, p.Extension = nil, nil, nil
		return p
	case protoreflect.EnumDescriptor:
		return protodesc.ToEnumDescriptorProto(d)
	default:
		return nil
	}
}

// typesOf is an implementation of reachability that knows nothing of options and extensions.
func typesOf(of []protoreflect.MethodDescriptor) map[protoreflect.FullName]bool {
	names := map[protoreflect.FullName]bool{}
	var visit func(md protoreflect.MessageDescriptor)
	visit = func(md protoreflect.MessageDescriptor) {
		if names[md.FullName()] {
			return
		}
		names[md.FullName()] = true
		for i := range md.Fields().Len() {
			fd := md.Fields().Get(i)
			if fd.Message() != nil {
				visit(fd.Message())
			}
			if fd.Enum() != nil {
				names[fd.Enum().FullName()] = true
			}
		}
	}
	for _, m := range of {
		visit(m.Input())
		visit(m.Output())
	}
	return names
}

// randomSet invents files. The name of each method and type occurs nowhere but where it is used.
func randomSet(r *rand.Rand) *descriptorpb.FileDescriptorSet {
	set := &descriptorpb.FileDescriptorSet{}
	var messages [][]string // of each file
	serial := 0
	next := func(kind string) string {
		serial++
		return fmt.Sprintf("%s%dx", kind, serial)
	}
	for n := range 2 + r.IntN(6) {
		fd := &descriptorpb.FileDescriptorProto{Name: proto.String(fmt.Sprintf("f%d.proto", n)), Package: proto.String(fmt.Sprintf("p%d", n%2)), Syntax: proto.String("proto3")}
		// reachable are the messages that the file can use: its own, those of its imports, and
		// those of the public imports of these.
		var reachable []string
		var own []string
		for i, name := range set.GetFile() {
			if r.IntN(2) == 0 {
				continue
			}
			fd.Dependency = append(fd.Dependency, name.GetName())
			if r.IntN(3) == 0 {
				fd.PublicDependency = append(fd.PublicDependency, int32(len(fd.Dependency)-1))
			}
			reachable = append(reachable, exported(set, messages, i)...)
		}
		names := make([]string, r.IntN(5))
		for i := range names {
			names[i] = next("Message")
			own = append(own, "."+fd.GetPackage()+"."+names[i])
		}
		reachable = append(reachable, own...)
		pick := func() string { return reachable[r.IntN(len(reachable))] }
		for _, name := range names {
			m := &descriptorpb.DescriptorProto{Name: proto.String(name)}
			for f := range r.IntN(3) {
				m.Field = append(m.Field, messageField(f+1, pick()))
			}
			if r.IntN(3) == 0 {
				inner := &descriptorpb.DescriptorProto{Name: proto.String(next("Nested"))}
				m.NestedType = append(m.NestedType, inner)
				m.Field = append(m.Field, messageField(9, "."+fd.GetPackage()+"."+name+"."+inner.GetName()))
			}
			fd.MessageType = append(fd.MessageType, m)
		}
		for range r.IntN(3) {
			if len(reachable) == 0 {
				break
			}
			s := &descriptorpb.ServiceDescriptorProto{Name: proto.String(next("Service"))}
			for range 1 + r.IntN(3) {
				s.Method = append(s.Method, &descriptorpb.MethodDescriptorProto{
					Name: proto.String(next("Method")), InputType: proto.String(pick()), OutputType: proto.String(pick()),
				})
			}
			fd.Service = append(fd.Service, s)
		}
		comment(fd)
		set.File = append(set.File, fd)
		messages = append(messages, own)
	}
	return set
}

// exported lists the messages that a file gives to those that import it.
func exported(set *descriptorpb.FileDescriptorSet, messages [][]string, i int) []string {
	names := slices.Clone(messages[i])
	for _, p := range set.GetFile()[i].GetPublicDependency() {
		path := set.GetFile()[i].GetDependency()[p]
		j := slices.IndexFunc(set.GetFile(), func(fd *descriptorpb.FileDescriptorProto) bool { return fd.GetName() == path })
		names = append(names, exported(set, messages, j)...)
	}
	return names
}

func messageField(number int, of string) *descriptorpb.FieldDescriptorProto {
	return &descriptorpb.FieldDescriptorProto{
		Name: proto.String(fmt.Sprintf("f%d", number)), Number: proto.Int32(int32(number)), TypeName: proto.String(of),
		Type: descriptorpb.FieldDescriptorProto_TYPE_MESSAGE.Enum(), Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
	}
}

// comment says at each declaration what it is called.
func comment(fd *descriptorpb.FileDescriptorProto) {
	info := &descriptorpb.SourceCodeInfo{}
	add := func(text string, path ...int32) {
		info.Location = append(info.Location, &descriptorpb.SourceCodeInfo_Location{Path: path, Span: []int32{0, 0, 0}, LeadingComments: proto.String(text)})
	}
	for i, m := range fd.GetMessageType() {
		add(m.GetName(), 4, int32(i))
		for j := range m.GetField() {
			add("field of "+m.GetName(), 4, int32(i), 2, int32(j))
		}
		for j, n := range m.GetNestedType() {
			add(n.GetName(), 4, int32(i), 3, int32(j))
		}
	}
	for i, s := range fd.GetService() {
		add(s.GetName(), 6, int32(i))
		for j, m := range s.GetMethod() {
			add(m.GetName(), 6, int32(i), 2, int32(j))
		}
	}
	fd.SourceCodeInfo = info
}

func allMethods(files *protoregistry.Files) []protoreflect.MethodDescriptor {
	var list []protoreflect.MethodDescriptor
	files.RangeFiles(func(fd protoreflect.FileDescriptor) bool {
		for i := range fd.Services().Len() {
			for j := range fd.Services().Get(i).Methods().Len() {
				list = append(list, fd.Services().Get(i).Methods().Get(j))
			}
		}
		return true
	})
	slices.SortFunc(list, func(a, b protoreflect.MethodDescriptor) int {
		return bytes.Compare([]byte(a.FullName()), []byte(b.FullName()))
	})
	return list
}

// For random schemas and random methods: the files can be linked, they have exactly these methods,
// the messages of these are what they were, each comment is where it belongs, and no name of what
// only other methods use is anywhere.
func TestPropertiesOfRandomSchemas(t *testing.T) {
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 1))
		set := randomSet(r)
		all, err := protodesc.NewFiles(set)
		if err != nil {
			t.Fatal(err)
		}
		var visible, hidden []protoreflect.MethodDescriptor
		share := r.IntN(4)
		for _, m := range allMethods(all) {
			if r.IntN(4) <= share {
				visible = append(visible, m)
			} else {
				hidden = append(hidden, m)
			}
		}
		checkProperties(t, all, visible, hidden)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func checkProperties(t *testing.T, all *protoregistry.Files, visible, hidden []protoreflect.MethodDescriptor) {
	t.Helper()
	checkFiles(t, all, visible, hidden, Files(Input{Methods: visible, Schema: all}))

	// Without the rest of the schema there is nothing but what the methods use.
	alone := Files(Input{Methods: visible})
	checkFiles(t, all, visible, hidden, alone)
	used := typesOf(visible)
	for _, m := range visible {
		used[m.FullName()], used[m.Parent().FullName()] = true, true
	}
	for _, name := range declared(link(t, alone)) {
		shell := slices.ContainsFunc(slices.Collect(maps.Keys(used)), func(u protoreflect.FullName) bool { return string(u.Parent()) == name })
		// A nested type is part of the message that it is in.
		if !used[protoreflect.FullName(name)] && !used[protoreflect.FullName(name).Parent()] && !shell {
			t.Errorf("%s is used by no visible method", name)
		}
	}
}

func checkFiles(t *testing.T, all *protoregistry.Files, visible, hidden []protoreflect.MethodDescriptor, files []*descriptorpb.FileDescriptorProto) {
	t.Helper()
	linked := link(t, files)
	var want, got []protoreflect.FullName
	for _, m := range visible {
		want = append(want, m.FullName())
	}
	for _, m := range allMethods(linked) {
		got = append(got, m.FullName())
	}
	if !slices.Equal(got, want) {
		t.Errorf("methods %q, want %q", got, want)
	}
	wantSameMessages(t, all, linked, visible)

	raw := marshal(&descriptorpb.FileDescriptorSet{File: files})
	for _, name := range hiddenNames(visible, hidden) {
		if bytes.Contains(raw, []byte(name)) {
			t.Errorf("%s is hidden and can be found", name)
		}
	}
	for _, fd := range files {
		for _, l := range fd.GetSourceCodeInfo().GetLocation() {
			if want := nameAt(fd, l.GetPath()); l.GetLeadingComments() != want {
				t.Errorf("%s: comment %q at %v, want %q", fd.GetName(), l.GetLeadingComments(), l.GetPath(), want)
			}
		}
	}
}

// hiddenNames lists the names, without packages, of hidden methods, of services that have no other
// ones, and of types that only those use.
func hiddenNames(visible, hidden []protoreflect.MethodDescriptor) []protoreflect.Name {
	shown := map[protoreflect.FullName]bool{}
	for name := range typesOf(visible) {
		for ; name != ""; name = name.Parent() {
			shown[name] = true
		}
	}
	for _, m := range visible {
		shown[m.Parent().FullName()] = true
	}
	var names []protoreflect.Name
	for _, m := range hidden {
		names = append(names, m.Name()+"")
		if !shown[m.Parent().FullName()] {
			names = append(names, m.Parent().Name())
		}
	}
	for name := range typesOf(hidden) {
		if !shown[name] {
			names = append(names, name.Name())
		}
	}
	return names
}

// nameAt is the comment that comment puts at a path.
func nameAt(fd *descriptorpb.FileDescriptorProto, path []int32) string {
	switch {
	case path[0] == 4 && len(path) == 2:
		return fd.GetMessageType()[path[1]].GetName()
	case path[0] == 4 && path[2] == 2 && int(path[3]) >= len(fd.GetMessageType()[path[1]].GetField()):
		return "none, because there is no such field"
	case path[0] == 4 && path[2] == 2:
		return "field of " + fd.GetMessageType()[path[1]].GetName()
	case path[0] == 4:
		return fd.GetMessageType()[path[1]].GetNestedType()[path[3]].GetName()
	case len(path) == 2:
		return fd.GetService()[path[1]].GetName()
	default:
		return fd.GetService()[path[1]].GetMethod()[path[3]].GetName()
	}
}

// The deeper an import is, the more files it is found through.
func TestManyPublicImports(t *testing.T) {
	set := &descriptorpb.FileDescriptorSet{}
	const files = 400
	for n := range files {
		fd := &descriptorpb.FileDescriptorProto{Name: proto.String(fmt.Sprint(n)), Package: proto.String("p"), Syntax: proto.String("proto3")}
		fd.MessageType = []*descriptorpb.DescriptorProto{{Name: proto.String(fmt.Sprintf("M%dx", n)), Field: []*descriptorpb.FieldDescriptorProto{messageField(1, ".p.M0x")}}}
		if n > 0 {
			fd.Dependency, fd.PublicDependency = []string{fmt.Sprint(n - 1)}, []int32{0}
		}
		set.File = append(set.File, fd)
	}
	last := set.GetFile()[files-1]
	own := fmt.Sprintf(".p.M%dx", files-1)
	last.Service = []*descriptorpb.ServiceDescriptorProto{{Name: proto.String("S"), Method: []*descriptorpb.MethodDescriptorProto{
		{Name: proto.String("Shown"), InputType: proto.String(own), OutputType: proto.String(own)},
		{Name: proto.String("Not"), InputType: proto.String(".p.M5x"), OutputType: proto.String(".p.M7x")},
	}}}
	all, err := protodesc.NewFiles(set)
	if err != nil {
		t.Fatal(err)
	}
	ms := allMethods(all)
	checkProperties(t, all, ms[1:], ms[:1])
}
