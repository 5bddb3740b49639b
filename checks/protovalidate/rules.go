package protovalidate

import (
	"slices"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	pv "buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/caddy-grpc/gateway/checks"
)

// typeRules is what one message type says about itself.
type typeRules struct {
	message protoreflect.MessageDescriptor
	// has says that the type itself has rules, and reaches that it or a type within it has some.
	has, reaches bool
	// within are the types of its fields.
	within []protoreflect.MessageDescriptor
	// expressions are those in CEL that are written for this type.
	expressions []expression

	counted, probed bool
	problems        []checks.Problem
}

// parts are what the library judges one by one.
func (t *typeRules) parts() []protoreflect.Descriptor {
	parts := []protoreflect.Descriptor{t.message}
	for i := range t.message.Fields().Len() {
		parts = append(parts, t.message.Fields().Get(i))
	}
	return parts
}

// reach returns the types that a message of this type can contain, if one of them has rules.
// Otherwise it returns nothing. Caller must hold s.mu.
func (s *schemaChecks) reach(md protoreflect.MessageDescriptor) []*typeRules {
	seen := map[protoreflect.MessageDescriptor]bool{md: true}
	var all []*typeRules
	found := false
	for next := []protoreflect.MessageDescriptor{md}; len(next) > 0; {
		t := s.typeOf(next[len(next)-1])
		next = next[:len(next)-1]
		all = append(all, t)
		found = found || t.has || t.reaches
		for _, inner := range t.within {
			if !seen[inner] {
				seen[inner] = true
				next = append(next, inner)
			}
		}
	}
	if !found {
		for _, t := range all {
			t.within = nil // Nothing in there has rules, so nobody needs to look again.
		}
		return nil
	}
	all[0].reaches = true
	return all
}

// typeOf reads the rules of one type. Caller must hold s.mu.
func (s *schemaChecks) typeOf(md protoreflect.MessageDescriptor) *typeRules {
	if t := s.types[md]; t != nil {
		return t
	}
	t := &typeRules{message: md}
	s.types[md] = t
	if rules, err := pv.ResolveMessageRules(md); err != nil || proto.Size(rules) > 0 {
		t.has = true
		t.add(md.FullName(), rules.GetCel(), rules.GetCelExpression())
	}
	for i := range md.Oneofs().Len() {
		rules, err := pv.ResolveOneofRules(md.Oneofs().Get(i))
		t.has = t.has || err != nil || rules.GetRequired()
	}
	for i := range md.Fields().Len() {
		t.addField(md.Fields().Get(i))
	}
	return t
}

func (t *typeRules) addField(fd protoreflect.FieldDescriptor) {
	rules, err := pv.ResolveFieldRules(fd)
	if rules.GetIgnore() == validate.Ignore_IGNORE_ALWAYS {
		return // Nothing within is judged either.
	}
	if err != nil || proto.Size(rules) > 0 {
		t.has = true
		t.addNested(fd.FullName(), rules)
	}
	inner := fd.Message()
	if fd.IsMap() {
		inner = fd.MapValue().Message()
	}
	if inner != nil && !slices.Contains(t.within, inner) {
		t.within = append(t.within, inner)
	}
}

// addNested adds the expressions of a field, and of the items, keys and values within it.
func (t *typeRules) addNested(of protoreflect.FullName, rules *validate.FieldRules) {
	if rules == nil {
		return
	}
	t.add(of, rules.GetCel(), rules.GetCelExpression())
	t.addNested(of, rules.GetRepeated().GetItems())
	t.addNested(of, rules.GetMap().GetKeys())
	t.addNested(of, rules.GetMap().GetValues())
}

func (t *typeRules) add(of protoreflect.FullName, rules []*validate.Rule, bare []string) {
	for _, r := range rules {
		t.expressions = append(t.expressions, expression{of, r.GetExpression()})
	}
	for _, text := range bare {
		t.expressions = append(t.expressions, expression{of, text})
	}
}

// extensions finds the rules that a schema adds to those of protovalidate ("predefined rules"). It
// implements protoregistry.ExtensionTypeResolver. What a service has not sent with its schema is
// never asked for.
type extensions struct {
	byNumber map[extensionKey]protoreflect.ExtensionType
	byName   map[protoreflect.FullName]protoreflect.ExtensionType
	problems []checks.Problem
}

type extensionKey struct {
	message protoreflect.FullName
	number  protoreflect.FieldNumber
}

func newExtensions(files *protoregistry.Files) *extensions {
	e := &extensions{
		byNumber: make(map[extensionKey]protoreflect.ExtensionType),
		byName:   make(map[protoreflect.FullName]protoreflect.ExtensionType),
	}
	files.RangeFiles(func(fd protoreflect.FileDescriptor) bool {
		e.addAll(fd.Extensions())
		e.addWithin(fd.Messages())
		return true
	})
	return e
}

func (e *extensions) addWithin(messages protoreflect.MessageDescriptors) {
	for i := range messages.Len() {
		e.addAll(messages.Get(i).Extensions())
		e.addWithin(messages.Get(i).Messages())
	}
}

func (e *extensions) addAll(fields protoreflect.ExtensionDescriptors) {
	for i := range fields.Len() {
		if fd := fields.Get(i); fd.ContainingMessage().ParentFile().Package() == "buf.validate" {
			e.add(fd)
		}
	}
}

// add adds a rule, unless its expressions cost too much. The library evaluates parts of them when
// it compiles. A field with a rule that was left out does not compile.
func (e *extensions) add(fd protoreflect.ExtensionDescriptor) {
	rules, _ := pv.ResolvePredefinedRules(fd)
	for _, r := range rules.GetCel() {
		c, err := expression{fd.FullName(), r.GetExpression()}.cost()
		if err == nil && c.degree >= heavyDegree {
			err = errTooHeavy
		}
		if err == nil {
			continue
		}
		if len(e.problems) < maxProblems {
			e.problems = append(e.problems, checks.Problem{Subject: string(fd.FullName()), Reason: "this rule is not used: " + oneLine(err)})
		}
		return
	}
	t := dynamicpb.NewExtensionType(fd)
	e.byNumber[extensionKey{fd.ContainingMessage().FullName(), fd.Number()}] = t
	e.byName[fd.FullName()] = t
}

// FindExtensionByName implements protoregistry.ExtensionTypeResolver.
func (e *extensions) FindExtensionByName(name protoreflect.FullName) (protoreflect.ExtensionType, error) {
	if t := e.byName[name]; t != nil {
		return t, nil
	}
	return nil, protoregistry.NotFound
}

// FindExtensionByNumber implements protoregistry.ExtensionTypeResolver.
func (e *extensions) FindExtensionByNumber(
	message protoreflect.FullName, number protoreflect.FieldNumber,
) (protoreflect.ExtensionType, error) {
	if t := e.byNumber[extensionKey{message, number}]; t != nil {
		return t, nil
	}
	return nil, protoregistry.NotFound
}
