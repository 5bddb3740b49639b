package prune

import (
	"bytes"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
)

// maxPublicSteps bounds the search through public imports over all files. Beyond it, a file imports
// directly what it needs, which is just as valid.
const maxPublicSteps = 100_000

// output is the state while the files are put together.
type output struct {
	files []*descriptorpb.FileDescriptorProto
	// taken are the files by the names that they were given.
	taken map[string]*file
	// publicSteps is how much of the search through public imports is left.
	publicSteps int
}

// output cuts the files and gives them names. Marks must be set.
func (g *graph) output() []*descriptorpb.FileDescriptorProto {
	o := &output{taken: map[string]*file{}, publicSteps: maxPublicSteps}
	for _, f := range g.files {
		f.content = f.hasContent()
	}
	for _, f := range g.files {
		if f.shown(func(n *node) bool { return n.visible }) {
			o.emit(f)
		}
	}
	return o.files
}

// shown reports whether a declaration in the file is as asked for.
func (f *file) shown(is func(*node) bool) bool {
	return slices.ContainsFunc(f.nodes, is)
}

// hasContent reports whether something of the file is left, or whether it was empty from the
// beginning. A file that has public imports only is empty, and so is one in the place of a missing
// file.
func (f *file) hasContent() bool {
	return f.common || len(f.nodes) == 0 || f.shown(func(n *node) bool { return !n.dropped })
}

// emit adds a file after those that it imports.
func (o *output) emit(f *file) {
	if f.state != unvisited {
		return
	}
	f.state = visiting
	if !f.common {
		newCutter(f).file()
		o.cutImports(f)
	}
	for _, dep := range append(slices.Clone(f.deps), f.optionDeps...) {
		if dep != nil {
			o.emit(dep)
		}
	}
	f.state = visited
	o.name(f)
}

// needs are the other files that the declarations in a file use.
type needs struct {
	// hard are those that it cannot be linked without.
	hard []*file
	// all are the hard ones and those that declare its options.
	all map[*file]bool
}

// needsOf collects the needs of those declarations in a file that are as asked for.
func (f *file) needsOf(is func(*node) bool) needs {
	s := needs{all: map[*file]bool{}}
	add := func(n *node, to []*node) {
		for _, to := range to {
			if to.file != f {
				s.all[to.file] = true
			}
		}
	}
	seen := map[*file]bool{f: true}
	for _, n := range append([]*node{f.root}, f.nodes...) {
		if n != f.root && !is(n) {
			continue
		}
		for _, to := range n.refs {
			if !seen[to.file] {
				seen[to.file] = true
				s.hard = append(s.hard, to.file)
			}
		}
		add(n, n.refs)
		add(n, n.softRefs)
	}
	return s
}

// cutImports removes the imports that were needed and are no longer needed, and those of files that
// are gone. What came through the public import of a removed file is imported directly.
func (o *output) cutImports(f *file) {
	before := f.needsOf(func(*node) bool { return true })
	after := f.needsOf(func(n *node) bool { return !n.dropped })
	public := map[int32]bool{}
	for _, i := range f.proto.GetPublicDependency() {
		public[i] = true
	}
	keeps := func(dep *file, public bool) bool {
		return dep == nil || dep.content && (public || after.all[dep] || !before.all[dep])
	}
	paths, deps, moved := f.proto.GetDependency(), f.deps, map[int32]int32{}
	f.proto.Dependency, f.proto.PublicDependency, f.deps = nil, nil, nil
	for i, dep := range deps {
		if !keeps(dep, public[int32(i)]) {
			moved[int32(i)] = gone
			continue
		}
		at := int32(len(f.deps))
		moved[int32(i)] = at
		if public[int32(i)] {
			f.proto.PublicDependency = append(f.proto.PublicDependency, at)
		}
		f.proto.Dependency = append(f.proto.Dependency, paths[i])
		f.deps = append(f.deps, dep)
	}
	if len(f.deps) < len(deps) {
		f.moveComments(moved)
	}
	direct := map[*file]bool{}
	for _, dep := range f.deps {
		direct[dep] = true
	}
	for _, dep := range after.hard {
		if !direct[dep] && !o.importsPublicly(f, dep) {
			direct[dep] = true
			f.proto.Dependency = append(f.proto.Dependency, dep.desc.Path())
			f.deps = append(f.deps, dep)
		}
	}
	paths, deps = f.proto.GetOptionDependency(), f.optionDeps
	f.proto.OptionDependency, f.optionDeps = nil, nil
	for i, dep := range deps {
		if keeps(dep, false) && (dep == nil || !direct[dep]) {
			f.proto.OptionDependency = append(f.proto.OptionDependency, paths[i])
			f.optionDeps = append(f.optionDeps, dep)
		}
	}
}

// moveComments corrects the paths of the comments at imports.
func (f *file) moveComments(moved map[int32]int32) {
	const dependency = 3
	locations := f.proto.GetSourceCodeInfo().GetLocation()
	if len(locations) == 0 {
		return
	}
	f.proto.SourceCodeInfo.Location = slices.DeleteFunc(locations, func(l *descriptorpb.SourceCodeInfo_Location) bool {
		if len(l.Path) == 0 {
			return false
		}
		switch l.Path[0] {
		case dependency:
			if len(l.Path) > 1 {
				to, ok := moved[l.Path[1]]
				l.Path[1] = to
				return !ok || to == gone
			}
		case publicDependency, weakDependency, optionDependency:
			return true // Nobody comments on these alone.
		}
		return false
	})
}

const (
	publicDependency = 10
	weakDependency   = 11
	optionDependency = 15
)

// importsPublicly reports whether a file imports another one through the public imports of others.
func (o *output) importsPublicly(f, other *file) bool {
	seen := map[*file]bool{}
	open := slices.Clone(f.deps)
	for len(open) > 0 && o.publicSteps > 0 {
		o.publicSteps--
		dep := open[len(open)-1]
		open = open[:len(open)-1]
		if dep == nil || seen[dep] {
			continue
		}
		seen[dep] = true
		o.emit(dep) // Its public imports must be final.
		for _, i := range dep.proto.GetPublicDependency() {
			if dep.deps[i] == other {
				return true
			}
			open = append(open, dep.deps[i])
		}
	}
	return false
}

// name gives a file a name that no other one has, and adds it.
func (o *output) name(f *file) {
	for i, dep := range f.deps {
		if dep != nil {
			f.proto.Dependency[i] = dep.as.proto.GetName()
		}
	}
	for i, dep := range f.optionDeps {
		if dep != nil {
			f.proto.OptionDependency[i] = dep.as.proto.GetName()
		}
	}
	path, dir := f.proto.GetName(), f.proto.GetPackage()
	for n := 1; ; n++ {
		other := o.taken[f.proto.GetName()]
		if other == nil {
			break
		}
		if bytes.Equal(withoutComments(other.proto), withoutComments(f.proto)) {
			f.as = other // They differed in what is gone.
			return
		}
		switch {
		case n == 1 && dir != "":
			f.proto.Name = proto.String(dir + "/" + path)
		case dir != "":
			f.proto.Name = proto.String(fmt.Sprintf("%s.%d/%s", dir, n, path))
		default:
			f.proto.Name = proto.String(fmt.Sprintf("%d/%s", n, path))
		}
	}
	o.taken[f.proto.GetName()] = f
	o.files = append(o.files, f.proto)
}
