package schema

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

// maxPublicPaths bounds the ways in which a file reaches others through public imports. The descriptor library walks each way, and
// there are 2^n of them through n diamonds, which a hostile server could send.
const maxPublicPaths = 100_000

var errCircle = errors.New("it imports itself, in a circle")

// assembly collects the files of one load and builds the schema from them.
type assembly struct {
	given map[string]*file

	// What follows is filled by build.
	files   *protoregistry.Files
	state   map[string]*progress
	missing map[string][]string // missing path -> who imports it
}

type file struct {
	desc   *descriptorpb.FileDescriptorProto
	raw    []byte // as it was given; nil where the origin has no bytes
	origin string // for errors: "reflection", "/etc/user.pb"
}

// progress is the state of one file while the files are linked in the order of their imports.
type progress struct {
	done        bool
	err         error
	inherited   bool // err is that of an import
	publicPaths int
}

func newAssembly() *assembly { return &assembly{given: map[string]*file{}} }

// addBytes adds a serialised FileDescriptorProto.
func (a *assembly) addBytes(raw []byte, origin string) error {
	fd := &descriptorpb.FileDescriptorProto{}
	if err := (proto.UnmarshalOptions{Resolver: optionTypes(), AllowPartial: true}).Unmarshal(raw, fd); err != nil {
		return fmt.Errorf("parse a file descriptor from %s: %w", origin, err)
	}
	return a.add(&file{desc: fd, raw: raw, origin: origin})
}

// add adds a file that was parsed with optionTypes, and takes it over.
func (a *assembly) add(f *file) error {
	path := f.desc.GetName()
	if path == "" {
		return fmt.Errorf("a file descriptor from %s has no name", f.origin)
	}
	old := a.given[path]
	if old != nil && old.raw != nil && bytes.Equal(old.raw, f.raw) {
		return nil
	}
	keepComments(f.desc)
	if old != nil {
		// Two releases of a common file in two descriptor sets are no conflict when ours stands for both.
		if linked := standardFile(path); linked != nil && covers(linked, old.desc) && covers(linked, f.desc) {
			return nil
		}
		if !bytes.Equal(canonical(old.desc, false), canonical(f.desc, false)) {
			return &ConflictError{File: path, First: old.origin, Second: f.origin}
		}
		if len(old.desc.GetSourceCodeInfo().GetLocation()) > 0 {
			return nil
		}
	}
	a.given[path] = f
	return nil
}

// keepComments drops the source positions of everything that has no comment: they are most of a descriptor set's bytes and of no use.
func keepComments(fd *descriptorpb.FileDescriptorProto) {
	if fd.GetSourceCodeInfo() == nil {
		return
	}
	kept := slices.DeleteFunc(fd.GetSourceCodeInfo().GetLocation(), func(l *descriptorpb.SourceCodeInfo_Location) bool {
		return l.LeadingComments == nil && l.TrailingComments == nil && len(l.GetLeadingDetachedComments()) == 0
	})
	fd.SourceCodeInfo.Location = slices.Clip(kept)
}

// canonical is the same for equal descriptors, wherever their declarations stand in the source. Comments count or not.
func canonical(fd *descriptorpb.FileDescriptorProto, comments bool) []byte {
	plain := &descriptorpb.FileDescriptorProto{} // Shares its fields with fd.
	from, to := fd.ProtoReflect(), plain.ProtoReflect()
	from.Range(func(field protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		to.Set(field, v)
		return true
	})
	to.SetUnknown(from.GetUnknown())
	plain.SourceCodeInfo = nil
	raw, err := proto.MarshalOptions{Deterministic: true, AllowPartial: true}.Marshal(plain)
	if err != nil {
		// Marshal refuses what Unmarshal refuses too (invalid UTF-8), so this is not reached with parsed files.
		return []byte(err.Error())
	}
	if !comments {
		return raw
	}
	for _, l := range fd.GetSourceCodeInfo().GetLocation() {
		raw = fmt.Appendf(raw, "%v %q %q %q", l.GetPath(), l.GetLeadingComments(), l.GetTrailingComments(), l.GetLeadingDetachedComments())
	}
	return raw
}

// buildStrict builds a schema of everything, or fails.
func (a *assembly) buildStrict() (*Schema, error) {
	a.link()
	if err := a.linkErrors(); err != nil {
		return nil, err
	}
	homes := a.serviceFiles()
	for name, path := range homes {
		// The services of common files are not those of this source.
		if a.isStandard(path) {
			delete(homes, name)
		}
	}
	return a.finish(slices.Collect(maps.Keys(homes)), nil), nil
}

// buildNamed builds a schema of everything that exposes the named services, or fails.
func (a *assembly) buildNamed(names []string) (*Schema, error) {
	a.link()
	if err := a.linkErrors(); err != nil {
		return nil, err
	}
	return a.finish(names, nil), nil
}

// buildLenient builds a schema of those of the named services that can be built; the others become problems.
func (a *assembly) buildLenient(names []string, problems []Problem) *Schema {
	a.link()
	return a.finish(names, problems)
}

// linkErrors joins the errors of the files that are to blame, each missing file once, ten at most.
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

func (a *assembly) service(name string, homes map[string]string) (protoreflect.ServiceDescriptor, error) {
	path, ok := homes[name]
	if !ok {
		return nil, errors.New("it is listed, but no file describes it")
	}
	if err := a.state[path].err; err != nil {
		return nil, err
	}
	d, err := a.files.FindDescriptorByName(protoreflect.FullName(name))
	if err != nil {
		return nil, badFile(path, err)
	}
	sd, ok := d.(protoreflect.ServiceDescriptor)
	if !ok {
		return nil, badFile(path, errors.New("it is not described as a service"))
	}
	return sd, nil
}

// serviceFiles maps the full names of all services to the files that declare them.
func (a *assembly) serviceFiles() map[string]string {
	homes := map[string]string{}
	for path, f := range a.given {
		for _, sd := range f.desc.GetService() {
			homes[qualify(f.desc.GetPackage(), sd.GetName())] = path
		}
	}
	return homes
}

// exposed reports whether a service is one to be called: the grpc.* services (reflection, health, channelz) belong to
// the connection between two parties, of which the client is not one.
func exposed(service string) bool { return !strings.HasPrefix(service, "grpc.") }

// finish makes the schema of the linked files. Services without a usable description become problems, unless one is among those given.
func (a *assembly) finish(names []string, problems []Problem) *Schema {
	for _, path := range standardFiles {
		// A source that declares the same types elsewhere keeps its own.
		_ = a.registerStandard(standardFile(path))
	}
	s := &Schema{
		files:    a.files,
		types:    dynamicpb.NewTypes(a.files),
		problems: append(problems, a.missingProblems()...),
	}
	known := map[string]bool{}
	for _, p := range problems {
		known[p.Subject] = true
	}
	homes := a.serviceFiles()
	var services []protoreflect.ServiceDescriptor
	for _, name := range names {
		if !exposed(name) {
			continue
		}
		sd, err := a.service(name, homes)
		if err == nil {
			services = append(services, sd)
		} else if !known[name] {
			s.problems = append(s.problems, Problem{Subject: name, Reason: err.Error()})
		}
	}
	s.index(services)
	s.fingerprint = a.fingerprint(s.services)
	return s
}

func (a *assembly) fingerprint(services []string) string {
	h := sha256.New()
	for _, name := range services {
		fmt.Fprintf(h, "service %s\n", name)
	}
	for _, path := range slices.Sorted(maps.Keys(a.given)) {
		// A broken file is not part of the schema. A standard one is the same for all.
		if a.state[path].err != nil || a.isStandard(path) {
			continue
		}
		raw := canonical(a.given[path].desc, true)
		fmt.Fprintf(h, "file %d\n", len(raw))
		h.Write(raw)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// isStandard reports whether the linked version of a given file takes its place.
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
	if a.given[path] == nil || a.isStandard(path) {
		if fd := standardFile(path); fd != nil {
			return a.registerStandard(fd)
		}
		// An empty file stands for the missing one. That is enough when only options needed it.
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
			// In a circle each file only passes the error on, so that the one who meets it is to blame.
			p.inherited = a.state[dep].done
			return fmt.Errorf("file %q imports %w", path, q.err)
		}
		if public[int32(i)] {
			p.publicPaths += 1 + q.publicPaths
		}
		if a.given[dep] == nil && standardFile(dep) == nil {
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
	fd, err := protodesc.NewFile(desc, a.files)
	if err != nil {
		return err
	}
	return a.registerFile(fd)
}

// registerFile says which two files declare the same, which the registry's own error does not.
func (a *assembly) registerFile(fd protoreflect.FileDescriptor) error {
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
	if _, err := a.files.FindFileByPath(fd.Path()); err == nil {
		return nil
	}
	for i := range fd.Imports().Len() {
		imported := fd.Imports().Get(i).FileDescriptor
		// What is given and says more than the linked one is linked in its own turn.
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

// missingProblems tells of imports that were missing and not needed.
func (a *assembly) missingProblems() []Problem {
	var problems []Problem
	for path, by := range a.missing {
		by = slices.DeleteFunc(slices.Clone(by), func(importer string) bool { return a.state[importer].err != nil })
		if len(by) == 0 {
			continue // The files that import it are broken, which is told of them.
		}
		problems = append(problems, Problem{Subject: path, Reason: "the file is missing; " + quoted(by) + " imports it, for options at most"})
	}
	return problems
}

func qualify(pkg, name string) string {
	if pkg == "" {
		return name
	}
	return pkg + "." + name
}
