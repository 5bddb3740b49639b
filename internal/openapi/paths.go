package openapi

import (
	"net/url"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/httprule"
)

// pathParameter is a variable part of a path in the document.
type pathParameter struct {
	name string
	// field is the field of the message if the parameter is all of its value. Otherwise the
	// parameter is text, and note says what it is part of.
	field protoreflect.FieldDescriptor
	note  string
}

// describePath turns a template into a path of OpenAPI. There a parameter is one segment and has no
// structure. So a variable of several segments becomes several parameters. Their names are those of
// the resource pattern (google.api.resource) that fits, or numbered.
func describePath(b *frontend.Binding) (path string, parameters []pathParameter) {
	var out strings.Builder
	fields := make(map[string]protoreflect.FieldDescriptor, len(b.Vars))
	for i, name := range b.Template.Variables() {
		fields[name] = b.Vars[i].Descriptor()
	}
	parts := b.Template.Parts()
	names := resourceNames(parts, fields)
	used := make(map[string]bool)
	for i, part := range parts {
		out.WriteByte('/')
		if part.Literal != "" {
			out.WriteString(url.PathEscape(part.Literal))
			continue
		}
		// Generators of code cope badly with a dot in the name.
		p := pathParameter{name: unique(used, strings.ReplaceAll(names[i], ".", "_"))}
		if part.Whole {
			p.field = fields[part.Variable]
			if p.name != part.Variable {
				p.note = "The field `" + part.Variable + "`."
			}
		} else if part.Variable != "" {
			p.note = "Part of the field `" + part.Variable + "`."
		}
		if part.Deep {
			p.note = paragraphs(p.note, "It may have several segments, with slashes between them.")
		}
		parameters = append(parameters, p)
		out.WriteString("{" + p.name + "}")
	}
	if verb := b.Template.Verb(); verb != "" {
		out.WriteString(":" + url.PathEscape(verb))
	}
	if out.Len() == 0 {
		return "/", nil
	}
	return out.String(), parameters
}

// shape is the first path of its form.
type shape struct {
	path  string
	names []string // of its parameters
}

// sharedPath returns the path under which an operation is described. If an earlier path differs in
// nothing but the names of its parameters, it is that one, and the parameters get its names.
// OpenAPI takes two such paths for identical, and forbids that (3.1, "Path Templating").
func (b *builder) sharedPath(path string, parameters []pathParameter) string {
	form, names := path, make([]string, len(parameters))
	for i, p := range parameters {
		names[i] = p.name
		form = strings.Replace(form, "{"+p.name+"}", "{}", 1)
	}
	first, ok := b.shapes[form]
	if !ok {
		b.shapes[form] = shape{path, names}
		return path
	}
	for i := range parameters {
		p := &parameters[i]
		if p.name != first.names[i] && p.field != nil {
			p.note = paragraphs("The field `"+p.name+"`.", p.note)
		}
		p.name = first.names[i]
	}
	return first.path
}

// unique returns a name that is not used yet, and marks it as used.
func unique(used map[string]bool, name string) string {
	next := name
	for i := 2; used[next]; i++ {
		next = name + "_" + itoa(i)
	}
	used[next] = true
	return next
}

// resourceNames names the wildcards of a path by their index.
func resourceNames(parts []httprule.Part, fields map[string]protoreflect.FieldDescriptor) map[int]string {
	names := make(map[int]string)
	for i := 0; i < len(parts); i++ {
		variable := parts[i].Variable
		switch {
		case variable == "":
			if parts[i].Literal == "" {
				names[i] = "segment"
			}
			continue
		case parts[i].Whole:
			names[i] = variable
			continue
		}
		end := i
		for end < len(parts) && parts[end].Variable == variable {
			end++
		}
		for at, name := range patternNames(parts[i:end], fields[variable]) {
			names[i+at] = name
		}
		i = end - 1
	}
	return names
}

// patternNames names the wildcards among the segments of one variable.
func patternNames(parts []httprule.Part, fd protoreflect.FieldDescriptor) map[int]string {
	for _, pattern := range resourcePatterns(fd) {
		if names := fit(parts, pattern); names != nil {
			return names
		}
	}
	names := make(map[int]string)
	for i, part := range parts {
		if part.Literal == "" {
			names[i] = part.Variable + "_" + itoa(len(names)+1)
		}
	}
	return names
}

// fit names the wildcards by a resource pattern such as `shelves/{shelf}/books/{book}`. It returns
// nil if the literals differ.
func fit(parts []httprule.Part, pattern string) map[int]string {
	segments := strings.Split(pattern, "/")
	if len(segments) != len(parts) {
		return nil
	}
	names := make(map[int]string)
	for i, segment := range segments {
		name, isVariable := strings.CutPrefix(segment, "{")
		switch {
		case isVariable && parts[i].Literal == "":
			name, _, _ = strings.Cut(strings.TrimSuffix(name, "}"), "=")
			names[i] = name
		case isVariable || segment != parts[i].Literal:
			return nil
		}
	}
	return names
}

// resourcePatterns returns the patterns of the resource whose name a field holds: those of its
// message (google.api.resource), or of the type that it refers to, if that is in the same file.
func resourcePatterns(fd protoreflect.FieldDescriptor) []string {
	if fd == nil {
		return nil
	}
	if r := resource(fd.ContainingMessage()); r != nil && fd.Name() == "name" {
		return r.GetPattern()
	}
	opts, ok := fd.Options().(*descriptorpb.FieldOptions)
	if !ok || !proto.HasExtension(opts, annotations.E_ResourceReference) {
		return nil
	}
	ref, _ := proto.GetExtension(opts, annotations.E_ResourceReference).(*annotations.ResourceReference)
	for _, file := range []protoreflect.FileDescriptor{fd.ParentFile()} {
		for i := range file.Messages().Len() {
			if r := resource(file.Messages().Get(i)); r != nil && r.GetType() != "" && r.GetType() == ref.GetType() {
				return r.GetPattern()
			}
		}
	}
	return nil
}

func resource(md protoreflect.MessageDescriptor) *annotations.ResourceDescriptor {
	opts, ok := md.Options().(*descriptorpb.MessageOptions)
	if !ok || !proto.HasExtension(opts, annotations.E_Resource) {
		return nil
	}
	r, _ := proto.GetExtension(opts, annotations.E_Resource).(*annotations.ResourceDescriptor)
	return r
}
