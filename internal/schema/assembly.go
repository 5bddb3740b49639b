package schema

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

// assembly collects the files of one load and builds the schema from them.
type assembly struct {
	given map[string]*file
	// services are the full names of the services that the given files declare.
	services map[string]bool
	// fresh are those of given whose imports were not looked at, see freshImports.
	fresh []*file
	// aliases maps paths of imports to those of the files that a server gives for them.
	aliases map[string]string
	// merges is how many declarations may still be compared to merge parts of files. 0: files are
	// not merged, and two versions of one are a conflict.
	merges int
	// base are files that are linked already and stay as they are.
	base layers

	// The rest is filled by link.

	files *protoregistry.Files
	state map[string]*progress
	// missing maps the path of a missing file to the paths of those that import it.
	missing map[string][]string
}

type file struct {
	desc *descriptorpb.FileDescriptorProto
	// raw is the file as it was given, or nil if the origin has no bytes.
	raw []byte
	// origin is for errors: "server reflection", "/etc/user.pb".
	origin string
}

func newAssembly() *assembly {
	return &assembly{given: map[string]*file{}, services: map[string]bool{}, aliases: map[string]string{}}
}

// addBytes adds a serialised FileDescriptorProto and returns its path.
func (a *assembly) addBytes(raw []byte, origin string) (path string, err error) {
	fd := &descriptorpb.FileDescriptorProto{}
	if err := (proto.UnmarshalOptions{Resolver: optionTypes(), AllowPartial: true}).Unmarshal(raw, fd); err != nil {
		return "", fmt.Errorf("parse a file descriptor from %s: %w", origin, err)
	}
	return fd.GetName(), a.add(&file{desc: fd, raw: raw, origin: origin})
}

// add adds a file that was parsed with optionTypes, and takes it over.
func (a *assembly) add(f *file) error {
	path := f.desc.GetName()
	if path == "" {
		return fmt.Errorf("a file descriptor from %s has no name", f.origin)
	}
	if a.base.has(path) {
		return nil
	}
	old := a.given[path]
	if old != nil && old.raw != nil && bytes.Equal(old.raw, f.raw) {
		return nil
	}
	keepComments(f.desc)
	if old != nil {
		// Two releases of a common file in two descriptor sets are not a conflict if the built-in
		// one can take the place of both.
		if linked := standardFile(path); linked != nil && covers(linked, old.desc) && covers(linked, f.desc) {
			return nil
		}
		if !bytes.Equal(canonical(old.desc, false), canonical(f.desc, false)) {
			if !a.merge(old.desc, f.desc) {
				return &ConflictError{File: path, First: old.origin, Second: f.origin}
			}
			f.desc, f.raw = old.desc, nil
		} else if len(old.desc.GetSourceCodeInfo().GetLocation()) > 0 {
			return nil
		}
	}
	a.given[path] = f
	a.fresh = append(a.fresh, f)
	for _, s := range f.desc.GetService() {
		a.services[qualify(f.desc.GetPackage(), s.GetName())] = true
	}
	return nil
}

// keepComments drops the source positions of everything without a comment. They are most of a
// descriptor set's bytes, and nothing uses them.
func keepComments(fd *descriptorpb.FileDescriptorProto) {
	if fd.GetSourceCodeInfo() == nil {
		return
	}
	kept := slices.DeleteFunc(fd.GetSourceCodeInfo().GetLocation(), func(l *descriptorpb.SourceCodeInfo_Location) bool {
		return l.LeadingComments == nil && l.TrailingComments == nil && len(l.GetLeadingDetachedComments()) == 0
	})
	fd.SourceCodeInfo.Location = slices.Clip(kept)
}

// canonical is the same for equal descriptors, wherever their declarations are in the source.
// comments says whether comments count.
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
		// Marshal and Unmarshal both refuse invalid UTF-8, so this is not reached with parsed
		// files.
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

// buildNamed builds a schema of everything, which exposes the named services, or fails.
func (a *assembly) buildNamed(names []string) (*Schema, error) {
	a.link()
	if err := a.linkErrors(); err != nil {
		return nil, err
	}
	return a.finish(names, nil), nil
}

// buildLenient builds a schema of the named services that can be built. The others become problems.
func (a *assembly) buildLenient(names []string, problems []Problem) *Schema {
	a.link()
	return a.finish(names, problems)
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

// finish makes the schema of the linked files. A service without a usable description becomes a
// problem, unless problems has one about it.
func (a *assembly) finish(names []string, problems []Problem) *Schema {
	for _, path := range standardFiles {
		// A source that declares the same types elsewhere keeps its own.
		_ = a.registerStandard(standardFile(path))
	}
	s := &Schema{
		files:    a.files,
		types:    &Types{files: a.files, known: dynamicpb.NewTypes(a.files)},
		problems: append(problems, a.missingProblems()...),
	}
	known := map[string]bool{}
	for _, p := range problems {
		known[p.Subject] = true
	}
	homes := a.serviceFiles()
	var services []protoreflect.ServiceDescriptor
	for _, name := range names {
		if IsGRPCOwn(name) {
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

func qualify(pkg, name string) string {
	if pkg == "" {
		return name
	}
	return pkg + "." + name
}
