package openapi

import (
	"cmp"
	"slices"
	"sort"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/caddy-grpc/gateway/internal/transcode"
)

// Direction says whether a schema describes what clients send or what they get. The two differ,
// because the gateway reads more forms than it writes.
type Direction uint8

// The directions.
const (
	Answer Direction = iota
	Request
)

// Schemas makes JSON schemas (2020-12) of messages, by the rules of ProtoJSON and the options of a
// codec. A message is described once, under its full name, and referred to by all others. If
// clients may send what they never get, requests have a description of their own, whose name ends
// in "-input". Not safe for concurrent use.
type Schemas struct {
	opts   Options
	prefix string // what a reference begins with, such as "#/components/schemas/"
	made   map[string]*object
	// differ says whether requests and answers have different forms.
	differ map[protoreflect.MessageDescriptor]bool
	names  map[protoreflect.FullName][]protoreflect.Descriptor
	// extensions are the options that files import, or nil where they do not.
	extensions map[optionKey]protoreflect.ExtensionDescriptor
}

// Options say how messages are described.
type Options struct {
	// JSON are the options of the codecs.
	JSON transcode.Options
	// OneOf describes the members of a oneof by `oneOf`, which many code generators cannot read.
	// Otherwise they are described in words.
	OneOf bool
	// Hidden are the full names of fields that no answer has.
	Hidden []string
	// Partial says that clients may ask for parts of an answer, so that no field is always there.
	Partial bool
	// Comments is the comment on a declaration, by its full name, in the form of a .proto file. It
	// is "" if there is none, and then that of the schema counts. Nil: there are none.
	Comments func(protoreflect.FullName) string
}

// NewSchemas returns an empty set of schemas. References begin with prefix.
func NewSchemas(prefix string, opts Options) *Schemas {
	return &Schemas{
		opts: opts, prefix: prefix,
		made:   make(map[string]*object),
		differ: make(map[protoreflect.MessageDescriptor]bool),
		names:  make(map[protoreflect.FullName][]protoreflect.Descriptor),

		extensions: make(map[optionKey]protoreflect.ExtensionDescriptor),
	}
}

// Components returns what has been described, sorted by name.
func (s *Schemas) Components() *object {
	names := make([]string, 0, len(s.made))
	for name := range s.made {
		names = append(names, name)
	}
	sort.Strings(names)
	out := newObject()
	for _, name := range names {
		out.set(name, s.made[name])
	}
	return out
}

// Message returns a schema of a message: a reference, or, for a well-known type, the schema itself.
func (s *Schemas) Message(md protoreflect.MessageDescriptor, dir Direction) *object {
	if o := s.wellKnown(md, dir); o != nil {
		return o
	}
	name := s.name(md)
	if dir == Request && s.requestsDiffer(md) {
		name += "-input"
	}
	if _, ok := s.made[name]; !ok {
		o := newObject()
		s.made[name] = o // Before the fields, because messages may contain themselves.
		s.describe(o, md, dir, nil)
	}
	return newObject("$ref", s.prefix+name)
}

// name is the name of the description of a message or an enum. If two upstreams have different ones
// of one name, the second one gets a number.
func (s *Schemas) name(d protoreflect.Descriptor) string {
	same := s.names[d.FullName()]
	for i, other := range same {
		if other == d || equal(other, d) {
			return numbered(string(d.FullName()), i)
		}
	}
	s.names[d.FullName()] = append(same, d)
	return numbered(string(d.FullName()), len(same))
}

func numbered(name string, i int) string {
	if i == 0 {
		return name
	}
	return name + "-" + itoa(i+1)
}

// describe makes the schema of a message as an object. The fields that are given elsewhere are
// never required.
func (s *Schemas) describe(o *object, md protoreflect.MessageDescriptor, dir Direction, given givenFields) {
	outer, words := s.schemaWords(md)
	note := cmp.Or(words.text("description"), s.comment(md))
	if dir == Request {
		note = paragraphs(append([]string{note}, s.messageNotes(md)...)...)
	}
	o.set("type", "object")
	o.add("title", words.text("title")).add("description", note)
	properties := newObject()
	var required list
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		if dir == Answer && slices.Contains(s.opts.Hidden, string(fd.FullName())) {
			continue
		}
		name := s.fieldName(fd)
		properties.set(name, s.property(fd, dir))
		if s.isRequired(fd, dir) && !given.has(fd) {
			required = append(required, name)
		}
	}
	o.set("properties", properties)
	o.add("required", required)
	if dir == Request && !s.opts.JSON.DiscardUnknown && md.ExtensionRanges().Len() == 0 {
		o.set("additionalProperties", false)
	}
	s.oneofs(o, md)
	if isDeprecated(md.Options()) || words.flag("deprecated") {
		o.set("deprecated", true)
	}
	if example := outer.literal("example"); example != nil {
		o.set("examples", list{example})
	}
	o.add("externalDocs", externalDocs(outer))
}

// givenFields are the fields of a message that a request has in its path or in its query. So its
// body need not have them. Nil: there are none.
type givenFields map[protoreflect.Name]bool

func (g givenFields) has(fd protoreflect.FieldDescriptor) bool { return g[fd.Name()] }

// body is Message for the body of a request of which the path or the query may give some fields. If
// one of those is required, the body has a description of its own.
func (s *Schemas) body(md protoreflect.MessageDescriptor, given givenFields) *object {
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		if given.has(fd) && s.isRequired(fd, Request) && s.wellKnown(md, Request) == nil {
			o := newObject()
			s.describe(o, md, Request, given)
			return o
		}
	}
	return s.Message(md, Request)
}

func (s *Schemas) fieldName(fd protoreflect.FieldDescriptor) string {
	if s.opts.JSON.UseProtoNames {
		return fd.TextName()
	}
	return fd.JSONName()
}

// isRequired reports whether a field is always there. In answers these are proto2's required
// fields and what EmitDefaults writes.
func (s *Schemas) isRequired(fd protoreflect.FieldDescriptor, dir Direction) bool {
	if dir == Answer && s.opts.Partial {
		return false
	}
	if fd.Cardinality() == protoreflect.Required {
		return true
	}
	if dir == Answer {
		return (s.opts.JSON.EmitDefaults || s.opts.JSON.EmitUnpopulated) && !fd.HasPresence()
	}
	return hasBehavior(fd, annotations.FieldBehavior_REQUIRED) || s.rulesOf(fd).flag("required") || s.listedAsRequired(fd)
}

// listedAsRequired reports whether an option of the message names the field among those that are
// required.
func (s *Schemas) listedAsRequired(fd protoreflect.FieldDescriptor) bool {
	if fd.IsExtension() || fd.ContainingMessage() == nil {
		return false
	}
	_, words := s.schemaWords(fd.ContainingMessage())
	names := words.texts("required")
	return slices.Contains(names, fd.JSONName()) || slices.Contains(names, string(fd.Name()))
}

// property is the schema of a field, with what is said about it.
func (s *Schemas) property(fd protoreflect.FieldDescriptor, dir Direction) *object {
	o := s.field(fd, dir)
	words := s.fieldWords(fd)
	notes := []string{cmp.Or(words.text("description"), s.comment(fd))}
	if one := fd.ContainingOneof(); one != nil && !one.IsSynthetic() && !s.opts.OneOf {
		notes = append(notes, "At most one of the fields of `"+string(one.Name())+"` is set.")
	}
	if hasBehavior(fd, annotations.FieldBehavior_IMMUTABLE) {
		notes = append(notes, "It cannot be changed after it was set.")
	}
	if dir == Request {
		notes = append(notes, s.fieldNotes(fd)...)
	}
	o.add("description", paragraphs(notes...)) // JSON schema 2020-12 allows it beside a $ref.
	if isDeprecated(fd.Options()) {
		o.set("deprecated", true)
	}
	if hasBehavior(fd, annotations.FieldBehavior_OUTPUT_ONLY) {
		o.set("readOnly", true)
	}
	if hasBehavior(fd, annotations.FieldBehavior_INPUT_ONLY) {
		o.set("writeOnly", true)
	}
	s.annotateField(o, fd, words)
	return o
}

// field is the schema of the values of a field.
func (s *Schemas) field(fd protoreflect.FieldDescriptor, dir Direction) *object {
	o := s.plainField(fd, dir)
	if dir == Request {
		s.constrain(o, fd)
	}
	return o
}

func (s *Schemas) plainField(fd protoreflect.FieldDescriptor, dir Direction) *object {
	switch {
	case fd.IsMap():
		return newObject("type", "object", "additionalProperties", s.value(fd.MapValue(), dir)).
			add("propertyNames", mapKey(fd.MapKey()))
	case fd.IsList():
		return newObject("type", "array", "items", s.value(fd, dir))
	case dir == Answer && s.writesNull(fd):
		return newObject("anyOf", list{s.value(fd, dir), newObject("type", "null")})
	default:
		return s.value(fd, dir)
	}
}

// writesNull reports whether EmitUnpopulated writes null if a field is absent. proto2's scalars are
// among these fields.
func (s *Schemas) writesNull(fd protoreflect.FieldDescriptor) bool {
	return s.opts.JSON.EmitUnpopulated && fd.HasPresence() && fd.ContainingOneof() == nil && !fd.IsExtension() &&
		fd.Cardinality() != protoreflect.Required
}

// mapKey describes the names of a map's members. It is nil if they are any text.
func mapKey(fd protoreflect.FieldDescriptor) *object {
	switch fd.Kind() {
	case protoreflect.StringKind:
		return nil
	case protoreflect.BoolKind:
		return newObject("enum", list{"true", "false"})
	case protoreflect.Uint32Kind, protoreflect.Uint64Kind, protoreflect.Fixed32Kind, protoreflect.Fixed64Kind:
		return newObject("pattern", "^[0-9]+$")
	default:
		return newObject("pattern", "^-?[0-9]+$")
	}
}

// value is the schema of one value of a field.
func (s *Schemas) value(fd protoreflect.FieldDescriptor, dir Direction) *object {
	switch fd.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return s.Message(fd.Message(), dir)
	case protoreflect.EnumKind:
		return s.enum(fd.Enum(), dir)
	case protoreflect.StringKind:
		o := scalar(fd.Kind(), dir)
		merge(o, s.textFormat(fd))
		return o
	default:
		return scalar(fd.Kind(), dir)
	}
}

// oneofs describes the oneofs of a message, if the option says so.
func (s *Schemas) oneofs(o *object, md protoreflect.MessageDescriptor) {
	if !s.opts.OneOf {
		return
	}
	var all list
	for i := range md.Oneofs().Len() {
		one := md.Oneofs().Get(i)
		if one.IsSynthetic() {
			continue
		}
		var members, names list
		for j := range one.Fields().Len() {
			name := s.fieldName(one.Fields().Get(j))
			members = append(members, newObject("required", list{name}))
			names = append(names, newObject("required", list{name}))
		}
		if !s.option(one, oneofRules).flag("required") {
			members = append(members, newObject("not", newObject("anyOf", names)))
		}
		all = append(all, newObject("oneOf", members))
	}
	o.add("allOf", all)
}

// requestsDiffer reports whether clients may send what they never get, anywhere in the message.
func (s *Schemas) requestsDiffer(md protoreflect.MessageDescriptor) bool {
	if known, ok := s.differ[md]; ok {
		return known
	}
	// A message that contains itself differs if anything else in it does. So the whole group is
	// searched each time, and only a final answer is kept.
	found := s.search(md, make(map[protoreflect.FullName]bool))
	s.differ[md] = found
	return found
}

func (s *Schemas) search(md protoreflect.MessageDescriptor, seen map[protoreflect.FullName]bool) bool {
	if seen[md.FullName()] {
		return false
	}
	seen[md.FullName()] = true
	if wellKnownDiffers(md) {
		return true
	}
	if s.wellKnown(md, Request) != nil {
		return false
	}
	if !s.opts.JSON.DiscardUnknown && md.ExtensionRanges().Len() == 0 {
		return true // Requests refuse unknown members, while a newer service may send some.
	}
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		if s.opts.Partial || s.opts.JSON.EmitUnpopulated || slices.Contains(s.opts.Hidden, string(fd.FullName())) ||
			s.isRequired(fd, Request) != s.isRequired(fd, Answer) || scalarDiffers(fd.Kind()) || s.hasRules(fd) {
			return true
		}
		value := fd
		if fd.IsMap() {
			value = fd.MapValue()
		}
		if scalarDiffers(value.Kind()) || value.Message() != nil && s.search(value.Message(), seen) {
			return true
		}
	}
	return false
}

// comment is what the .proto file says about a declaration.
func (s *Schemas) comment(d protoreflect.Descriptor) string {
	if s.opts.Comments != nil {
		if text := cleanComment(s.opts.Comments(d.FullName())); text != "" {
			return text
		}
	}
	file := d.ParentFile()
	if file == nil {
		return ""
	}
	at := file.SourceLocations().ByDescriptor(d)
	text := at.LeadingComments
	if strings.TrimSpace(text) == "" {
		text = at.TrailingComments
	}
	return cleanComment(text)
}

// cleanComment takes the indentation out of a comment, and the lines that are for linters only.
func cleanComment(text string) string {
	var out []string
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimRight(strings.TrimPrefix(line, " "), " \t\r")
		if strings.HasPrefix(line, "buf:lint:") || strings.HasPrefix(line, "(-- ") && strings.HasSuffix(line, " --)") {
			continue
		}
		out = append(out, line)
	}
	return strings.TrimSpace(strings.Join(out, "\n"))
}

// paragraphs joins texts by empty lines.
func paragraphs(texts ...string) string {
	var out []string
	for _, text := range texts {
		if text != "" {
			out = append(out, text)
		}
	}
	return strings.Join(out, "\n\n")
}
