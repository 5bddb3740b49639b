// Package schema turns descriptors into one immutable Schema: the services that can be called, with
// every type they use. It reads them by gRPC server reflection, from descriptor sets (protosets) or
// from .proto sources, and keeps them current (Live).
//
// It is neither a router nor a codec: it hands on HTTP rules as they are written, and never decodes
// messages.
package schema

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

// Schema is an immutable set of services, with all the types they use. Safe for concurrent use.
type Schema struct {
	methods     []*Method
	byName      map[string]*Method
	services    []string
	files       *protoregistry.Files
	types       *Types
	problems    []Problem
	fingerprint string
}

// Method is one RPC. It is immutable.
type Method struct {
	// Name is "package.Service/Method".
	Name string
	Desc protoreflect.MethodDescriptor
	// Rules are the google.api.http rule, then its additional_bindings, flattened: none of them has
	// additional_bindings of its own. Nil without the option.
	Rules []*annotations.HttpRule
	// Idempotent reports that idempotency_level is NO_SIDE_EFFECTS or IDEMPOTENT.
	Idempotent bool
	// NoSideEffects reports that idempotency_level is NO_SIDE_EFFECTS. Such a method can be called
	// by Connect's GET.
	NoSideEffects bool
}

// maxProblems is the maximum number of problems that are kept. A server may list thousands of
// services and describe none.
const maxProblems = 100

// Problem is a part of the source that cannot be used. The rest of the schema works without it.
type Problem struct {
	// Subject is the service, method or file that it is about.
	Subject string `json:"subject"`
	Reason  string `json:"reason"`
}

func (p Problem) String() string { return p.Subject + ": " + p.Reason }

// New makes a schema of a descriptor set, whose files may be in any order. It exposes all services
// in it except gRPC's own (see IsGRPCOwn). It adds missing files of google/protobuf, google/api and
// google/rpc. The set is not modified and may be changed afterwards.
//
// Errors are *MissingImportError, *ConflictError, or say which file is invalid and why.
func New(set *descriptorpb.FileDescriptorSet) (*Schema, error) {
	a := newAssembly()
	for _, fd := range set.GetFile() {
		// The copy goes through the wire form, so that options have the types that this package
		// reads.
		raw, err := proto.Marshal(fd)
		if err != nil {
			return nil, badFile(fd.GetName(), err)
		}
		if _, err := a.addBytes(raw, "the set"); err != nil {
			return nil, err
		}
	}
	return a.buildStrict()
}

// FromFiles makes a schema of linked descriptors, such as those of generated code, with everything
// that they import.
func FromFiles(files ...protoreflect.FileDescriptor) (*Schema, error) {
	set := &descriptorpb.FileDescriptorSet{}
	seen := map[string]bool{}
	var add func(fd protoreflect.FileDescriptor)
	add = func(fd protoreflect.FileDescriptor) {
		if seen[fd.Path()] || fd.IsPlaceholder() {
			return
		}
		seen[fd.Path()] = true
		imports := fd.Imports()
		for i := range imports.Len() {
			add(imports.Get(i).FileDescriptor)
		}
		set.File = append(set.File, protodesc.ToFileDescriptorProto(fd))
	}
	for _, fd := range files {
		add(fd)
	}
	return New(set)
}

// Method returns a method by "package.Service/Method" (a leading slash is allowed), or nil.
func (s *Schema) Method(name string) *Method { return s.byName[strings.TrimPrefix(name, "/")] }

// Methods returns all methods, sorted by name. Do not modify the slice.
func (s *Schema) Methods() []*Method { return s.methods }

// Services returns the full names of the exposed services, sorted. Do not modify the slice.
func (s *Schema) Services() []string { return s.services }

// Files returns the descriptors of the source, and those of the common google/ files, which the
// source may lack.
func (s *Schema) Files() *protoregistry.Files { return s.files }

// Types resolves Any and extensions. It satisfies transcode.Resolver.
func (s *Schema) Types() *Types { return s.types }

// Problems are parts of the source that had to be left out, sorted by subject. Do not modify the
// slice.
func (s *Schema) Problems() []Problem { return s.problems }

// Fingerprint identifies the content. It is the same for equal services with equal descriptors.
// Comments count, but source positions do not. A common google/ file does not count unless the
// source's version declares more than the built-in one.
//
// A schema that was replaced because a learned type had changed has a fingerprint of its own.
func (s *Schema) Fingerprint() string { return s.fingerprint }

// index fills what is derived from the services.
func (s *Schema) index(services []protoreflect.ServiceDescriptor) {
	s.byName = map[string]*Method{}
	for _, sd := range services {
		s.services = append(s.services, string(sd.FullName()))
		methods := sd.Methods()
		for i := range methods.Len() {
			m := newMethod(methods.Get(i))
			s.methods = append(s.methods, m)
			s.byName[m.Name] = m
		}
	}
	slices.Sort(s.services)
	slices.SortFunc(s.methods, func(a, b *Method) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(s.problems, func(a, b Problem) int { return strings.Compare(a.String(), b.String()) })
	s.problems = slices.Compact(s.problems)
	if n := len(s.problems) - maxProblems; n > 0 {
		more := Problem{Subject: "and more", Reason: fmt.Sprintf("%d further problems are not shown", n)}
		s.problems = append(s.problems[:maxProblems:maxProblems], more)
	}
}

func newMethod(md protoreflect.MethodDescriptor) *Method {
	m := &Method{Name: string(md.Parent().FullName()) + "/" + string(md.Name()), Desc: md}
	opts, ok := md.Options().(*descriptorpb.MethodOptions)
	if !ok || opts == nil {
		return m
	}
	m.NoSideEffects = opts.GetIdempotencyLevel() == descriptorpb.MethodOptions_NO_SIDE_EFFECTS
	m.Idempotent = m.NoSideEffects || opts.GetIdempotencyLevel() == descriptorpb.MethodOptions_IDEMPOTENT
	// Every file was parsed with optionTypes. So the extension has the linked type, if it is set.
	if !proto.HasExtension(opts, annotations.E_Http) {
		return m
	}
	if rule, ok := proto.GetExtension(opts, annotations.E_Http).(*annotations.HttpRule); ok {
		m.Rules = flatten(rule)
	}
	return m
}

// flatten puts a rule and its additional bindings into one list. http.proto allows one level of
// bindings. Deeper ones are dropped, as in other implementations.
func flatten(rule *annotations.HttpRule) []*annotations.HttpRule {
	rules := []*annotations.HttpRule{rule}
	rules = append(rules, rule.GetAdditionalBindings()...)
	for i, r := range rules {
		r = proto.CloneOf(r)
		r.AdditionalBindings = nil
		rules[i] = r
	}
	return rules
}
