package openapi

import (
	"cmp"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// Options by which authors describe an API: those of grpc-gateway's openapiv2, and gnostic's for
// OpenAPI 3. They have the same names for what is read here. If both are set, the first one that
// says something counts.
const (
	v2Document  = protoreflect.FullName("grpc.gateway.protoc_gen_openapiv2.options.openapiv2_swagger")
	v2Tag       = protoreflect.FullName("grpc.gateway.protoc_gen_openapiv2.options.openapiv2_tag")
	v2Operation = protoreflect.FullName("grpc.gateway.protoc_gen_openapiv2.options.openapiv2_operation")
	v2Schema    = protoreflect.FullName("grpc.gateway.protoc_gen_openapiv2.options.openapiv2_schema")
	v2Field     = protoreflect.FullName("grpc.gateway.protoc_gen_openapiv2.options.openapiv2_field")

	v3Document  = protoreflect.FullName("openapi.v3.document")
	v3Operation = protoreflect.FullName("openapi.v3.operation")
	v3Schema    = protoreflect.FullName("openapi.v3.schema")
	v3Field     = protoreflect.FullName("openapi.v3.property")
)

// tagOf is the tag of a service: its name, its description and where more is written about it.
func (b *builder) tagOf(service protoreflect.ServiceDescriptor) *object {
	words := b.schemas.option(service, v2Tag)
	return newObject(
		"name", cmp.Or(words.text("name"), string(service.FullName())),
		"description", cmp.Or(words.text("description"), b.schemas.comment(service)),
		"externalDocs", externalDocs(words))
}

// externalDocs is nil if no address is given, without which it would not be valid.
func externalDocs(words option) *object {
	docs := words.at("external_docs")
	url := docs.text("url")
	if url == "" {
		return nil
	}
	return newObject("description", docs.text("description"), "url", url)
}

// operationWords are what is said about a method in words.
type operationWords struct {
	tags                 []string
	id                   string
	summary, description string
	docs                 *object
	deprecated           bool
}

// wordsOf takes each part from the options of the method, or else from its comment. Without either,
// the summary is the name of the method.
func (b *builder) wordsOf(md protoreflect.MethodDescriptor) operationWords {
	options := b.schemas.option(md, v2Operation, v3Operation)
	service := md.Parent().(protoreflect.ServiceDescriptor)
	summary, text := splitComment(b.schemas.comment(md))
	w := operationWords{
		tags:        options.texts("tags"),
		id:          cmp.Or(options.text("operation_id"), strings.ReplaceAll(string(service.FullName()), ".", "_")+"_"+string(md.Name())),
		summary:     cmp.Or(options.text("summary"), summary, string(md.Name())),
		description: cmp.Or(options.text("description"), text),
		docs:        externalDocs(options),
		deprecated:  options.flag("deprecated") || isDeprecated(md.Options()) || isDeprecated(service.Options()) || isDeprecated(md.ParentFile().Options()),
	}
	if len(w.tags) == 0 {
		w.tags = []string{b.tag(service)}
	}
	for _, name := range w.tags {
		if _, ok := b.tags[name]; !ok {
			b.tags[name] = newObject("name", name)
		}
	}
	return w
}

// tag notes the tag of a service, and returns its name.
func (b *builder) tag(service protoreflect.ServiceDescriptor) string {
	tag := b.tagOf(service)
	name := tag.get("name").(string)
	b.tags[name] = tag
	return name
}

// fileInfo is the object `info` that the options of the described files have: that of the first
// service, by name, whose file has one.
func (b *builder) fileInfo() *object {
	out := newObject()
	for _, name := range sortedKeys(b.services) {
		info := b.schemas.option(b.services[name].ParentFile(), v2Document, v3Document).at("info")
		if len(info) == 0 {
			continue
		}
		contact, license := info.at("contact"), info.at("license")
		out.add("title", info.text("title")).add("version", info.text("version")).
			add("summary", info.text("summary")).add("description", info.text("description")).
			add("termsOfService", info.text("terms_of_service"))
		if c := newObject("name", contact.text("name"), "url", contact.text("url"), "email", contact.text("email")); len(c.members) > 0 {
			out.set("contact", c)
		}
		if license.text("name") != "" { // Without a name it would not be valid.
			out.set("license", newObject("name", license.text("name"), "url", license.text("url")))
		}
		return out
	}
	return out
}

// schemaWords are the options that describe a message. A part of openapiv2's is one level deeper.
func (s *Schemas) schemaWords(md protoreflect.MessageDescriptor) (outer, inner option) {
	v2, v3 := s.option(md, v2Schema), s.option(md, v3Schema)
	return slices.Concat(v2, v3), slices.Concat(v2.at("json_schema"), v3)
}

// fieldWords are the options that describe a field.
func (s *Schemas) fieldWords(fd protoreflect.FieldDescriptor) option {
	if fd.IsExtension() || fd.ContainingMessage() == nil {
		return nil
	}
	return s.option(fd, v2Field, v3Field)
}

// annotateField adds what the options of a field say, except for demands on its value.
func (s *Schemas) annotateField(o *object, fd protoreflect.FieldDescriptor, words option) {
	o.add("title", words.text("title"))
	if words.flag("read_only") {
		o.set("readOnly", true)
	}
	if words.flag("write_only") {
		o.set("writeOnly", true)
	}
	if words.flag("deprecated") || words.at("field_configuration").flag("deprecated") {
		o.set("deprecated", true)
	}
	if example := words.literal("example"); example != nil {
		o.set("examples", list{example})
	}
	if fallback := defaultOf(words); fallback != nil && singular(fd) {
		o.set("default", fallback)
	}
	o.add("externalDocs", externalDocs(words))
}

// defaultOf is the default of a field. That of gnostic is a message with one of three fields.
func defaultOf(words option) any {
	if value := words.literal("default"); value != nil {
		return value
	}
	of := words.at("default")
	for _, name := range []string{"number", "boolean", "string"} {
		if value := of.value(name); value != nil {
			return value
		}
	}
	return nil
}
