package openapi

import (
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/caddy-grpc/gateway/internal/frontend"
)

// maxQueryDepth is how many messages deep the parameters of a query are listed. Deeper ones work,
// too, but a message that contains itself would have no end.
const maxQueryDepth = 3

// queryParameters lists the fields that the query of a route may set: those that are neither in the
// path nor in the body.
func (b *builder) queryParameters(bd *frontend.Binding, md protoreflect.MessageDescriptor) list {
	if bd.BodyAll && !bd.BesideBody {
		return nil
	}
	taken := make(map[string]bool)
	if bd.Template != nil {
		for i := range bd.Template.Variables() {
			taken[pathKey(bd.Vars[i].Path())] = true
		}
	}
	if bd.Body != nil {
		taken[pathKey(bd.Body.Path())] = true
	}
	var out list
	b.addQuery(&out, md, nil, taken)
	if b.mayBeInBody(bd) {
		for _, p := range out {
			p.(*object).drop("required")
		}
	}
	if name := b.cfg.FieldsParameter; name != "" && md.Fields().ByJSONName(name) == nil && md.Fields().ByName(protoreflect.Name(name)) == nil {
		out = append(out, newObject("name", name, "in", "query", "schema", newObject("type", "string"),
			"description", "Paths of the fields that the answer shall have, separated by commas. Default: all."))
	}
	return out
}

func pathKey(path []protoreflect.FieldDescriptor) string {
	key := ""
	for _, fd := range path {
		key += "." + string(fd.Name())
	}
	return key
}

func (b *builder) addQuery(out *list, md protoreflect.MessageDescriptor, path []protoreflect.FieldDescriptor, taken map[string]bool) {
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		at := slices.Concat(path, []protoreflect.FieldDescriptor{fd})
		if taken[pathKey(at)] {
			continue
		}
		value := fd
		if fd.IsMap() {
			value = fd.MapValue()
		}
		nested := value.Message() != nil && b.schemas.wellKnown(value.Message(), Request) == nil
		switch {
		case nested && (fd.IsMap() || fd.IsList()):
			// A message in a list or a map has no form as parameters. It can be given as JSON.
		case nested:
			if len(at) < maxQueryDepth && !within(path, fd.Message()) {
				b.addQuery(out, fd.Message(), at, taken)
			}
		default:
			*out = append(*out, b.queryParameter(fd, at))
		}
	}
}

// within reports whether a message is one that the path goes through.
func within(path []protoreflect.FieldDescriptor, md protoreflect.MessageDescriptor) bool {
	for _, fd := range path {
		if fd.ContainingMessage().FullName() == md.FullName() {
			return true
		}
	}
	return false
}

func (b *builder) queryParameter(fd protoreflect.FieldDescriptor, path []protoreflect.FieldDescriptor) *object {
	name := ""
	for i, part := range path {
		if i > 0 {
			name += "."
		}
		name += b.schemas.fieldName(part)
	}
	p := newObject("name", name, "in", "query", "description", b.schemas.parameterNote(fd))
	if len(path) == 1 && b.schemas.isRequired(fd, Request) {
		p.set("required", true)
	}
	if isDeprecated(fd.Options()) {
		p.set("deprecated", true)
	}
	if fd.IsMap() { // labels[key]=value
		p.set("style", "deepObject").set("explode", true)
	}
	return p.set("schema", b.schemas.parameter(fd))
}

// mayBeInBody reports whether what the query says can also be in the body that is described.
func (b *builder) mayBeInBody(bd *frontend.Binding) bool {
	return !isRead(bd) && (bd.BesideBody || b.takesFormQuery(bd))
}
