package openapi

import (
	"net/http"
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/caddy-grpc/gateway/internal/frontend"
)

// Media types.
const (
	typeJSON    = "application/json"
	typeNDJSON  = "application/x-ndjson"
	typeEvents  = "text/event-stream"
	typeProblem = "application/problem+json"
	typeForm    = "application/x-www-form-urlencoded"
	typeText    = "text/plain"
)

const httpBody = protoreflect.FullName("google.api.HttpBody")

// requestBody describes the body, or is nil if the route has none.
func (b *builder) requestBody(bd *frontend.Binding) *object {
	switch {
	case bd.BesideBody && isRead(bd):
		return nil // Browsers send no body with these. The query says it all.
	case bd.BodyAll || bd.Body != nil:
	case b.takesFormQuery(bd) && !isRead(bd):
		return b.formQuery(bd)
	default:
		return nil
	}
	md, required := bd.Method.Desc.Input(), false
	var schema *object
	if bd.Body != nil {
		fd := bd.Body.Descriptor()
		md, schema = fd.Message(), b.bodyField(bd)
		required = fd.Cardinality() == protoreflect.Required
	} else {
		schema = b.schemas.body(md, givenElsewhere(bd, md))
	}
	if md != nil && md.FullName() == httpBody {
		return newObject("content", newObject("*/*", newObject()), "required", true)
	}
	content := newObject()
	if bd.Method.StreamDesc.ClientStreams {
		b.addStream(content, typeNDJSON, schema)
		content.set(typeJSON, newObject("schema", newObject("type", "array", "items", schema)))
	} else {
		content.set(typeJSON, newObject("schema", schema))
	}
	if b.cfg.Forms && md != nil && b.schemas.wellKnown(md, Request) == nil && !bd.Method.StreamDesc.ClientStreams {
		form := b.form(md)
		content.set(typeForm, form)
		content.set("multipart/form-data", form)
	}
	body := newObject("content", content)
	if required {
		body.set("required", true)
	}
	return body
}

// isRead reports whether the HTTP method is one that has no body in most clients.
func isRead(bd *frontend.Binding) bool {
	return bd.HTTPMethod == http.MethodGet || bd.HTTPMethod == http.MethodHead
}

// bodyField is the schema of a body that is one field of the request.
func (b *builder) bodyField(bd *frontend.Binding) *object {
	fd := bd.Body.Descriptor()
	if fd.Message() == nil || fd.IsList() || fd.IsMap() {
		return b.schemas.field(fd, Request)
	}
	schema := b.schemas.body(fd.Message(), givenElsewhere(bd, fd.Message()))
	if schema.has("$ref") || b.schemas.wellKnown(fd.Message(), Request) != nil {
		return b.schemas.field(fd, Request)
	}
	return schema
}

// givenElsewhere are the fields of the body's message that the path gives, or that the query may
// give.
func givenElsewhere(bd *frontend.Binding, md protoreflect.MessageDescriptor) givenFields {
	given := make(givenFields)
	for _, v := range bd.Vars {
		path := v.Path()
		if bd.Body != nil {
			depth := len(bd.Body.Path())
			if len(path) <= depth || !slices.Equal(path[:depth], bd.Body.Path()) {
				continue
			}
			path = path[depth:]
		}
		if len(path) == 1 {
			given[path[0].Name()] = true
		}
	}
	if bd.BesideBody {
		for i := range md.Fields().Len() {
			given[md.Fields().Get(i).Name()] = true
		}
	}
	return given
}

// takesFormQuery reports whether the query of a route may be a form in the body.
func (b *builder) takesFormQuery(bd *frontend.Binding) bool {
	return b.cfg.FormQuery && !bd.BodyAll && bd.Body == nil && !bd.Method.StreamDesc.ClientStreams
}

// formQuery is a body that has the parameters of the query.
func (b *builder) formQuery(bd *frontend.Binding) *object {
	parts := b.queryParameters(bd, bd.Method.Desc.Input())
	if len(parts) == 0 {
		return nil
	}
	return newObject("description", "The parameters of the query, as a form.", "content", newObject(typeForm, formSchema(parts)))
}

// formNote says how a GET is made if its query is too long for a URL.
func (b *builder) formNote(bd *frontend.Binding) string {
	if !b.takesFormQuery(bd) || bd.HTTPMethod != http.MethodGet {
		return ""
	}
	return "The query can also be the body of a POST to the same path, of the type `" + typeForm + "`, unless that path has a POST of its own."
}

// form describes a form. Its parts are named and written as the parameters of a query are.
func (b *builder) form(md protoreflect.MessageDescriptor) *object {
	var parts list
	b.addQuery(&parts, md, nil, nil)
	return formSchema(parts)
}

// formSchema describes a form that has these parameters of a query as parts.
func formSchema(parts list) *object {
	properties, encoding := newObject(), newObject()
	for _, part := range parts {
		p := part.(*object)
		name := p.get("name").(string)
		properties.set(name, p.get("schema"))
		if p.has("style") {
			encoding.set(name, newObject("style", p.get("style"), "explode", true))
		}
	}
	form := newObject("schema", newObject("type", "object", "properties", properties))
	if len(encoding.members) > 0 {
		form.set("encoding", encoding)
	}
	return form
}

// addStream describes a media type that holds items one after the other. Version 3.2 has a keyword
// for the items. In 3.1 the schema is that of one item, because there is no way to say more.
func (b *builder) addStream(content *object, mediaType string, item *object) {
	key := "schema"
	if b.cfg.Version == Version32 {
		key = "itemSchema"
	}
	content.set(mediaType, newObject(key, item))
}

func (b *builder) responses(bd *frontend.Binding) *object {
	out := newObject()
	schema, md := b.answer(bd)
	status := bd.Status
	if status == 0 {
		status = 200
	}
	raw := md != nil && md.FullName() == httpBody
	out.set(itoa(status), b.success(bd, status, schema, raw))
	if b.mayBeEmpty(bd) {
		out.set(itoa(b.cfg.EmptyStatus), newObject("description", "The answer is empty."))
	}
	if unary := !bd.Method.StreamDesc.ServerStreams && !bd.Method.StreamDesc.ClientStreams; unary {
		b.addOtherStatuses(out, bd, status, schema, raw)
	}
	if b.cfg.ResultLines && bd.Method.StreamDesc.ServerStreams && !raw && !b.cfg.OwnErrors {
		b.usesStreamError = true
		return out.set("default", newObject("$ref", "#/components/responses/StreamError"))
	}
	return out.set("default", newObject("$ref", "#/components/responses/Error"))
}

// addOtherStatuses describes the statuses of a success that a client or a service brings about.
func (b *builder) addOtherStatuses(out *object, bd *frontend.Binding, status int, schema *object, raw bool) {
	if b.cfg.StatusFrom {
		for _, empty := range []string{"204", "205"} {
			if !out.has(empty) {
				out.set(empty, newObject("description", "Success, without a body."))
			}
		}
		out.set("2XX", b.success(bd, 0, schema, raw))
		out.set("304", newObject("description", "Not modified."))
		out.set("3XX", b.success(bd, 0, schema, raw).set("description", "A redirect."))
	}
	if b.cfg.ETag && status == 200 && bd.HTTPMethod == "GET" {
		out.set("304", newObject("description", "Not modified: the client has this answer already, by `If-None-Match`."))
	}
}

// answer is the schema of one message of the answer. md is nil if it is not a message.
func (b *builder) answer(bd *frontend.Binding) (schema *object, md protoreflect.MessageDescriptor) {
	if f := bd.ResponseBody; f != nil {
		fd := f.Descriptor()
		schema = b.schemas.field(fd, Answer)
		if fd.Message() != nil && fd.Cardinality() != protoreflect.Repeated && !b.schemas.writesNull(fd) && fd.Message().FullName() != httpBody {
			// An absent message is null.
			schema = newObject("anyOf", list{schema, newObject("type", "null")})
		}
		return schema, fd.Message()
	}
	md = bd.Method.Desc.Output()
	return b.schemas.Message(md, Answer), md
}

// mayBeEmpty reports whether a second status describes the answer if it is empty.
func (b *builder) mayBeEmpty(bd *frontend.Binding) bool {
	d := bd.Method.StreamDesc
	return b.cfg.EmptyStatus != 0 && b.cfg.EmptyStatus != 200 && bd.Status == 0 && !d.ServerStreams && !d.ClientStreams
}

func (b *builder) success(bd *frontend.Binding, status int, schema *object, raw bool) *object {
	r := newObject("description", "Success.")
	if b.cfg.ETag && status == 200 && bd.HTTPMethod == "GET" && !bd.Method.StreamDesc.ServerStreams {
		r.set("headers", newObject("ETag", newObject("schema", newObject("type", "string"))))
	}
	switch {
	case status == 204:
		return r
	case raw:
		return r.set("content", newObject("*/*", newObject()))
	case !bd.Method.StreamDesc.ServerStreams:
		return r.set("content", newObject(typeJSON, newObject("schema", b.enveloped(schema))))
	}
	item, last := schema, b.errorLine()
	if e := b.cfg.Envelope; e != nil && e.Streams {
		item, last = b.enveloped(schema), b.errorSchema()
	}
	content := newObject()
	if b.cfg.ResultLines {
		b.addStream(content, typeJSON, newObject("anyOf", list{
			newObject("type", "object", "required", list{"result"}, "properties", newObject("result", item)), b.errorLine(),
		}))
		content.set(typeEvents, b.events(item))
		return r.set("content", content)
	}
	b.addStream(content, typeNDJSON, newObject("anyOf", list{item, last}))
	content.set(typeEvents, b.events(item))
	content.set(typeJSON, newObject("schema", newObject("type", "array", "items", item)))
	return r.set("content", content)
}

// events describes server-sent events. Version 3.2 describes an event as an object with the fields
// of the event, whose data is text that is JSON.
func (b *builder) events(item *object) *object {
	if b.cfg.Version != Version32 {
		return newObject("schema", newObject("type", "string", "description", "Events. The data of each is one message, as in the other forms."))
	}
	return newObject("itemSchema", newObject("type", "object", "required", list{"data"}, "properties", newObject(
		"id", newObject("type", "string"),
		"event", newObject("type", "string", "description", "`error` if the stream has failed. The data is then a google.rpc.Status."),
		"data", newObject("type", "string", "contentMediaType", typeJSON, "contentSchema", item))))
}

// enveloped puts the envelope of the config around a schema.
func (b *builder) enveloped(schema *object) *object {
	e := b.cfg.Envelope
	if e == nil {
		return schema
	}
	return newObject("type", "object", "required", list{e.Code, e.Message, e.Data}, "properties", newObject(
		e.Code, newObject(), e.Message, newObject("type", "string"), e.Data, schema))
}

// errorLine is the last line of a stream that failed.
func (b *builder) errorLine() *object {
	return newObject("type", "object", "required", list{"error"}, "properties", newObject("error", b.status()))
}

// errorResponse describes every answer that is an error. A client chooses among its types.
func (b *builder) errorResponse() *object {
	if b.cfg.OwnErrors {
		return newObject("description", "An error. The server chooses its form.")
	}
	content := newObject()
	if b.cfg.Errors == frontend.TextErrors {
		content.set(typeText, newObject("schema", newObject("type", "string", "examples", list{"rpc error: code = NotFound desc = no such user"})))
	} else {
		content.set(typeJSON, newObject("schema", b.errorSchema()))
	}
	content.set(typeProblem, newObject("schema", b.problem()))
	note := "An error. Clients that accept `application/problem+json` get that form."
	if b.cfg.Errors == frontend.ProblemErrors {
		note = "An error. Clients that prefer `application/json` get that form."
	}
	return newObject("description", note, "content", content)
}

// streamErrorResponse is errorResponse for streams of lines with results. If the service fails
// before its first message, the answer is the line that would have ended the stream.
func (b *builder) streamErrorResponse() *object {
	response := b.errorResponse()
	content := response.get("content").(*object)
	schema := b.errorLine()
	if usual, ok := content.get(typeJSON).(*object); ok {
		schema = newObject("anyOf", list{usual.get("schema"), schema})
	}
	content.set(typeJSON, newObject("schema", schema))
	return response
}

func (b *builder) errorSchema() *object {
	if e := b.cfg.Envelope; e != nil {
		return newObject("type", "object", "required", list{e.Code, e.Message, e.Data}, "properties", newObject(
			e.Code, newObject("type", "integer"), e.Message, newObject("type", "string"),
			e.Data, newObject("type", "null"), "details", newObject("type", "array", "items", b.detail())))
	}
	return b.status()
}

// status describes a google.rpc.Status, which the schema of a service may lack.
func (b *builder) status() *object {
	const name = "google.rpc.Status"
	if _, ok := b.schemas.made[name]; !ok {
		b.schemas.made[name] = newObject("type", "object", "required", list{"code", "message"}, "properties", newObject(
			"code", newObject("type", "integer", "format", "int32", "description", "The code, a google.rpc.Code."),
			"message", newObject("type", "string"),
			"details", newObject("type", "array", "items", b.detail())))
	}
	return newObject("$ref", b.schemas.prefix+name)
}

// detail describes a detail of an error. One without a type is written as {}.
func (b *builder) detail() *object {
	return newObject("type", "object", "properties", newObject("@type", newObject("type", "string")))
}

// problem describes a problem document (RFC 9457).
func (b *builder) problem() *object {
	return newObject("type", "object", "properties", newObject(
		"type", newObject("type", "string", "format", "uri-reference"),
		"title", newObject("type", "string"),
		"status", newObject("type", "integer"),
		"detail", newObject("type", "string"),
		"errors", newObject("type", "array", "items", newObject("type", "object")),
		"details", newObject("type", "array", "items", b.detail())))
}
