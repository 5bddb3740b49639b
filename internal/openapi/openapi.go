// Package openapi describes what a handler serves as an OpenAPI document, in version 3.1 or 3.2.
// The document is made of the compiled routes and of the options of the handler. So it describes
// the gateway's own forms of requests and answers, and not what another generator would make of the
// .proto files.
//
// It is not for serving the document: it makes bytes, once for each routing table.
package openapi

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/caddy-grpc/gateway/internal/frontend"
)

// MaxSize is the largest document in bytes.
const MaxSize = 16 << 20

// ErrTooLarge means that the document would be larger than MaxSize.
var ErrTooLarge = errors.New("the OpenAPI document is too large")

// Versions of OpenAPI.
const (
	Version31 = "3.1"
	Version32 = "3.2"
)

// Config is what a document is made from, besides the operations.
type Config struct {
	// Version is Version31 (default) or Version32, which also describes the items of streams.
	Version string
	// Info is the title, the version and so on. A title and a version are made up if it has none.
	Info json.RawMessage
	// Title is the title if Info has none.
	Title string
	// Servers are base URLs. Default: none, and the document has none. See WithServers.
	Servers []string
	// Forms says that request bodies may be forms.
	Forms bool
	// FormQuery says that a request without a body may have its query as a form in the body.
	FormQuery bool
	// ResultLines says that streams are lines {"result":<message>} of the type application/json,
	// unless the client asks for events.
	ResultLines bool
	// Errors is the form of errors.
	Errors frontend.ErrorForm
	// OwnErrors says that the site answers errors itself, in a form that is not known here.
	OwnErrors bool
	// ETag says that answers to GET have an ETag, and may be 304.
	ETag bool
	// StatusFrom says that services choose the status of a success.
	StatusFrom bool
	// FieldsParameter is the query parameter by which clients ask for parts of an answer. "": none.
	FieldsParameter string
	// Envelope, if set, is around each answer.
	Envelope *frontend.Envelope
	// EmptyStatus is the status of empty answers. 0: 200.
	EmptyStatus int
	// Pending names the upstreams whose methods are not known yet.
	Pending []string
	Options
}

// Build makes the document as JSON. The operations come in any order. Equal inputs make equal
// bytes.
func Build(cfg Config, operations []*frontend.Binding) ([]byte, error) {
	b := &builder{
		cfg: cfg, schemas: NewSchemas("#/components/schemas/", cfg.Options),
		paths: make(map[string]*object), shapes: make(map[string]shape), ids: make(map[string]bool), tags: make(map[string]*object),
		services: make(map[string]protoreflect.ServiceDescriptor),
	}
	operations = slices.Clone(operations)
	slices.SortStableFunc(operations, func(a, b *frontend.Binding) int {
		return cmp.Or(cmp.Compare(a.Method.Name, b.Method.Name), cmp.Compare(templateOf(a), templateOf(b)), cmp.Compare(a.HTTPMethod, b.HTTPMethod))
	})
	for _, op := range operations {
		service := op.Method.Desc.Parent().(protoreflect.ServiceDescriptor)
		b.services[string(service.FullName())] = service
		b.add(op)
	}
	doc, err := b.document()
	if err != nil {
		return nil, err
	}
	out, err := appendJSON(nil, doc)
	if err != nil {
		return nil, fmt.Errorf("write the OpenAPI document: %w", err)
	}
	if len(out) > MaxSize {
		return nil, fmt.Errorf("%w: %d bytes, expected at most %d", ErrTooLarge, len(out), MaxSize)
	}
	return out, nil
}

func templateOf(b *frontend.Binding) string {
	if b.Template == nil {
		return b.Method.Path
	}
	return b.Template.String()
}

// builder is the state of one document.
type builder struct {
	cfg     Config
	schemas *Schemas
	paths   map[string]*object
	shapes  map[string]shape // by the path without the names of its parameters
	ids     map[string]bool
	// tags are those that operations have, by name.
	tags map[string]*object
	// services are those that have operations, by name.
	services map[string]protoreflect.ServiceDescriptor
	// usesStreamError says that a stream may fail in a form of its own.
	usesStreamError bool
}

func (b *builder) document() (*object, error) {
	version := "3.1.1"
	if b.cfg.Version == Version32 {
		version = "3.2.0"
	}
	info, err := b.info()
	if err != nil {
		return nil, err
	}
	var servers list
	for _, url := range b.cfg.Servers {
		servers = append(servers, newObject("url", url))
	}
	doc := newObject("openapi", version, "servers", servers, "info", info)
	doc.add("tags", b.tagList())
	paths := newObject()
	for _, path := range sortedKeys(b.paths) {
		paths.set(path, b.paths[path])
	}
	doc.set("paths", paths)
	responses := newObject("Error", b.errorResponse())
	if b.usesStreamError {
		responses.set("StreamError", b.streamErrorResponse())
	}
	doc.set("components", newObject("schemas", b.schemas.Components(), "responses", responses))
	var pending list
	for _, name := range b.cfg.Pending {
		pending = append(pending, name)
	}
	doc.add("x-pending", pending)
	return doc, nil
}

// info is the config's. What that does not say is from the options of the files. There is always a
// title and a version.
func (b *builder) info() (*object, error) {
	var given map[string]json.RawMessage
	if len(b.cfg.Info) > 0 {
		if err := json.Unmarshal(b.cfg.Info, &given); err != nil {
			return nil, fmt.Errorf("openapi info: %w", err)
		}
	}
	info := newObject("title", cmp.Or(b.cfg.Title, "API"), "version", "0")
	for _, m := range b.fileInfo().members {
		info.set(m.key, m.value)
	}
	for _, key := range sortedKeys(given) {
		info.set(key, given[key])
	}
	return info, nil
}

func (b *builder) tagList() list {
	var tags list
	for _, name := range sortedKeys(b.tags) {
		tags = append(tags, b.tags[name])
	}
	return tags
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// add adds one operation. Version 3.1 has no place for an HTTP method that it does not know, so
// such an operation is left out. Version 3.2 has `additionalOperations` for it.
func (b *builder) add(bd *frontend.Binding) {
	fixed := slices.Contains([]string{"GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE"}, bd.HTTPMethod)
	name := strings.ToLower(bd.HTTPMethod)
	switch {
	case fixed:
	case b.cfg.Version != Version32 || bd.HTTPMethod == "*":
		return
	case bd.HTTPMethod != "QUERY": // which 3.2 knows
		name = bd.HTTPMethod
	}
	path, parameters := bd.Method.Path, []pathParameter(nil)
	if bd.Template != nil {
		path, parameters = describePath(bd)
		path = b.sharedPath(path, parameters)
	}
	item, ok := b.paths[path]
	if !ok {
		item = newObject()
		b.paths[path] = item
	}
	if !fixed && name == bd.HTTPMethod {
		if !item.has("additionalOperations") {
			item.set("additionalOperations", newObject())
		}
		item, _ = item.get("additionalOperations").(*object)
	}
	if !item.has(name) {
		item.set(name, b.operation(bd, parameters))
	}
}

func (b *builder) operation(bd *frontend.Binding, parameters []pathParameter) *object {
	words := b.wordsOf(bd.Method.Desc)
	var tags list
	for _, name := range words.tags {
		tags = append(tags, name)
	}
	summary := cmp.Or(words.summary, string(bd.Method.Desc.Name())) // Linters want one.
	op := newObject("tags", tags, "operationId", unique(b.ids, words.id), "summary", summary,
		"description", paragraphs(words.description, b.streamNote(bd), b.formNote(bd)), "externalDocs", words.docs)
	if words.deprecated {
		op.set("deprecated", true)
	}
	all := b.pathParameters(parameters)
	all = append(all, b.queryParameters(bd, bd.Method.Desc.Input())...)
	op.add("parameters", all)
	op.add("requestBody", b.requestBody(bd))
	op.set("responses", b.responses(bd))
	op.set("x-grpc-method", bd.Method.Name)
	op.add("x-grpc-stream", streams(bd))
	if bd.Template != nil && strings.ContainsAny(bd.Template.String(), "=*") {
		op.set("x-grpc-path-template", bd.Template.String())
	}
	return op
}

// splitComment makes a summary of the first paragraph of a comment, if it is one line.
func splitComment(text string) (summary, rest string) {
	first, rest, _ := strings.Cut(text, "\n\n")
	if strings.Contains(first, "\n") || len(first) > 120 {
		return "", text
	}
	return first, strings.TrimSpace(rest)
}

// streams says which side streams: "server", "client", "both" or "".
func streams(bd *frontend.Binding) string {
	switch d := bd.Method.StreamDesc; {
	case d.ServerStreams && d.ClientStreams:
		return "both"
	case d.ServerStreams:
		return "server"
	case d.ClientStreams:
		return "client"
	default:
		return ""
	}
}

func (b *builder) streamNote(bd *frontend.Binding) string {
	switch {
	case bd.Method.StreamDesc.ClientStreams:
		return "The request is a stream of messages: a line of JSON each, or one JSON array. It can be called over a WebSocket, too."
	case bd.Method.StreamDesc.ServerStreams:
		return "The answer is a stream of messages. `Accept` chooses their framing. It can be called over a WebSocket, too."
	default:
		return ""
	}
}

func (b *builder) pathParameters(parameters []pathParameter) list {
	var out list
	for _, p := range parameters {
		schema, note := newObject("type", "string"), p.note
		if p.field != nil {
			schema, note = b.schemas.parameter(p.field), paragraphs(b.schemas.parameterNote(p.field), p.note)
		}
		out = append(out, newObject("name", p.name, "in", "path", "required", true, "description", note, "schema", schema))
	}
	return out
}
